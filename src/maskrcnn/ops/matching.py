"""Which anchor or RoI stands for which object."""

from __future__ import annotations

from typing import Any, NamedTuple

from keras import ops

from maskrcnn.ops import boxes as box_ops
from maskrcnn.ops import rows as row_ops

OBJECTS_AT_ONCE = 16  # most images have no more; the IoU of 260,000 anchors with so many takes 17 MB an image


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
    """Compares boxes with the objects of their image. Faster R-CNN, section 3.1.2; Fast R-CNN, section 2.3.

    Crowd regions are never positives, and boxes that lie in one are never negatives: nobody knows what they show. Objects are
    looked at a few at a time, so that memory grows with the boxes and not with boxes times objects.

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
    boxes, truth = ops.stop_gradient(boxes), ops.stop_gradient(truth)  # what stands for what is chosen, not learned
    batch, num_rows = ops.shape(truth)[:2]
    place = ops.arange(1, num_rows + 1, dtype="int32")
    num_used = ops.max(ops.where(valid, place, 0))  # rows after the last valid one are never looked at
    # So that every slice is a whole one.
    truth = ops.concatenate([truth, ops.zeros((batch, OBJECTS_AT_ONCE, 4), truth.dtype)], axis=1)
    nothing = ops.zeros((batch, OBJECTS_AT_ONCE), "bool")
    objects = ops.concatenate([ops.logical_and(valid, ops.logical_not(crowd)), nothing], axis=1)
    crowds = ops.concatenate([ops.logical_and(valid, crowd), nothing], axis=1)

    def unseen(first, *_):
        return first < num_used

    def look(first, best, best_object, is_nearest, in_crowd):
        """Adds the objects in rows first, first + 1, … of the truth to what is known of every box."""
        rows = ops.slice(truth, (0, first, 0), (batch, OBJECTS_AT_ONCE, 4))
        is_object, is_crowd = (
            ops.expand_dims(ops.slice(kind, (0, first), (batch, OBJECTS_AT_ONCE)), 1) for kind in (objects, crowds)
        )
        iou = ops.where(is_object, box_ops.iou(boxes, rows), 0.0)  # (B, N, OBJECTS_AT_ONCE)
        here = ops.max(iou, axis=2)
        row = first + ops.cast(ops.argmax(iou, axis=2), "int32")
        if best_is_positive:
            nearest = ops.max(iou, axis=1, keepdims=True)
            equal = ops.logical_and(ops.equal(iou, nearest), nearest > 0.0)
            is_nearest = ops.logical_or(is_nearest, ops.any(equal, axis=2))
        inside = ops.where(is_crowd, box_ops.covered(boxes, rows), 0.0) >= crowd_overlap
        in_crowd = ops.logical_or(in_crowd, ops.any(inside, axis=2))
        # Of equally near objects the first stays.
        return first + OBJECTS_AT_ONCE, ops.maximum(best, here), ops.where(here > best, row, best_object), is_nearest, in_crowd

    best = ops.zeros((batch, ops.shape(boxes)[1]), "float32")
    nobody = ops.zeros_like(best, dtype="bool")
    state = (ops.zeros((), "int32"), best, ops.zeros_like(best, dtype="int32"), nobody, nobody)
    _, best, best_object, is_nearest, in_crowd = ops.while_loop(unseen, look, state)
    positive = ops.logical_or(best >= positive_iou, is_nearest)
    negative = ops.logical_and(best < negative_iou, ops.logical_not(ops.logical_or(positive, in_crowd)))
    return Match(best, best_object, positive, negative)


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
