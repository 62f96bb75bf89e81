"""Pieces of small data sets, for the tests of several rooms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from maskrcnn.config.model import Category
from maskrcnn.data.dataset import Dataset
from maskrcnn.geometry.rle import mask_to_rle, rle_area
from maskrcnn.structures import Sample

SQUARE = [[2, 3, 12, 3, 12, 11, 2, 11]]  # a polygon and its box
SQUARE_BOX = [2, 3, 10, 8]


def annotation(annotation_id: int, image_id: int = 1, **changes: Any) -> dict[str, Any]:
    """A faultless COCO annotation of a square, with fields changed; a field set to None is left away."""
    fields = {"category_id": 7, "segmentation": SQUARE, "bbox": SQUARE_BOX, "area": 80, "iscrowd": 0}
    entry = {"id": annotation_id, "image_id": image_id} | fields | changes
    return {key: value for key, value in entry.items() if value is not None}


def moved(right: int) -> dict[str, Any]:
    """Polygon and box of the square so many pixels to the right, for annotations that are no twins."""
    x, y, width, height = SQUARE_BOX
    polygon = [value + right * (place % 2 == 0) for place, value in enumerate(SQUARE[0])]
    return {"segmentation": [polygon], "bbox": [x + right, y, width, height]}


def write_image(path: Path, size: tuple[int, int] = (20, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def write_discs(folder: Path, *, count: int, channels: int, size: tuple[int, int] = (72, 80), seed: int = 0) -> Path:
    """A folder of label maps: 16-bit TIFFs of `channels` planes, lit unlike, with three discs each that only the last shows."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number in range(count):
        values = rng.normal(0.2, 0.05, (channels, *size))
        labels = np.zeros(size, np.uint16)
        for label, left in enumerate((4, 30, 55), start=1):
            centre, radius = (left + 10, rng.uniform(15, size[0] - 15)), rng.uniform(7, 11)
            inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2
            labels[inside] = label
            values[-1][inside] += 0.5
        gains = 10.0 ** np.linspace(2, 4, channels)[:, None, None]
        planes = (300 + gains * values.clip(0, 2)).astype(np.uint16)
        tifffile.imwrite(folder / "images" / f"{number}.tif", planes, photometric="minisblack", metadata={"axes": "CYX"})
        Image.fromarray(labels).save(folder / "masks" / f"{number}.png")
    return folder


def read_samples(
    rng: np.random.Generator, sizes: list[tuple[int, int]], counts: list[int], *, channels: int = 3
) -> list[Sample]:
    """Samples with images of noise, one of each size, and so many rectangles for objects; labels 0 and 1 by turns."""
    samples = []
    for image_id, ((height, width), count) in enumerate(zip(sizes, counts, strict=True), start=1):
        corners = np.sort(rng.integers(0, (height, width), (count, 2, 2)), axis=1)  # (N, 2, y x)
        boxes = np.concatenate([corners[:, 0, ::-1], corners[:, 1, ::-1] + 1], axis=1).astype(np.float32).reshape(-1, 4)
        rles = []
        for left, top, right, bottom in boxes.astype(int):
            mask = np.zeros((height, width), bool)
            mask[top:bottom, left:right] = True
            rles.append(mask_to_rle(mask))
        samples.append(
            Sample(
                image_id=image_id,
                file_name=f"{image_id}.png",
                path=f"{image_id}.png",
                size=(height, width),
                boxes=boxes,
                labels=np.arange(count, dtype=np.int32) % 2,
                crowd=np.zeros(count, bool),
                rles=rles,
                areas=np.array([rle_area(rle) for rle in rles], np.float32),
                annotation_ids=np.arange(count, dtype=np.int64) + 1000 * image_id,
                image=rng.integers(0, 256, (height, width, channels), np.uint8),
            )
        )
    return samples


def dataset_of(
    labels: list[list[int]],
    *,
    num_classes: int,
    crowds: list[list[int]] | None = None,
    sides: tuple[float, float] | list[tuple[float, float]] = (10.0, 10.0),
    sizes: list[tuple[int, int]] | None = None,
) -> Dataset:
    """Images with objects of these labels, then crowds of those: boxes without pixels, for what only counts and measures.

    Sides (width, height) are those of all objects, or of the images' objects in turn. Classes are c0, c1, …
    """
    samples = []
    for row, own in enumerate(labels):
        crowd = [] if crowds is None else crowds[row]
        width, height = sides if isinstance(sides, tuple) else sides[row]
        count = len(own) + len(crowd)
        boxes = np.tile(np.array([5, 7, 5 + width, 7 + height], np.float32), (count, 1))
        samples.append(
            Sample(
                image_id=row,
                file_name=f"{row}.png",
                path=f"{row}.png",
                size=(512, 512) if sizes is None else sizes[row],
                boxes=boxes,
                labels=np.array([*own, *crowd], np.int32),
                crowd=np.arange(count) >= len(own),
                rles=[{"size": [1, 1], "counts": b""}] * count,
                areas=np.full(count, width * height, np.float32),
                annotation_ids=np.arange(count, dtype=np.int64),
            )
        )
    return Dataset(samples, tuple(Category(k + 1, f"c{k}") for k in range(num_classes)), name="small")
