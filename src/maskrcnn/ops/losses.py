"""The five losses of the paper as pure functions. Each names its normaliser; where nothing counts, the loss is 0, not NaN."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from keras import ops

from maskrcnn.ops import boxes as box_ops

IouLoss = Literal["giou", "diou", "ciou"]
Total = Callable[[Any], Any]  # a sum over all devices, see `Kernels.total`: their losses add up to that of the whole batch


def whole(values):
    """The same tensor: the total where one device has the whole batch."""
    return values


def weighted_mean(values, weight, total: Total = whole):
    """Sum of values × weight over the sum of the weights, 0 where that is 0: both (B, N) or of one other shape → a scalar."""
    weight = ops.cast(weight, values.dtype)
    normaliser = total(ops.sum(weight))
    return ops.sum(values * weight) / ops.where(normaliser > 0.0, normaliser, 1.0)


def smooth_l1(difference, beta: float):
    """Fast R-CNN, eq. 3: quadratic below `beta`, linear above; beta 0 is the absolute value. (B, N) or other, unchanged."""
    size = ops.abs(difference)
    if beta == 0.0:
        return size
    return ops.where(size < beta, 0.5 * ops.square(size) / beta, size - 0.5 * beta)


def binary_crossentropy(target, logits):
    """Of target and logits, both (B, N) or of one other shape, which it keeps; finite for any logits."""
    return ops.maximum(logits, 0.0) - logits * target + ops.log1p(ops.exp(-ops.abs(logits)))


def objectness_loss(logits, positive, valid, total: Total = whole):
    """Faster R-CNN, eq. 1, L_cls: mean over the sampled anchors. All (B, S)."""
    return weighted_mean(binary_crossentropy(ops.cast(positive, logits.dtype), logits), valid, total)


def box_loss(deltas, target, positive, valid, beta: float, total: Total = whole):
    """Faster R-CNN, eq. 1, L_reg: summed over the positives, divided by the number of *all* samples.

    So an object weighs the same in an image with few and in one with many (Fast R-CNN's released code).

    Args:
        deltas: (B, S, 4) predicted.
        target: (B, S, 4).
        positive: (B, S) bool.
        valid: (B, S) bool, the samples.
        total: of their number, where devices share the batch.
    """
    return _over_samples(ops.sum(smooth_l1(deltas - target, beta), axis=-1), positive, valid, total)


def iou_box_loss(boxes, target, positive, valid, kind: IouLoss, total: Total = whole):
    """In place of `box_loss`: how little the boxes themselves overlap, with the same normaliser.

    Args:
        boxes: (B, S, 4) xyxy predicted, in any frame.
        target: (B, S, 4) xyxy of the objects.
        positive, valid: (B, S) bool, as in `box_loss`.
        kind: see `iou_distance`.
        total: as in `box_loss`.
    """
    return _over_samples(iou_distance(boxes, target, kind), positive, valid, total)


def iou_distance(boxes, target, kind: IouLoss):
    """1 − IoU, and more where boxes differ: 0 for equal boxes, and with a slope where they do not touch.

    Args:
        boxes, target: (…, 4) xyxy.
        kind: `"giou"` adds the part of the smallest box around both that neither covers (Rezatofighi et al. 2019, algorithm 1);
            `"diou"` the squared distance of the centers over the squared diagonal of that box (Zheng et al. 2020, eq. 7);
            `"ciou"` that and how differently they are shaped (eqs. 8 to 11, its weight without a slope).

    Returns:
        (…,) numbers from 0 to 2, of ciou to 3.
    """
    x1, y1, x2, y2 = ops.unstack(boxes, 4, axis=-1)
    a1, b1, a2, b2 = ops.unstack(target, 4, axis=-1)
    across = ops.maximum(ops.minimum(x2, a2) - ops.maximum(x1, a1), 0.0)
    shared = across * ops.maximum(ops.minimum(y2, b2) - ops.maximum(y1, b1), 0.0)
    union = ops.maximum(box_ops.area(boxes) + box_ops.area(target) - shared, 1e-7)
    iou = shared / union
    width, height = ops.maximum(x2, a2) - ops.minimum(x1, a1), ops.maximum(y2, b2) - ops.minimum(y1, b1)
    if kind == "giou":
        around = ops.maximum(width * height, 1e-7)
        return 1.0 - iou + (around - union) / around
    apart = 0.25 * (ops.square(x1 + x2 - a1 - a2) + ops.square(y1 + y2 - b1 - b2))
    distance = 1.0 - iou + apart / ops.maximum(ops.square(width) + ops.square(height), 1e-7)
    if kind == "diou":
        return distance
    angle = lambda w, h: ops.arctan(w / ops.maximum(h, 1e-7))  # noqa: E731
    shapes = 4.0 / math.pi**2 * ops.square(angle(a2 - a1, b2 - b1) - angle(x2 - x1, y2 - y1))
    weight = ops.stop_gradient(shapes / ops.maximum(1.0 - iou + shapes, 1e-7))
    return distance + weight * shapes


def _over_samples(per_row, positive, valid, total: Total):
    """Sum over the positives, divided by the number of all samples: (B, S) numbers and bools → a scalar."""
    counted = ops.cast(ops.logical_and(positive, valid), per_row.dtype)
    return ops.sum(per_row * counted) / ops.maximum(total(ops.sum(ops.cast(valid, per_row.dtype))), 1.0)


def class_loss(
    logits,
    classes,
    valid,
    *,
    class_weights: tuple[float, ...] = (),
    focal_gamma: float = 0.0,
    label_smoothing: float = 0.0,
    total: Total = whole,
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
        total: of the weights, where devices share the batch.
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
    return weighted_mean(per_roi, weight, total)
