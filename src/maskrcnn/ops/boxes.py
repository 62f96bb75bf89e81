"""Boxes (xyxy) and deltas. Any leading axes; every function works in whatever frame its boxes are in."""

from __future__ import annotations

import math

from keras import ops

MAX_SCALE = 1000.0 / 16.0  # Detectron


def area(boxes):
    """(…, 4) xyxy → (…,) area; boxes turned inside out have 0."""
    x1, y1, x2, y2 = ops.unstack(boxes, 4, axis=-1)
    return ops.maximum(x2 - x1, 0.0) * ops.maximum(y2 - y1, 0.0)


def intersection(first, second):
    """Area that each of the first boxes shares with each of the second.

    Args:
        first: (…, N, 4) xyxy.
        second: (…, M, 4) xyxy.

    Returns:
        (…, N, M).
    """
    ax1, ay1, ax2, ay2 = (ops.expand_dims(side, -1) for side in ops.unstack(first, 4, axis=-1))
    bx1, by1, bx2, by2 = (ops.expand_dims(side, -2) for side in ops.unstack(second, 4, axis=-1))
    width = ops.maximum(ops.minimum(ax2, bx2) - ops.maximum(ax1, bx1), 0.0)
    height = ops.maximum(ops.minimum(ay2, by2) - ops.maximum(ay1, by1), 0.0)
    return width * height


def iou(first, second):
    """Intersection over union of (…, N, 4) with (…, M, 4) → (…, N, M); 0 where both boxes are empty."""
    shared = intersection(first, second)
    union = ops.expand_dims(area(first), -1) + ops.expand_dims(area(second), -2) - shared
    return shared / ops.maximum(union, 1e-9)


def covered(first, second):
    """Part of each of the first boxes that lies in each of the second, (…, N, M) in [0, 1]."""
    return intersection(first, second) / ops.maximum(ops.expand_dims(area(first), -1), 1e-9)


def encode(boxes, reference, weights=(1.0, 1.0, 1.0, 1.0)):
    """Deltas that move `reference` boxes onto `boxes`. R-CNN, appendix C, eqs. 6 to 9; `decode` undoes it.

    Args:
        boxes: (…, 4) xyxy.
        reference: (…, 4) xyxy, anchors or RoIs.
        weights: multiply dx, dy, dw, dh.

    Returns:
        (…, 4) dx, dy, dw, dh. Empty boxes count as 1e-3 wide or high, so the answer is finite.
    """
    x, y, width, height = _centre_and_size(boxes)
    rx, ry, rwidth, rheight = _centre_and_size(reference)
    wx, wy, ww, wh = weights
    return ops.stack(
        [
            wx * (x - rx) / rwidth,
            wy * (y - ry) / rheight,
            ww * ops.log(width / rwidth),
            wh * ops.log(height / rheight),
        ],
        axis=-1,
    )


def decode(deltas, reference, weights=(1.0, 1.0, 1.0, 1.0), *, max_scale: float = MAX_SCALE, min_scale: float = 0.0):
    """`reference` boxes moved by deltas. R-CNN, appendix C, eqs. 1 to 4, with the logarithms clamped.

    Args:
        deltas: (…, 4) dx, dy, dw, dh, times `weights`.
        reference: (…, 4) xyxy.
        max_scale: the most by which a side grows, so that exp cannot overflow.
        min_scale: the least part that is left of it.

    Returns:
        (…, 4) xyxy.
    """
    x1, y1, x2, y2 = ops.unstack(reference, 4, axis=-1)
    rwidth, rheight = x2 - x1, y2 - y1
    dx, dy, dw, dh = ops.unstack(deltas, 4, axis=-1)
    wx, wy, ww, wh = weights
    x = x1 + 0.5 * rwidth + dx / wx * rwidth
    y = y1 + 0.5 * rheight + dy / wy * rheight
    half_width = 0.5 * rwidth * ops.exp(_between(dw / ww, min_scale, max_scale))
    half_height = 0.5 * rheight * ops.exp(_between(dh / wh, min_scale, max_scale))
    return ops.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=-1)


def clip(boxes, regions):
    """Boxes cut off at the edge of their image.

    Args:
        boxes: (B, N, 4) xyxy.
        regions: (B, 4) xyxy, where the image lies.

    Returns:
        (B, N, 4) xyxy.
    """
    left, top, right, bottom = (ops.expand_dims(side, -1) for side in ops.unstack(ops.cast(regions, boxes.dtype), 4, axis=-1))
    x1, y1, x2, y2 = ops.unstack(boxes, 4, axis=-1)
    bound = lambda value, low, high: ops.minimum(ops.maximum(value, low), high)  # noqa: E731
    return ops.stack([bound(x1, left, right), bound(y1, top, bottom), bound(x2, left, right), bound(y2, top, bottom)], axis=-1)


def _between(logarithms, min_scale: float, max_scale: float):
    """(B, N) logarithms of scales, cut off at those of the limits: (B, N)."""
    logarithms = ops.minimum(logarithms, math.log(max_scale))
    return ops.maximum(logarithms, math.log(min_scale)) if min_scale else logarithms


def _centre_and_size(boxes):
    """(B, N, 4) xyxy → x and y of the center, width and height, (B, N) each; sides are at least 1e-3."""
    x1, y1, x2, y2 = ops.unstack(boxes, 4, axis=-1)
    width, height = ops.maximum(x2 - x1, 1e-3), ops.maximum(y2 - y1, 1e-3)
    return 0.5 * (x1 + x2), 0.5 * (y1 + y2), width, height
