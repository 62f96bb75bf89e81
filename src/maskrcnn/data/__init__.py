"""Stage 1: image files and annotations become a `Batch`. The loader alone needs Keras and is imported when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskrcnn.data.batch import make_batch
from maskrcnn.data.dataset import Dataset, load_dataset
from maskrcnn.data.faults import Fault
from maskrcnn.data.images import find_pictures, read_image, read_size
from maskrcnn.data.shapes import make_shapes

if TYPE_CHECKING:
    from maskrcnn.data.loader import Loader, make_loader, num_batches

__all__ = [
    "Dataset",
    "Fault",
    "Loader",
    "find_pictures",
    "load_dataset",
    "make_batch",
    "make_loader",
    "make_shapes",
    "num_batches",
    "read_image",
    "read_size",
]


def __getattr__(name: str) -> Any:
    if name in ("Loader", "make_loader", "num_batches"):
        from maskrcnn.data import loader

        return getattr(loader, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
