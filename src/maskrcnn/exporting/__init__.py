"""How a model is written for other runtimes. One file a format, each with `write(model, out, precision)` and

BACKEND: of Keras, on which the model must be.
SUFFIX: of the file that is written; "" where it is a folder.
CALIBRATED: whether int8 wants images, which `write` then takes as `calibrate`.
PRECISIONS: in which it can be written.
"""
