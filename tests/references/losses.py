"""Slow, obvious twins of `maskrcnn.ops.losses`: one number at a time, float64."""

from __future__ import annotations

import math

import numpy as np


def smooth_l1(difference: float, beta: float) -> float:
    """Fast R-CNN, eq. 3, with the turn at `beta` instead of 1."""
    if abs(difference) < beta:
        return 0.5 * difference * difference / beta
    return abs(difference) - 0.5 * beta


def binary_crossentropy(target: float, logit: float) -> float:
    """-log of the probability that the sigmoid gives to a target of 0 or 1."""
    signed = logit if target == 1 else -logit
    return math.log1p(math.exp(-signed)) if signed > -700 else -signed


def objectness_loss(logits: np.ndarray, positive: np.ndarray, valid: np.ndarray) -> float:
    terms = [
        binary_crossentropy(float(positive[place]), float(logits[place])) for place in np.ndindex(logits.shape) if valid[place]
    ]
    return sum(terms) / len(terms) if terms else 0.0


def box_loss(deltas: np.ndarray, target: np.ndarray, positive: np.ndarray, valid: np.ndarray, beta: float) -> float:
    total, count = 0.0, 0
    for place in np.ndindex(valid.shape):
        if valid[place]:
            count += 1
            if positive[place]:
                total += sum(smooth_l1(float(one) - float(other), beta) for one, other in zip(deltas[place], target[place]))
    return total / count if count else 0.0


def class_loss(
    logits: np.ndarray,
    classes: np.ndarray,
    valid: np.ndarray,
    class_weights: tuple[float, ...] = (),
    focal_gamma: float = 0.0,
    label_smoothing: float = 0.0,
) -> float:
    total, count = 0.0, 0.0
    for place in np.ndindex(valid.shape):
        if valid[place]:
            row = [float(logit) for logit in logits[place]]
            all_of_them = max(row) + math.log(sum(math.exp(logit - max(row)) for logit in row))
            true = int(classes[place])
            loss = 0.0
            for number, logit in enumerate(row):
                target = label_smoothing / len(row) + (1 - label_smoothing if number == true else 0)
                loss += target * (all_of_them - logit)
            weight = (1.0, *class_weights)[true] if class_weights else 1.0
            total += weight * (1 - math.exp(row[true] - all_of_them)) ** focal_gamma * loss
            count += weight
    return total / count if count else 0.0


def iou_distance(box: np.ndarray, target: np.ndarray, kind: str) -> float:
    """Rezatofighi et al. 2019, algorithm 1; Zheng et al. 2020, eqs. 7 to 11. One pair of boxes, both with area."""
    x1, y1, x2, y2 = map(float, box)
    a1, b1, a2, b2 = map(float, target)
    shared = max(min(x2, a2) - max(x1, a1), 0) * max(min(y2, b2) - max(y1, b1), 0)
    union = (x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - shared
    width, height = max(x2, a2) - min(x1, a1), max(y2, b2) - min(y1, b1)
    if kind == "giou":
        return 1 - shared / union + (width * height - union) / (width * height)
    centers = ((x1 + x2 - a1 - a2) / 2) ** 2 + ((y1 + y2 - b1 - b2) / 2) ** 2
    distance = 1 - shared / union + centers / (width**2 + height**2)
    if kind == "diou":
        return distance
    shapes = 4 / math.pi**2 * (math.atan((a2 - a1) / (b2 - b1)) - math.atan((x2 - x1) / (y2 - y1))) ** 2
    return distance + (shapes * shapes / (1 - shared / union + shapes) if shapes else 0.0)
