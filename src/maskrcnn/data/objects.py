"""From single annotated objects to the `Sample` of their picture; what the readers of all formats share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.data.images import read_image, read_size
from maskrcnn.structures import Sample


@dataclass(frozen=True, eq=False)
class TrueObject:
    """One annotated object: `box` (4,) xyxy, `rle` and `area` in original pixels, `label` an index into the categories."""

    box: np.ndarray
    label: int
    crowd: bool
    rle: dict[str, Any]
    area: float
    annotation_id: int


def make_sample(image_id: int, file_name: str, path: Path, size: tuple[int, int], objects: Sequence[TrueObject]) -> Sample:
    """The sample of one picture, its image not read yet."""
    return Sample(
        image_id=image_id,
        file_name=file_name,
        path=str(path),
        size=size,
        boxes=np.array([thing.box for thing in objects], np.float32).reshape(-1, 4),
        labels=np.array([thing.label for thing in objects], np.int32),
        crowd=np.array([thing.crowd for thing in objects], bool),
        rles=[thing.rle for thing in objects],
        areas=np.array([thing.area for thing in objects], np.float32),
        annotation_ids=np.array([thing.annotation_id for thing in objects], np.int64),
    )


def measure_pictures(paths: Sequence[Path], *, decode: bool) -> list[tuple[int, int] | ValueError]:
    """For each picture its (height, width), or the error that reading it gives.

    With `decode` every picture is read to its last pixel, a few at a time: the one way to find those that are cut off.
    """

    def measure(path: Path) -> tuple[int, int] | ValueError:
        try:
            if not decode:
                return read_size(path)
            height, width, _ = read_image(path).shape
            return height, width
        except ValueError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as threads:  # decoders let go of Python's lock
        return list(threads.map(measure, paths))


def read_sample(sample: Sample) -> Sample:
    """The sample with its image read, unless it brings one along."""
    return sample if sample.image is not None else sample.replace(image=read_image(sample.path))
