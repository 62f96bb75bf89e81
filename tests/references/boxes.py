"""Slow, obvious twins of `maskrcnn.ops.boxes`: one pair of boxes at a time, float64."""

from __future__ import annotations

import math

import numpy as np


def area(box) -> float:
    x1, y1, x2, y2 = (float(side) for side in box)
    return (x2 - x1) * (y2 - y1) if x2 > x1 and y2 > y1 else 0.0


def intersection(first, second) -> float:
    return area((max(first[0], second[0]), max(first[1], second[1]), min(first[2], second[2]), min(first[3], second[3])))


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, 4) and (M, 4) → (N, M); 0 where nothing is shared."""
    answer = np.zeros((len(first), len(second)))
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            shared = intersection(one, other)
            if shared > 0:
                answer[i, j] = shared / (area(one) + area(other) - shared)
    return answer


def covered(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, 4) and (M, 4) → (N, M), the part of each first box inside each second box; 0 for a box without area."""
    answer = np.zeros((len(first), len(second)))
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            if area(one) > 0:
                answer[i, j] = intersection(one, other) / area(one)
    return answer


def encode(boxes: np.ndarray, reference: np.ndarray, weights=(1.0, 1.0, 1.0, 1.0)) -> np.ndarray:
    """R-CNN, appendix C, eqs. 6 to 9, for boxes that have an area: (N, 4), (N, 4) → (N, 4)."""
    deltas = []
    for (x1, y1, x2, y2), (rx1, ry1, rx2, ry2) in zip(boxes.astype(float), reference.astype(float)):
        dx = ((x1 + x2) / 2 - (rx1 + rx2) / 2) / (rx2 - rx1)
        dy = ((y1 + y2) / 2 - (ry1 + ry2) / 2) / (ry2 - ry1)
        dw, dh = math.log((x2 - x1) / (rx2 - rx1)), math.log((y2 - y1) / (ry2 - ry1))
        deltas.append([weight * delta for weight, delta in zip(weights, (dx, dy, dw, dh))])
    return np.array(deltas).reshape(-1, 4)


def decode(deltas: np.ndarray, reference: np.ndarray, weights=(1.0, 1.0, 1.0, 1.0)) -> np.ndarray:
    """R-CNN, appendix C, eqs. 1 to 4; nothing grows by more than 1000 / 16 (Detectron)."""
    boxes = []
    for delta, (x1, y1, x2, y2) in zip(deltas.astype(float), reference.astype(float)):
        dx, dy, dw, dh = (value / weight for value, weight in zip(delta, weights))
        x, y = (x1 + x2) / 2 + dx * (x2 - x1), (y1 + y2) / 2 + dy * (y2 - y1)
        width = (x2 - x1) * min(math.exp(min(dw, 100.0)), 1000 / 16)
        height = (y2 - y1) * min(math.exp(min(dh, 100.0)), 1000 / 16)
        boxes.append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    return np.array(boxes).reshape(-1, 4)


def clip(boxes: np.ndarray, size) -> np.ndarray:
    """(N, 4) cut off at an image of `size` (height, width)."""
    height, width = (float(side) for side in size)
    limits = (width, height, width, height)
    return np.array([[min(max(float(side), 0.0), limit) for side, limit in zip(box, limits)] for box in boxes]).reshape(-1, 4)
