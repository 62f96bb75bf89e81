"""A stand-in for a model: it finds what is painted, every patch of one value a thing, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from maskrcnn.config.model import Category, ImageConfig, ModelConfig
from maskrcnn.geometry.masks import mask_to_box
from maskrcnn.structures import Detections

CONFIG = ModelConfig(categories=(Category(3, "blob"), Category(5, "other")), image=ImageConfig(short_side=64, long_side=107))


def model() -> Any:
    return SimpleNamespace(config=CONFIG, predict_on_batch=None)


def find_blobs(
    _: Any, images: Iterable[np.ndarray], *, batch_size: int = 1, score: float | None = None
) -> Iterator[Detections]:
    """Stands in for `inference.whole.detect`: the connected patches of each grey level; above 127 they are of class 1."""
    for image in images:
        yield blobs(image)


def blobs(image: np.ndarray) -> Detections:
    grey = image if image.ndim == 2 else image[:, :, 0]
    bitmaps, corners, boxes, labels = [], [], [], []
    for level in np.unique(grey[grey > 0]).tolist():
        count, numbered = cv2.connectedComponents((grey == level).astype(np.uint8), connectivity=8)
        for number in range(1, count):
            box = mask_to_box(numbered == number)
            left, top, right, bottom = box.astype(int).tolist()
            bitmaps.append((numbered == number)[top:bottom, left:right])
            corners.append((left, top))
            boxes.append(box)
            labels.append(int(level > 127))
    count = len(bitmaps)
    return Detections(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.linspace(0.9, 0.6, count, dtype=np.float32),
        labels=np.array(labels, np.int32),
        small_masks=np.zeros((count, 0, 0), np.float32),
        size=grey.shape,
        class_names=CONFIG.class_names,
        bitmaps=bitmaps,
        corners=np.array(corners, int).reshape(-1, 2),
    )


def things(found: Iterable[Detections]) -> list[tuple[Any, ...]]:
    """What was found, to be compared: label, corner and mask of each, in one order."""
    every = []
    for detections in found:
        for (mask, corner), label in zip(detections.cutouts(), detections.labels.tolist()):
            every.append((label, *corner, mask.shape, mask.tobytes()))
    return sorted(every)


def painted(rng: np.random.Generator, size: tuple[int, int], *, count: int = 40, largest: float = 0.1) -> np.ndarray:
    """(H, W) uint8 with ellipses of few levels that touch and hide each other, so that some are of odd shape."""
    canvas = np.zeros(size, np.uint8)
    for _ in range(count):
        centre = (int(rng.integers(size[1])), int(rng.integers(size[0])))
        axes = tuple(int(side) for side in rng.integers(1, max(2, int(largest * min(size))), 2))
        cv2.ellipse(canvas, centre, axes, float(rng.uniform(0, 180)), 0, 360, int(rng.choice([40, 90, 160, 220])), -1)
    return canvas
