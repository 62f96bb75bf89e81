"""Which anchor or RoI stands for which object."""

from __future__ import annotations

from typing import Any, NamedTuple

from keras import ops

from maskrcnn.ops import boxes as box_ops
from maskrcnn.ops import rows as row_ops


class Match(NamedTuple):
    iou: Any  # (B, N) with the best object, 0 where there is none
    object: Any  # (B, N) int32, row of the best object
    positive: Any  # (B, N) bool
    negative: Any  # (B, N) bool; rows that are neither count nothing


def match(
    boxes,
    truth,
    valid,
    crowd,
    *,
    positive_iou: float,
    negative_iou: float,
    best_is_positive: bool,
    crowd_overlap: float = 0.5,
):
    """Compares boxes with the objects of their picture. Faster R-CNN, section 3.1.2; Fast R-CNN, section 2.3.

    Crowd regions are never positives, and boxes that lie in one are never negatives: nobody knows what they show.

    Args:
        boxes: (B, N, 4) or (1, N, 4) xyxy, anchors or RoIs, pixels of the frame.
        truth: (B, M, 4) xyxy, pixels of the frame.
        valid: (B, M) bool, rows of `truth` that are there.
        crowd: (B, M) bool, rows of `truth` that are crowd regions.
        positive_iou: positive from this IoU on.
        negative_iou: negative below it.
        best_is_positive: the boxes nearest to each object are positive however small the IoU.
        crowd_overlap: the part of a box inside a crowd region from which it is no negative.

    Returns:
        A `Match`.
    """
    objects = ops.expand_dims(ops.logical_and(valid, ops.logical_not(crowd)), 1)  # (B, 1, M)
    crowds = ops.expand_dims(ops.logical_and(valid, crowd), 1)
    iou = ops.where(objects, box_ops.iou(boxes, truth), 0.0)  # (B, N, M)
    best = ops.max(iou, axis=2)
    positive = best >= positive_iou
    if best_is_positive:
        nearest = ops.max(iou, axis=1, keepdims=True)  # (B, 1, M)
        is_nearest = ops.logical_and(ops.equal(iou, nearest), nearest > 0.0)
        positive = ops.logical_or(positive, ops.any(is_nearest, axis=2))
    in_crowd = ops.any(ops.where(crowds, box_ops.covered(boxes, truth), 0.0) >= crowd_overlap, axis=2)
    negative = ops.logical_and(best < negative_iou, ops.logical_not(ops.logical_or(positive, in_crowd)))
    return Match(best, ops.cast(ops.argmax(iou, axis=2), "int32"), positive, negative)


def sample_balanced(positive, negative, priority, *, num_sampled: int, positive_fraction: float):
    """A sample of a fixed size with at most so many positives, filled up with negatives.

    Args:
        positive, negative: (B, N) bool.
        priority: (B, N) random numbers.
        num_sampled: S.
        positive_fraction: greatest part of S that is positive.

    Returns:
        indices (B, S) int32, positive (B, S) bool, valid (B, S) bool. Positives stand first, within the first
        `int(S * positive_fraction)` rows; rows that are not valid stand last.
    """
    positive_rows, is_positive = row_ops.sample(positive, priority, int(num_sampled * positive_fraction))
    negative_rows, is_negative = row_ops.sample(negative, priority, num_sampled)
    indices = ops.concatenate([positive_rows, negative_rows], axis=1)
    taken = ops.concatenate([is_positive, is_negative], axis=1)
    order = -ops.arange(taken.shape[1], dtype="float32")  # top() then keeps the rows' order
    _, kept, valid = row_ops.top(ops.where(taken, order, -float("inf")), num_sampled)
    is_positive = ops.concatenate([is_positive, ops.zeros_like(is_negative)], axis=1)
    return row_ops.gather(indices, kept), ops.logical_and(row_ops.gather(is_positive, kept), valid), valid
