"""The five losses of the paper as pure functions. Each names its normaliser; where nothing counts, the loss is 0, not NaN."""

from __future__ import annotations

from keras import ops


def weighted_mean(values, weight):
    """Sum of values × weight over the sum of the weights, 0 where that is 0. Both of one shape."""
    weight = ops.cast(weight, values.dtype)
    return ops.sum(values * weight) / ops.maximum(ops.sum(weight), 1.0)


def smooth_l1(difference, beta: float):
    """Fast R-CNN, eq. 3: quadratic below `beta`, linear above; beta 0 is the absolute value. Shape unchanged."""
    size = ops.abs(difference)
    if beta == 0.0:
        return size
    return ops.where(size < beta, 0.5 * ops.square(size) / beta, size - 0.5 * beta)


def binary_crossentropy(target, logits):
    """Shape unchanged; finite for any logits."""
    return ops.maximum(logits, 0.0) - logits * target + ops.log1p(ops.exp(-ops.abs(logits)))


def objectness_loss(logits, positive, valid):
    """Faster R-CNN, eq. 1, L_cls: mean over the sampled anchors. All (B, S)."""
    return weighted_mean(binary_crossentropy(ops.cast(positive, logits.dtype), logits), valid)


def box_loss(deltas, target, positive, valid, beta: float):
    """Faster R-CNN, eq. 1, L_reg: summed over the positives, divided by the number of *all* samples.

    So an object weighs the same in a picture with few and in one with many (Fast R-CNN's released code).

    Args:
        deltas: (B, S, 4) predicted.
        target: (B, S, 4).
        positive: (B, S) bool.
        valid: (B, S) bool, the samples.
    """
    per_row = ops.sum(smooth_l1(deltas - target, beta), axis=-1)
    counted = ops.cast(ops.logical_and(positive, valid), per_row.dtype)
    return ops.sum(per_row * counted) / ops.maximum(ops.sum(ops.cast(valid, per_row.dtype)), 1.0)


def class_loss(logits, classes, valid):
    """Fast R-CNN, section 2.3, L_cls: mean over the sampled RoIs.

    Args:
        logits: (B, S, K + 1), background first.
        classes: (B, S) int32 in 0 … K.
        valid: (B, S) bool.
    """
    log_scores = ops.log_softmax(logits, axis=-1)
    chosen = ops.one_hot(classes, logits.shape[-1], dtype=log_scores.dtype)
    return weighted_mean(-ops.sum(log_scores * chosen, axis=-1), valid)
