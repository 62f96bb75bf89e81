"""Images of any kind become batches of equal frames, read and resized beside the model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from maskrcnn.config.model import ImageConfig, ModelConfig
from maskrcnn.data.resize import choose_frame, fit_to_frame, pad_to_frame
from maskrcnn.images.images import read_image
from maskrcnn.images.plain import byte_values
from maskrcnn.images.values import to_channels
from maskrcnn.pipeline import ahead
from maskrcnn.structures import Plane

Pixels = np.ndarray  # (H, W, C), uint8
READERS = min(4, os.cpu_count() or 1)  # threads that read and resize while the model works, each a batch
WAITING = 2  # images whose results wait to be written or scored while the model works


class _Batch(NamedTuple):
    """Images as the model takes them, and what they were."""

    images: np.ndarray  # (B, H, W, C)
    sizes: np.ndarray  # (B, 2) int32 height, width of the part of the frame that is image
    originals: list[tuple[tuple[int, int], str | None, np.ndarray | None]]  # size, path and image, see `_kept`


def prepared_batches(images: Iterable[Any], config: ModelConfig, batch_size: int) -> Iterator[_Batch]:
    """Batches ready for the model. Where there are several, threads read and resize the next ones while the model works."""
    batches = _batches(iter(images), batch_size)
    keep = isinstance(images, Sized)  # then the caller holds them all; of a stream each is let go
    prepare = partial(_prepare, config=config, batch_size=batch_size, keep=keep)
    if isinstance(images, Sized) and len(images) <= batch_size:
        yield from map(prepare, batches)
        return
    with (
        ThreadPoolExecutor(READERS, "read") as readers,
        closing(ahead((readers.submit(prepare, batch) for batch in batches), READERS)) as tasks,  # type: ignore[type-var]
    ):
        for task in tasks:
            yield task.result()


def _prepare(items: list[Any], config: ModelConfig, batch_size: int, keep: bool) -> _Batch:
    fitted: list[np.ndarray] = []
    originals: list[tuple[tuple[int, int], str | None, np.ndarray | None]] = []
    for item in items:
        pixels = as_pixels(item, config.image)
        fitted.append(fit_to_frame(pixels, config.image)[0])
        originals.append(((pixels.shape[0], pixels.shape[1]), path_of(item), _kept(item, pixels) if keep else None))
    frame = choose_frame([image.shape[:2] for image in fitted], config.image)
    shape = (batch_size, *frame, config.image.channels)  # the last batch is filled up: one shape, one compilation
    images = np.zeros(shape, fitted[0].dtype)
    sizes = np.ones((batch_size, 2), np.int32)
    for row, image in enumerate(fitted):
        images[row], sizes[row] = pad_to_frame(image, frame, config.image.place), image.shape[:2]
    return _Batch(images, sizes, originals)


def each_image(images: Any) -> Iterable[Any]:
    if isinstance(images, (str, Path, Plane, Image.Image)):
        return [images]
    if hasattr(images, "ndim"):  # NumPy's, or a tensor of any backend
        images = np.asarray(images)
        return images if images.ndim == 4 else [images]
    return images


def _kept(item: Any, pixels: Pixels) -> np.ndarray | None:
    """The image that detections hold: the caller's own array where it can be shown; None of a file."""
    if isinstance(item, (str, Path)):
        return None
    return item if isinstance(item, np.ndarray) and item.dtype == np.uint8 else pixels


def path_of(item: Any) -> str | None:
    if isinstance(item, Plane):
        return item.source.path
    return str(item) if isinstance(item, (str, Path)) else None


def as_pixels(item: Any, image_config: ImageConfig) -> Pixels:
    if isinstance(item, (str, Path)):
        return read_image(item, channels=image_config.channels, scaling=image_config.scaling)
    if isinstance(item, (list, tuple)):
        raise ValueError("An image is a path or an array; received a list. Pass np.asarray(image, np.uint8).")
    if isinstance(item, Image.Image):
        return _from_pillow(item, image_config)
    image = item.image if isinstance(item, Plane) else np.asarray(item)
    if image.size and image.dtype != np.uint8:
        if not (np.issubdtype(image.dtype, np.number) and np.isfinite(image).all()):
            raise ValueError(f"An image's values are finite numbers from 0 to 255; received {image.dtype} with others.")
        low, high = image.min(), image.max()
        if low < 0 or high > 255 or (0 < high <= 1 and np.issubdtype(image.dtype, np.floating)):
            raise ValueError(
                f"An image's values go from 0 to 255; received {image.dtype} from {low} to {high}. Scale it, and pass uint8."
            )
        image = np.round(image).astype(np.uint8)
    return to_channels(image, image_config.channels)


def _from_pillow(image: Image.Image, image_config: ImageConfig) -> Pixels:
    """What `read_image` gives of its file: upright, a palette as its colours, more than 8 bits stretched."""
    image = ImageOps.exif_transpose(image)
    channels = image_config.channels
    is_deep = image.mode in ("I", "F") or image.mode.startswith("I;16")
    values = np.asarray(image) if is_deep else byte_values(image, channels)
    return to_channels(values, channels, image_config.scaling)


def _batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
