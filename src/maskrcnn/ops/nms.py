"""Exact greedy non-maximum suppression and Soft-NMS, of fixed shape, for all images at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from keras import ops

from maskrcnn.ops import boxes as box_ops
from maskrcnn.ops import native


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


def soft_nms(
    boxes,
    scores,
    labels=None,
    *,
    num: int,
    kind: Literal["linear", "gaussian"],
    iou_threshold: float,
    sigma: float,
    while_loop: Callable[..., Any] = ops.while_loop,
):
    """The scores that rows keep under Soft-NMS: Bodla et al. 2017, figure 2.

    The best row left is taken, and all rows left lose score by how much they overlap it; so `num` times.

    Args:
        boxes: (B, N, 4) xyxy.
        scores: (B, N) above 0; -inf of rows that are none.
        labels: (B, N) int, or None. Rows of different labels do not touch each other.
        num: rows that are taken of each image.
        kind: how much is lost: `"linear"` IoU, where it is greater than `iou_threshold` (eq. 2); `"gaussian"` all but
            exp(-IoU² / sigma) (eq. 3).
        while_loop: see `native.Kernels`.

    Returns:
        (B, N) what each row's score was when it was taken; -inf of rows that were not.
    """
    boxes = ops.stop_gradient(boxes)
    overlaps = box_ops.iou(boxes, boxes)  # (B, N, N)
    if labels is not None:
        same = ops.equal(ops.expand_dims(labels, 2), ops.expand_dims(labels, 1))
        overlaps = ops.where(same, overlaps, 0.0)
    if kind == "linear":
        factors = ops.where(overlaps > iou_threshold, 1.0 - overlaps, 1.0)
    else:
        factors = ops.exp(-ops.square(overlaps) / sigma)
    rank = ops.expand_dims(ops.arange(ops.shape(boxes)[1], dtype="int32"), 0)  # (1, N)
    nothing = -float("inf")

    def is_left(step, left, taken):
        del taken
        return ops.logical_and(step < num, ops.any(left > nothing))

    def take_best(step, left, taken):
        _, best = native.top_k(left, 1)  # (B, 1)
        chosen = ops.equal(rank, ops.cast(best, "int32"))  # (B, N)
        taken = ops.where(chosen, left, taken)
        row = ops.squeeze(ops.matmul(ops.expand_dims(ops.cast(chosen, factors.dtype), 1), factors), 1)  # (B, N)
        left = ops.where(ops.logical_or(chosen, ops.equal(left, nothing)), nothing, left * row)
        return step + 1, left, taken

    start = (ops.convert_to_tensor(0, dtype="int32"), scores, ops.full_like(scores, nothing))
    _, _, taken = while_loop(is_left, take_best, start)
    return taken
