"""Slow, obvious twins of `maskrcnn.ops.class_losses`: one RoI and one class at a time, float64."""

from __future__ import annotations

import math

import numpy as np
from references.losses import binary_crossentropy


def federated_loss(logits: np.ndarray, classes: np.ndarray, valid: np.ndarray, counted: np.ndarray) -> float:
    """(B, S, K + 1) logits, (B, S) classes and valid, (B, K) counted."""
    total, rois = 0.0, 0
    for image, roi in zip(*np.nonzero(valid)):
        rois += 1
        for k in range(logits.shape[2] - 1):
            true = classes[image, roi] == k + 1
            if true or counted[image, k]:
                total += binary_crossentropy(float(true), float(logits[image, roi, k + 1]))
    return total / rois if rois else 0.0


def softmax(row: np.ndarray) -> np.ndarray:
    powers = np.exp(row.astype(float) - row.max())
    return powers / powers.sum()


def seesaw_loss(
    objects: np.ndarray, classes_logits: np.ndarray, classes: np.ndarray, valid: np.ndarray, counts: tuple[float, ...]
) -> float:
    """Of the two logits as MMDetection's head gives them: (B, S, 2) background and object, (B, S, K) of the classes."""
    total, rois = 0.0, 0
    for image, roi in zip(*np.nonzero(valid)):
        rois += 1
        k = classes[image, roi] - 1
        total -= math.log(softmax(objects[image, roi])[int(k >= 0)])
        if k < 0:
            continue
        row = classes_logits[image, roi].astype(float)
        scores = softmax(row)
        for other in range(len(row)):
            if other == k:
                continue
            mitigation = min(1.0, (max(counts[other], 1) / max(counts[k], 1)) ** 0.8) if counts else 1.0
            compensation = max(1.0, (scores[other] / max(scores[k], 0.01)) ** 2)
            row[other] += math.log(mitigation * compensation)
        total -= math.log(softmax(row)[k])
    return total / rois if rois else 0.0
