"""Small images of a training: what the model is given with its ground truth, and what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from PIL import Image

from maskrcnn.config.model import Category
from maskrcnn.geometry.rle import rle_to_box, rle_to_mask
from maskrcnn.results.draw import as_rgb, draw_masks, resized
from maskrcnn.results.embedding import data_uri
from maskrcnn.structures import Detections, Sample

SIDE = 240  # pixels of a thumbnail's longer side


def batch_truth(batch: dict[str, Any], row: int, class_names: Sequence[str]) -> tuple[np.ndarray, Detections]:
    """One image of a batch, and its ground truth as detections of score 1.

    Args:
        batch: the fields of a `Batch` by name, as NumPy arrays.
        row: which image.
        class_names: what labels mean.

    Returns:
        (H, W, C) uint8 the frame, and the objects in its pixels.
    """
    image, valid = np.rint(batch["images"][row]).astype(np.uint8), batch["valid"][row]
    truth = Detections(
        boxes=batch["boxes"][row][valid],
        scores=np.ones(valid.sum(), np.float32),
        labels=batch["labels"][row][valid],
        small_masks=batch["masks"][row][valid].astype(np.float32),
        size=(image.shape[0], image.shape[1]),
        class_names=list(class_names),
    )
    return image, truth


def small_copy(image: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8 RGB of an (H, W, C) uint8 image, its longer side at most `SIDE` pixels."""
    return resized(as_rgb(image), min(1.0, SIDE / max(image.shape[:2])))


def thumbnail(small: np.ndarray, found: Detections, *, score: float = 0.0) -> str:
    """Detections drawn on a small copy of their image, as a `data:` URI; work and size are bounded by `SIDE`.

    Args:
        small: as `small_copy` gives it.
        found: in the image, with small masks or bitmaps.
        score: the least of what is drawn.
    """
    kept = found[found.scores >= score]
    height, width = small.shape[:2]
    scale = np.array([width / found.size[1], height / found.size[0]] * 2, np.float32)
    changes: dict[str, Any] = {}
    if kept.bitmaps is not None:
        pairs = [_shrunk(mask, corner, (height, width), kept.size) for mask, corner in kept.cutouts()]
        changes = {
            "bitmaps": [mask for mask, _ in pairs],
            "corners": np.array([corner for _, corner in pairs], int).reshape(-1, 2),
        }
    shrunk = replace(kept, boxes=kept.boxes * scale, size=(height, width), image=None, **changes)
    return data_uri(Image.fromarray(draw_masks(small, shrunk)))


def _shrunk(
    mask: np.ndarray, corner: tuple[int, int], size: tuple[int, int], original: tuple[int, int]
) -> tuple[np.ndarray, tuple[int, int]]:
    """A bitmap with its corner, from an image of one (height, width) to a copy of another; at least a pixel."""
    scale_y, scale_x = size[0] / original[0], size[1] / original[1]
    left = min(int(corner[0] * scale_x), size[1] - 1)
    top = min(int(corner[1] * scale_y), size[0] - 1)
    width = max(1, min(round(mask.shape[1] * scale_x), size[1] - left))
    height = max(1, min(round(mask.shape[0] * scale_y), size[0] - top))
    if not mask.size:
        return np.zeros((height, width), bool), (left, top)
    return cv2.resize(mask.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_AREA) >= 128, (left, top)


def truth_of(sample: Sample, categories: Sequence[Category]) -> Detections:
    """A sample's ground truth as detections of score 1, with bitmaps."""
    boxes = [rle_to_box(rle).astype(int) for rle in sample.rles]
    bitmaps = [rle_to_mask(rle)[box[1] : box[3], box[0] : box[2]] for rle, box in zip(sample.rles, boxes)]
    count = len(sample.labels)
    return Detections(
        boxes=sample.boxes,
        scores=np.ones(count, np.float32),
        labels=sample.labels,
        small_masks=np.zeros((count, 0, 0), np.float32),
        size=(int(sample.size[0]), int(sample.size[1])),
        class_names=[category.name for category in categories],
        bitmaps=bitmaps,
        corners=np.array([box[:2] for box in boxes], int).reshape(-1, 2),
    )
