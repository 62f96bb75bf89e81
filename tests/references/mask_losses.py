"""Slow, obvious twins of `maskrcnn.ops.mask_losses`: of one mask, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
from references.losses import binary_crossentropy


def mask_loss(target: np.ndarray, logits: np.ndarray, kind: str) -> float:
    """(M, M) target and logits."""
    masks = 1 / (1 + np.exp(-logits.astype(float)))
    if kind == "dice":
        shared, total = 0.0, 0.0
        for t, p in zip(target.flat, masks.flat):
            shared += t * p
            total += t * t + p * p
        return 1 - 2 * shared / total
    per_pixel = []
    for (y, x), t in np.ndenumerate(target):
        loss = binary_crossentropy(float(t), float(logits[y, x]))
        p = masks[y, x]
        if kind == "focal":
            loss *= (1 - (p if t else 1 - p)) ** 2
        if kind == "boundary":
            loss += outline_distance(target, y, x) / len(target) * abs(p - t)
        per_pixel.append(loss)
    return float(np.mean(per_pixel))


def outline_distance(target: np.ndarray, y: int, x: int) -> float:
    others = [math.dist((y, x), place) for place, t in np.ndenumerate(target) if t != target[y, x]]
    return min(others) - 0.5 if others else 0.0
