"""The five losses of the paper as pure functions. Each names its normaliser; where nothing counts, the loss is 0, not NaN."""

from __future__ import annotations

from keras import ops


def weighted_mean(values, weight):
    """Sum of values × weight over the sum of the weights, 0 where that is 0: both (B, N) or of one other shape → a scalar."""
    weight = ops.cast(weight, values.dtype)
    total = ops.sum(weight)
    return ops.sum(values * weight) / ops.where(total > 0.0, total, 1.0)


def smooth_l1(difference, beta: float):
    """Fast R-CNN, eq. 3: quadratic below `beta`, linear above; beta 0 is the absolute value. (B, N) or other, unchanged."""
    size = ops.abs(difference)
    if beta == 0.0:
        return size
    return ops.where(size < beta, 0.5 * ops.square(size) / beta, size - 0.5 * beta)


def binary_crossentropy(target, logits):
    """Of target and logits, both (B, N) or of one other shape, which it keeps; finite for any logits."""
    return ops.maximum(logits, 0.0) - logits * target + ops.log1p(ops.exp(-ops.abs(logits)))


def objectness_loss(logits, positive, valid):
    """Faster R-CNN, eq. 1, L_cls: mean over the sampled anchors. All (B, S)."""
    return weighted_mean(binary_crossentropy(ops.cast(positive, logits.dtype), logits), valid)


def box_loss(deltas, target, positive, valid, beta: float):
    """Faster R-CNN, eq. 1, L_reg: summed over the positives, divided by the number of *all* samples.

    So an object weighs the same in an image with few and in one with many (Fast R-CNN's released code).

    Args:
        deltas: (B, S, 4) predicted.
        target: (B, S, 4).
        positive: (B, S) bool.
        valid: (B, S) bool, the samples.
    """
    per_row = ops.sum(smooth_l1(deltas - target, beta), axis=-1)
    counted = ops.cast(ops.logical_and(positive, valid), per_row.dtype)
    return ops.sum(per_row * counted) / ops.maximum(ops.sum(ops.cast(valid, per_row.dtype)), 1.0)


def class_loss(
    logits,
    classes,
    valid,
    *,
    class_weights: tuple[float, ...] = (),
    focal_gamma: float = 0.0,
    label_smoothing: float = 0.0,
):
    """Fast R-CNN, section 2.3, L_cls: mean over the sampled RoIs, each with the weight of its true class.

    The normaliser is the sum of those weights, as in PyTorch's `cross_entropy`; the focal factor is not in it, so that easy
    RoIs leave the loss instead of shifting it onto hard ones.

    Args:
        logits: (B, S, K + 1), background first.
        classes: (B, S) int32 in 0 … K.
        valid: (B, S) bool.
        class_weights: K numbers; background weighs 1. (): all weigh 1.
        focal_gamma: each RoI counts (1 − score of its true class)^gamma, Lin et al. 2017, eq. 4, on the softmax.
        label_smoothing: this part of the target lies evenly on all K + 1 classes, Szegedy et al. 2016, section 7.
    """
    log_scores = ops.log_softmax(logits, axis=-1)
    chosen = ops.one_hot(classes, logits.shape[-1], dtype=log_scores.dtype)
    log_true = ops.sum(log_scores * chosen, axis=-1)  # (B, S)
    per_roi = -log_true
    if label_smoothing:
        per_roi = (1.0 - label_smoothing) * per_roi - label_smoothing * ops.mean(log_scores, axis=-1)
    if focal_gamma:
        missing = ops.maximum(-ops.expm1(log_true), 1e-6)  # above 0, where a gamma under 1 has no finite slope
        per_roi = per_roi * ops.power(missing, focal_gamma)
    weight = ops.cast(valid, per_roi.dtype)
    if class_weights:
        weight = weight * ops.sum(chosen * ops.convert_to_tensor([1.0, *class_weights], dtype=chosen.dtype), axis=-1)
    return weighted_mean(per_roi, weight)
