"""Every number of a model and of a training, as frozen dataclasses, each with its source."""
