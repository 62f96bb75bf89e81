"""Slow, obvious twin of `maskrcnn.ops.nms`: the greedy loop as it is told in a lecture."""

from __future__ import annotations

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
