"""Sizes of many images, read side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from maskrcnn.images.formats import open_file
from maskrcnn.images.jpeg_size import plain_jpeg_size
from maskrcnn.images.opened import Display
from maskrcnn.images.opening import has_many_pixels, image_size, is_slide

TOGETHER = 32  # headers that a thread reads as one task: handing one over costs as much as reading it


class RepairedSize(tuple[int, int]):
    """(height, width) of an image that could be read although its file is not whole.

    Attributes:
        message: what was missing.
    """

    message: str


def measure_images(paths: Sequence[Path], *, decode: bool) -> list[tuple[int, int] | ValueError]:
    """For each image its (height, width), or the error that reading it gives.

    With `decode` every image is read to its last pixel, a few at a time: the one way to find those that are cut off. Large
    ones, of which training reads parts, are taken at their header's word. What was repaired has a `RepairedSize`.
    """

    def measure(path: Path) -> tuple[int, int] | ValueError:
        if not decode and (size := plain_jpeg_size(path)) is not None and not has_many_pixels(size):
            return size
        try:
            if is_slide(path):
                return image_size(path)
            with open_file(path, Display(channels=None)) as file:
                if file.has_regions and has_many_pixels(file.size):
                    return file.size
                size = file.first().shape[:2] if decode else file.size
                if file.content.repaired:
                    size = RepairedSize(size)
                    size.message = f"{path}: {file.content.repaired}"
                return size
        except ValueError as error:
            return error

    step = 1 if decode else TOGETHER
    parts = [paths[start : start + step] for start in range(0, len(paths), step)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # decoders let go of Python's lock
        return [size for sizes in threads.map(lambda part: [measure(path) for path in part], parts) for size in sizes]
