"""Small images of places in a data set, for pages: each file is read once, and only what is drawn stays in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from maskrcnn.data.dataset import Dataset
from maskrcnn.doctor.findings import Where
from maskrcnn.geometry.rle import rle_to_box
from maskrcnn.images.opening import has_many_pixels
from maskrcnn.reports.crops import GREEN, ORANGE, Outline, crop, region_around
from maskrcnn.reports.document import image_tag
from maskrcnn.reports.error_images import Reader
from maskrcnn.structures import Sample


def thumbnails(parts: Mapping[str, Dataset], wanted: Sequence[Where], read: Reader, *, side: int = 320) -> list[str]:
    """An `img` for each place: the objects in question filled, around them what else is annotated.

    Args:
        parts: the data sets.
        wanted: images, or objects in them.
        read: gives the image of a sample, (H, W, 3) uint8 RGB.
        side: pixels of the longer side.

    Returns:
        HTML in the order of `wanted`; "" for an image that cannot be read, or has 100 million pixels and more.
    """
    order = sorted(range(len(wanted)), key=lambda number: wanted[number][:2])
    drawn = [""] * len(wanted)
    shown: tuple[str, int] | None = None
    image: np.ndarray | None = None
    for number in order:
        where = wanted[number]
        sample = parts[where.part].samples[where.place]
        if where[:2] != shown:
            shown, image = where[:2], read_or_none(sample, read)
        if image is not None:
            drawn[number] = image_tag(_draw(sample, where, image, side), sample.file_name)
    return drawn


def read_or_none(sample: Sample, read: Reader) -> np.ndarray | None:
    """The image, (H, W, 3) uint8 RGB; None where it cannot be read, or has 100 million pixels and more."""
    if has_many_pixels(sample.size):
        return None
    try:
        image = read(sample)
    except (OSError, ValueError):
        return None
    return image if image.shape[:2] == sample.size else None


def _draw(sample: Sample, where: Where, image: np.ndarray, side: int) -> np.ndarray:
    height, width = sample.size
    box = np.array([0, 0, width, height], np.float32)
    if where.rle is not None or where.objects:
        boxes = [sample.boxes[row] for row in where.objects] + ([rle_to_box(where.rle)] if where.rle is not None else [])
        joined = np.array(boxes)
        box = np.concatenate([joined[:, :2].min(axis=0), joined[:, 2:].max(axis=0)])
    left, top, right, bottom = region_around(box.tolist(), sample.size)
    near = (sample.boxes[:, :2] < (right, bottom)).all(axis=1) & (sample.boxes[:, 2:] > (left, top)).all(axis=1)
    others = [row for row in np.flatnonzero(near).tolist() if row not in where.objects]
    asked = GREEN if where.rle is not None else ORANGE
    outlines = [Outline(sample.rles[row], GREEN) for row in others]
    outlines += [Outline(sample.rles[row], asked, True) for row in where.objects]
    if where.rle is not None:
        outlines.append(Outline(where.rle, ORANGE, True))
    return crop(image, box.tolist(), outlines, side=side)
