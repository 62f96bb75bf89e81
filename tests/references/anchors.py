"""Slow, obvious twin of `maskrcnn.ops.anchors`."""

from __future__ import annotations

import math

import numpy as np


def level_anchors(sizes, ratios, stride: int, height: int, width: int) -> np.ndarray:
    """Anchors of a level: for every place row by row, for every size, for every ratio = height / width; area = size²."""
    anchors = []
    for row in range(height):
        for column in range(width):
            for size in sizes:
                for ratio in ratios:
                    w = math.sqrt(size * size / ratio)
                    h = ratio * w
                    x, y = column * stride, row * stride
                    anchors.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
    return np.array(anchors).reshape(-1, 4)
