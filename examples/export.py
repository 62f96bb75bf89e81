# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A model for another runtime
#
# An exported model is one file or folder with everything inside: preprocessing, class names, non-maximum suppression and masks. It runs without
# Keras. PyTorch's format is written on PyTorch, all others on TensorFlow.

# %%
import tempfile
from pathlib import Path

import keras

import maskrcnn
from maskrcnn import engines
from maskrcnn.weights.published import SHIPPED

folder = Path(tempfile.mkdtemp())
model = maskrcnn.MaskRCNN.from_checkpoint("nuclei", image__short_side=256, image__long_side=426)
backend = keras.backend.backend()
format, name = {"torch": ("torch", "nuclei.pt2")}.get(backend, ("saved-model", "nuclei"))
print(f"Keras runs on {backend}, so the format is {format}.")

# %% [markdown]
# ## Write it
#
# What was written is read again and compared with the model.

# %%
if backend != "jax":  # JAX writes none of them
    difference = model.export(folder / name, format=format, log=lambda text: None)
    print(difference)

# %% [markdown]
# ## Use it
#
# The engine has the verbs of a model.

# %%
image = SHIPPED["nuclei"].with_suffix(".png")
(found,) = model.detect(image, score=0.5)
if backend != "jax":
    (again,) = maskrcnn.predict(image, model=engines.load(folder / name))
    print(len(found), "by Keras,", len(again), "by the exported model; largest difference of a score:", end=" ")
    print(f"{abs(found.scores - again.scores).max():.1e}" if len(found) == len(again) else "not comparable")

# %% [markdown]
# `maskrcnn export`, `maskrcnn predict --model FILE` and `maskrcnn evaluate --model FILE` do the same on the command line.
