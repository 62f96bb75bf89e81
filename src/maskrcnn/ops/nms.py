"""Exact greedy non-maximum suppression, of fixed shape, for all images at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from maskrcnn.ops import boxes as box_ops


def nms(boxes, valid, iou_threshold: float, labels=None, *, while_loop: Callable[..., Any] = ops.while_loop):
    """Which rows survive greedy suppression: best first, each kept box removes the later ones that overlap it too much.

    Greedy NMS is the only fixed point of `keep[j] = valid[j] and no kept i < j overlaps j`: row 0 is settled at once, and
    each round settles at least the first row not settled yet. So rounds are repeated until nothing changes, which for real
    images is after a handful, and each is one matrix product instead of N steps.

    Args:
        boxes: (B, N, 4) xyxy, best first.
        valid: (B, N) bool; other rows neither survive nor suppress.
        iou_threshold: a box is removed where its IoU with a kept one is greater.
        labels: (B, N) int, or None. Rows of different labels do not suppress each other.
        while_loop: see `native.Kernels`.

    Returns:
        (B, N) bool.
    """
    boxes = ops.stop_gradient(boxes)
    overlaps = box_ops.iou(boxes, boxes) > iou_threshold  # (B, N, N)
    rank = ops.arange(ops.shape(boxes)[1], dtype="int32")  # (N,)
    overlaps = ops.logical_and(overlaps, ops.expand_dims(rank, 1) < ops.expand_dims(rank, 0))
    if labels is not None:
        overlaps = ops.logical_and(overlaps, ops.equal(ops.expand_dims(labels, 2), ops.expand_dims(labels, 1)))
    suppresses = ops.cast(overlaps, "float32")  # (B, N, N), [b, i, j]: i would remove j
    candidates = ops.cast(valid, "float32")  # (B, N)

    def unsettled(keep, previous):
        return ops.any(ops.not_equal(keep, previous))  # of (B, N)

    def settle(keep, previous):
        del previous
        hits = ops.squeeze(ops.matmul(ops.expand_dims(keep, 1), suppresses), 1)  # (B, N)
        return candidates * ops.cast(hits < 0.5, "float32"), keep

    keep, _ = while_loop(unsettled, settle, settle(candidates, candidates))
    return keep > 0.5
