"""Anchors: the boxes that the RPN corrects, the same at every place of a level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops


def cell_anchors(sizes: Sequence[float], ratios: Sequence[float], *, rounded: bool = False) -> np.ndarray:
    """The anchors of one place, centered on 0, 0. Faster R-CNN, section 3.1.1.

    Args:
        sizes: square roots of the anchors' areas, pixels of the frame.
        ratios: height / width.
        rounded: every number to the nearest whole one, as torchvision does.

    Returns:
        (len(sizes) * len(ratios), 4) float32 xyxy, size by size.
    """
    anchors = []
    for size in sizes:
        for ratio in ratios:
            half_width, half_height = 0.5 * size / np.sqrt(ratio), 0.5 * size * np.sqrt(ratio)
            anchors.append([-half_width, -half_height, half_width, half_height])
    cell = np.array(anchors, np.float32)
    return np.round(cell) if rounded else cell


def level_anchors(cell: np.ndarray, strides: tuple, height, width, as_scalar: Callable[[Any, str], Any] = ops.cast):
    """The anchors of one level, in the order in which a convolution's output is flattened: y, x, anchor.

    Args:
        cell: (A, 4) of `cell_anchors`.
        strides: pixels of the frame between neighboring places along y and along x. Place (0, 0) is centered on pixel 0, 0
            (Detectron, torchvision).
        height: places of the level along y.
        width: places along x.
        as_scalar: see `native.Kernels`.

    Returns:
        (height * width * A, 4) float32 xyxy, pixels of the frame.
    """
    y, x = (
        ops.cast(ops.arange(count, dtype="int32"), "float32") * as_scalar(stride, "float32")  # (H,), then (W,)
        for count, stride in zip((height, width), strides, strict=True)
    )
    y, x = ops.meshgrid(y, x, indexing="ij")  # (H, W)
    places = ops.stack([x, y, x, y], axis=-1)  # (H, W, 4)
    anchors = ops.expand_dims(places, 2) + ops.convert_to_tensor(cell)  # (H, W, A, 4)
    return ops.reshape(anchors, (-1, 4))
