"""Samples become batches: augmentation, resizing, padding, loading."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Each is imported when it is first asked for: the loader alone needs Keras, and the modules know each other, not this room.
_HOMES = {
    "Dataset": "maskrcnn.data.dataset",
    "Fault": "maskrcnn.annotations.faults",
    "Loader": "maskrcnn.data.loader",
    "find_images": "maskrcnn.images.files",
    "load_dataset": "maskrcnn.data.dataset",
    "make_batch": "maskrcnn.data.batch",
    "make_loader": "maskrcnn.data.loader",
    "make_shapes": "maskrcnn.data.shapes",
    "num_batches": "maskrcnn.data.loader",
    "read_image": "maskrcnn.images.images",
    "read_size": "maskrcnn.images.images",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
