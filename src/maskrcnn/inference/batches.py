"""Images of any kind become batches of equal frames, read and resized beside the model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from maskrcnn.config.model import ModelConfig
from maskrcnn.data.resize import choose_frame, fit_to_frame, pad_to_frame
from maskrcnn.inference.given import as_pixels, kept_image, path_of
from maskrcnn.pipeline import ahead

READERS = min(4, os.cpu_count() or 1)  # threads that read and resize while the model works, each a batch
WAITING = 2  # images whose results wait to be written or scored while the model works


class _Batch(NamedTuple):
    """Images as the model takes them, and what they were."""

    images: np.ndarray  # (B, H, W, C)
    sizes: np.ndarray  # (B, 2) int32 height, width of the part of the frame that is image
    originals: list[tuple[tuple[int, int], str | None, np.ndarray | None]]  # size, path and image, see `kept_image`


def prepared_batches(images: Iterable[Any], config: ModelConfig, batch_size: int) -> Iterator[_Batch]:
    """Batches ready for the model. Where there are several, threads read and resize the next ones while the model works."""
    batches = in_batches(iter(images), batch_size)
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
        originals.append(((pixels.shape[0], pixels.shape[1]), path_of(item), kept_image(item, pixels) if keep else None))
    return _Batch(*stack(fitted, config, batch_size), originals)


def stack(fitted: Sequence[np.ndarray], config: ModelConfig, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Fitted images as the model takes them: (B, H, W, C), and (B, 2) int32 height, width of each in its frame.

    A batch of fewer images is filled up: one shape, one compilation.
    """
    frame = choose_frame([image.shape[:2] for image in fitted], config.image)
    images = np.zeros((batch_size, *frame, config.image.channels), fitted[0].dtype)
    sizes = np.ones((batch_size, 2), np.int32)
    for row, image in enumerate(fitted):
        images[row], sizes[row] = pad_to_frame(image, frame, config.image.place), image.shape[:2]
    return images, sizes


def in_batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` items; the last may be shorter."""
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
