"""Samples become batches: augmentation, resizing, padding, loading."""

from __future__ import annotations

from typing import Any

__all__ = [
    "Dataset",
    "Fault",
    "Loader",
    "find_images",
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
