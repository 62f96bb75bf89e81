"""The first convolution of a backbone, for images of other channels than its weights were learned on."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np


def stem_kernel(backbone: keras.Model) -> keras.Variable | None:
    """The (h, w, C, filters) kernel that reads the C channels of an image; None in a model of another kind."""
    return next((layer.kernel for layer in backbone.layers if isinstance(layer, keras.layers.Conv2D)), None)


def inflate(kernel: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A kernel made for another number of channels: each gets the mean over the old ones, times old / new.

    Equal values in all channels are then answered as before, so that the layers above see what they know. Carreira & Zisserman
    2017, section 2.4, inflate ImageNet's filters along time by the same rule.

    Args:
        kernel: (h, w, old, filters).
        shape: what the model needs, (h, w, new, filters).

    Returns:
        The kernel as it is where anything but the channels differs; that is for the caller to refuse.
    """
    if kernel.ndim != 4 or len(shape) != 4 or kernel.shape == tuple(shape) or _filters(kernel.shape) != _filters(shape):
        return kernel
    old, new = kernel.shape[2], shape[2]
    return np.repeat(kernel.mean(axis=2, keepdims=True) * (old / new), new, axis=2).astype(kernel.dtype)


def _filters(shape: Sequence[int]) -> tuple[int, ...]:
    return (*shape[:2], shape[3])


def inflation(old: int, new: int) -> str:
    """A sentence for people on what `inflate` did."""
    return (
        f"The weights read {old} channels and the model's images have {new}: its first convolution starts with the mean over "
        f"the {old}, times {old}/{new}, for each."
    )
