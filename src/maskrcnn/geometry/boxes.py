"""Boxes as NumPy arrays: (N, 4) xyxy float32, pixels, x to the right, y down, the first pixel covers 0 to 1."""

from __future__ import annotations

import numpy as np


def clip_boxes(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes (N, 4) cut to an image of `size` (height, width); what lies outside of it loses its area."""
    height, width = size
    return np.clip(boxes, 0, np.array([width, height, width, height], boxes.dtype))


def flip_boxes(boxes: np.ndarray, length: float, axis: int = 1) -> np.ndarray:
    """Boxes (N, 4) seen in a mirror: left becomes right in an image of that width; with axis 0 top bottom, of that height."""
    low, flipped = 1 - axis, boxes.copy()
    flipped[:, low], flipped[:, low + 2] = length - boxes[:, low + 2], length - boxes[:, low]
    return flipped


def box_area(boxes: np.ndarray) -> np.ndarray:
    """(N,) areas of (N, 4) boxes, square pixels; 0 where a side is not positive."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, M) of boxes xyxy (N, 4) and (M, 4); 0 where neither has an area."""
    low = np.maximum(first[:, None, :2], second[:, :2])
    high = np.minimum(first[:, None, 2:], second[:, 2:])
    shared = np.maximum(high - low, 0.0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
