"""JAX's own kernels, where they were measured to be worth it (docs/notes.md has the figures)."""

from __future__ import annotations

import itertools

import jax
from keras import ops

from maskrcnn.ops.native import portable

JIT_COMPILE = True  # JAX has nothing but XLA
ONE_CALL_AT_A_TIME = True  # Keras hands JAX a model's weights to be used up and takes them back with the answer

KERNELS = portable.KERNELS
top_k = ops.top_k
conv = None


def _depthwise_conv(x, kernel, *, strides: tuple[int, int], padding: str):
    """As `keras.ops.depthwise_conv`, one product a pixel of the kernel: XLA's own takes ten times as long on the CPU.

    Args:
        x: (B, H, W, C).
        kernel: (k, k, C, 1).
    """
    if padding == "same":
        missing = portable.missing_pixels(x.shape[1:3], kernel.shape[:2], strides)
        x = ops.pad(x, ((0, 0), *((pixels // 2, pixels - pixels // 2) for pixels in missing), (0, 0)))
    rows, columns = (
        (side - pixels) // stride * stride + 1 for side, pixels, stride in zip(x.shape[1:3], kernel.shape, strides)
    )
    return sum(
        x[:, i : i + rows : strides[0], j : j + columns : strides[1]] * kernel[i, j, :, 0]
        for i, j in itertools.product(*map(range, kernel.shape[:2]))
    )


depthwise_conv = _depthwise_conv if jax.default_backend() == "cpu" else None
