"""How a model is written for other runtimes. One file a format, each with `PRECISIONS` and `write(model, out, precision)`."""
