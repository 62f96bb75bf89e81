"""Deformable convolution of 3×3 taps by bilinear gathering. Dai et al. 2017, section 2.1; Zhu et al. 2019, section 3.2."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from maskrcnn.ops import points

TAPS = 9
# (9, 2) x, y from the middle tap, rows first.
_TAPS = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], indexing="xy"), axis=-1).reshape(TAPS, 2).astype(np.float32)


def deform_conv(x, offsets, kernel, factors: Any = None, *, stride: int = 1):
    """A 3×3 convolution whose taps are moved, each output pixel by its own offsets; zeros lie around the map.

    Args:
        x: (B, H, W, C).
        offsets: (B, h, w, 18): of each tap, rows first, how far it moves down and right, in pixels of `x`.
        kernel: (3, 3, C / groups, O).
        factors: (B, h, w, 9) of each tap, of the modulated kind; None: all count fully.
        stride: from one output pixel to the next; the first lies on the first pixel of `x`, so h is ⌈H / stride⌉.

    Returns:
        (B, h, w, O).
    """
    batch, height, width = ops.shape(offsets)[:3]
    down, right = (ops.arange(size, dtype="float32") * stride + 0.5 for size in (height, width))
    middle = ops.stack(ops.meshgrid(right, down, indexing="xy"), axis=-1)  # (h, w, 2) x, y
    moves = ops.flip(ops.reshape(ops.cast(offsets, "float32"), (-1, height, width, TAPS, 2)), axis=-1)
    places = ops.expand_dims(middle, 2) + ops.convert_to_tensor(_TAPS) + moves  # (B, h, w, 9, 2)
    values = points.read_at(x, ops.reshape(places, (-1, height * width * TAPS, 2)))  # (B, h w 9, C)
    if factors is not None:
        values = values * ops.reshape(ops.cast(factors, values.dtype), (-1, height * width * TAPS, 1))
    channels, filters, per_group = x.shape[3], kernel.shape[3], kernel.shape[2]
    groups = channels // per_group
    if groups == 1:
        answer = ops.matmul(ops.reshape(values, (-1, TAPS * channels)), ops.reshape(kernel, (TAPS * channels, filters)))
    else:
        values = ops.reshape(values, (-1, TAPS, groups, per_group))
        kernels = ops.reshape(kernel, (TAPS, per_group, groups, filters // groups))
        answer = ops.einsum("ntgc,tcgo->ngo", values, kernels)
    return ops.reshape(answer, (batch, height, width, filters))
