"""How matterport/Mask_RCNN's arrays and numbers are written, and how ours: each `Layout` goes both ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from maskrcnn.weights.checkpoint import Layout

KEEP = Layout(lambda array: array, lambda array: array)


def _swap(deltas: np.ndarray) -> np.ndarray:
    """dy dx dh dw in the last axis ↔ dx dy dw dh, for as many boxes as it holds."""
    return deltas.reshape(*deltas.shape[:-1], -1, 4)[..., [1, 0, 3, 2]].reshape(deltas.shape)


def _foreground(pairs: np.ndarray) -> np.ndarray:
    """A softmax over (background, object) is the sigmoid of the difference of their logits."""
    pairs = pairs.reshape(*pairs.shape[:-1], -1, 2)
    return pairs[..., 1] - pairs[..., 0]


def _with_background(objectness: np.ndarray) -> np.ndarray:
    return np.stack([np.zeros_like(objectness), objectness], axis=-1).reshape(*objectness.shape[:-1], -1)


def without_first(count: int, then: Layout = KEEP) -> Layout:
    """Drops the first entries of the last axis: the background's, which no answer uses."""
    return Layout(
        lambda array: then.to_ours(array[..., count:]),
        lambda array: np.pad(then.to_theirs(array), [(0, 0)] * (array.ndim - 1) + [(count, 0)]),
    )


SWAPPED = Layout(_swap, _swap)
FOREGROUND = Layout(_foreground, _with_background)
# A convolution as large as its map is a fully connected layer; both count row, column, channel.
DENSE_1X1 = Layout(lambda kernel: kernel.reshape(-1, kernel.shape[-1]), lambda kernel: kernel[None, None])
MASK_CLASSES = Layout(lambda kernel: kernel.reshape(-1, kernel.shape[-1]).T, lambda kernel: kernel.T[None, None])


def dense(side: int) -> Layout:
    return Layout(
        lambda kernel: kernel.reshape(-1, kernel.shape[-1]), lambda kernel: kernel.reshape(side, side, -1, kernel.shape[-1])
    )


def less_bias(bias: np.ndarray) -> Layout:
    """A mean from which the bias of the convolution before is taken: norm(x + b) with mean m is norm(x) with mean m - b."""
    return Layout(lambda mean: mean - bias, lambda mean: mean + bias)


def delta_weights(deviations: Sequence[float]) -> tuple[float, ...]:
    """Standard deviations of dy, dx, dh, dw → what dx, dy, dw, dh are divided by."""
    dy, dx, dh, dw = (1.0 / float(value) for value in deviations)
    return dx, dy, dw, dh


def floats(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in np.asarray(values).ravel())
