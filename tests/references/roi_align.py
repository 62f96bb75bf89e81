"""Slow, obvious twin of `maskrcnn.ops.roi_align`: Mask R-CNN, section 3, with the edge rules of Caffe2's CPU kernel."""

from __future__ import annotations

import math

import numpy as np
from references import boxes as box_reference


def bilinear(feature: np.ndarray, y: float, x: float) -> np.ndarray:
    """One sample of an (H, W, C) map whose pixels' values stand at whole numbers: (C,).

    More than a pixel before the first value, or after the last one, it is 0; in between it is the value of the edge.
    """
    height, width, channels = feature.shape
    if y < -1.0 or y > height or x < -1.0 or x > width:
        return np.zeros(channels)
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    answer = np.zeros(channels)
    for row in {math.floor(y), min(math.floor(y) + 1, height - 1)}:
        for column in {math.floor(x), min(math.floor(x) + 1, width - 1)}:
            answer += (1 - abs(y - row)) * (1 - abs(x - column)) * feature[row, column]
    return answer


def roi_align(
    feature: np.ndarray,
    box: np.ndarray,
    stride: float,
    *,
    pool_size: int,
    sampling_ratio: int,
    aligned: bool,
) -> np.ndarray:
    """One box on one (H, W, C) map → (pool_size, pool_size, C). Without a ratio, a sample a feature pixel of the bin."""
    x1, y1, x2, y2 = (float(side) / stride - (0.5 if aligned else 0.0) for side in box)
    width, height = x2 - x1, y2 - y1
    if not aligned:
        width, height = max(width, 1.0), max(height, 1.0)
    bin_width, bin_height = width / pool_size, height / pool_size
    rows, columns = (sampling_ratio or math.ceil(max(side, 0.0)) for side in (bin_height, bin_width))
    pooled = np.zeros((pool_size, pool_size, feature.shape[-1]))
    for row in range(pool_size):
        for column in range(pool_size):
            samples = [
                bilinear(
                    feature,
                    y1 + bin_height * (row + (i + 0.5) / rows),
                    x1 + bin_width * (column + (j + 0.5) / columns),
                )
                for i in range(rows)
                for j in range(columns)
            ]
            pooled[row, column] = np.mean(samples, axis=0) if samples else 0.0
    return pooled


def assign_level(box: np.ndarray, *, canonical_size: float, canonical_level: int, min_level: int, max_level: int) -> int:
    """FPN paper, eq. 1, by comparing sizes instead of taking logarithms: each doubling of the side is one level up."""
    level, side = min_level, math.sqrt(box_reference.area(box))
    while level < max_level and side >= canonical_size * 2.0 ** (level + 1 - canonical_level):
        level += 1
    return level


def crop_and_resize(feature: np.ndarray, box: np.ndarray, frame: tuple[int, int], *, pool_size: int) -> np.ndarray:
    """matterport's pooling of one box that names its last pixel, on one (H, W, C) map → (pool_size, pool_size, C).

    Box and map share one normalised frame: 0 is the first pixel of either, 1 the last.
    """
    height, width, channels = feature.shape
    x1, y1, x2, y2 = (float(side) for side in box)
    pooled = np.zeros((pool_size, pool_size, channels))
    for row in range(pool_size):
        for column in range(pool_size):
            y = (y1 + (y2 - y1) * row / (pool_size - 1)) / (frame[0] - 1)
            x = (x1 + (x2 - x1) * column / (pool_size - 1)) / (frame[1] - 1)
            pooled[row, column] = bilinear(feature, y * (height - 1), x * (width - 1))
    return pooled
