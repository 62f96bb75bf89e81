"""Slow, obvious twin of `maskrcnn.ops.nms`: the greedy loop as it is told in a lecture."""

from __future__ import annotations

import math

import numpy as np
from references import boxes as reference


def nms(boxes: np.ndarray, valid: np.ndarray, iou_threshold: float, labels: np.ndarray | None = None) -> np.ndarray:
    """(N, 4) boxes, best first → (N,) bool: a box stays unless one that stayed before it overlaps it too much."""
    kept: list[int] = []
    for row in range(len(boxes)):
        if not valid[row]:
            continue
        rivals = [other for other in kept if labels is None or labels[other] == labels[row]]
        if all(reference.iou(boxes[[row]], boxes[[other]])[0, 0] <= iou_threshold for other in rivals):
            kept.append(row)
    return np.isin(np.arange(len(boxes)), kept)


def soft_nms(boxes, scores, labels, num: int, kind: str, iou_threshold: float, sigma: float) -> np.ndarray:
    """Bodla et al. 2017, figure 2, one row after the other: what each row's score was when it was taken, else -inf."""
    left, taken = {row: float(score) for row, score in enumerate(scores) if score > -math.inf}, np.full(len(boxes), -math.inf)
    while left and np.isfinite(taken).sum() < num:
        best = max(left, key=lambda row: (left[row], -row))
        taken[best] = left.pop(best)
        for row in left:
            overlap = float(reference.iou(boxes[best : best + 1], boxes[row : row + 1])[0, 0])
            if labels is not None and labels[row] != labels[best]:
                continue
            if kind == "gaussian":
                left[row] *= math.exp(-(overlap**2) / sigma)
            elif overlap > iou_threshold:
                left[row] *= 1 - overlap
    return taken
