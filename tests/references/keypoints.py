"""Slow, obvious twins of what is done with keypoints."""

from __future__ import annotations

import math

import numpy as np


def keypoint_place(point, roi, size: int) -> int | None:
    """The place of a point (x, y, visibility) in the heat map of a RoI; None where it has none."""
    x, y, visible = point
    left, top, right, bottom = roi
    column = size - 1 if x == right else math.floor((x - left) * size / (right - left))
    row = size - 1 if y == bottom else math.floor((y - top) * size / (bottom - top))
    return row * size + column if visible > 0 and 0 <= row < size and 0 <= column < size else None


def keypoint_loss(heat_maps: np.ndarray, places: np.ndarray, counted: np.ndarray) -> float:
    """Mean over what counts of the negative logarithm of the softmax at the place."""
    values = []
    for index in zip(*np.nonzero(counted)):
        logits = heat_maps[index].ravel().astype(np.float64)
        values.append(math.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[places[index]])
    return float(np.mean(values)) if values else 0.0


def bicubic(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) resized to `size` (height, width) with Keys's kernel, a = -0.75, edges repeated: PyTorch's `interpolate`."""

    def kernel(t: float) -> float:
        t, a = abs(t), -0.75
        if t <= 1:
            return (a + 2) * t**3 - (a + 3) * t**2 + 1
        return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0

    for axis in (0, 1):
        old, new = image.shape[axis], size[axis]
        rows = np.moveaxis(image, axis, 0)
        answer = np.zeros((new, *rows.shape[1:]))
        for place in range(new):
            at = (place + 0.5) * old / new - 0.5
            for near in range(math.floor(at) - 1, math.floor(at) + 3):
                answer[place] += kernel(at - near) * rows[min(max(near, 0), old - 1)]
        image = np.moveaxis(answer, 0, axis)
    return image
