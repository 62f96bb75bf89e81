"""Windows of a map, for attention that does not look beyond them: `n` of `W` × `W` places, `T = W²`, in `B` images."""

from __future__ import annotations

from keras import ops


def padded(x, window: int):
    """(B, h, w, C) with zeros at the bottom and the right, up to whole windows."""
    for axis in (1, 2):
        side = ops.shape(x)[axis]
        missing = (window - side % window) % window
        if isinstance(missing, int) and missing == 0:
            continue
        shape = list(ops.shape(x))
        shape[axis] = missing
        x = ops.concatenate([x, ops.zeros(shape, x.dtype)], axis=axis)
    return x


def to_windows(x, window: int):
    """(B, h, w, C) → (B n, T, C), window by window."""
    height, width, channels = *ops.shape(x)[1:3], x.shape[-1]
    x = ops.reshape(x, (-1, height // window, window, width // window, window, channels))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, window**2, channels))


def from_windows(x, window: int, sides, channels: int):
    """(B n, T, C) → (B, h, w, C)."""
    height, width = sides
    x = ops.reshape(x, (-1, height // window, width // window, window, window, channels))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, height, width, channels))
