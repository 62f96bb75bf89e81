"""The one door to a backend's own kernels, where one was measured to be worth it (docs/notes.md has the figures).

Each name here is either a function with the same answer as the `keras.ops` version, or None where the backend has none.
"""

from __future__ import annotations

import itertools
import platform

import keras
from keras import ops

from maskrcnn import backend

MAX_CACHE_BYTES = 1 << 30  # of compiled programs; the longest unused ones go first

pool_levels = None
sum_rows = None
num_used = None
top_k = ops.top_k
conv = None
depthwise_conv = None

# TensorFlow's own kernels and oneDNN's convolutions were faster than XLA on the CPU; JAX has nothing but XLA; PyTorch is eager.
JIT_COMPILE = keras.backend.backend() == "jax"

# Keras hands JAX a model's weights to be used up and takes them back with the answer: a second thread would find none.
ONE_CALL_AT_A_TIME = keras.backend.backend() == "jax"


def _missing(sides, reach, strides) -> list[int]:
    """Pixels of padding along each axis that "same" means, of which the smaller half lies in front."""
    return [max((-(-side // stride) - 1) * stride + pixels - side, 0) for side, pixels, stride in zip(sides, reach, strides)]


if keras.backend.backend() == "jax":
    import jax

    if jax.config.jax_compilation_cache_dir is None:
        # What one process compiled the next one finds. A folder for each machine, because programs are made for its processor.
        jax.config.update("jax_compilation_cache_dir", str(backend.cache_folder() / "jax" / platform.node()))
        jax.config.update("jax_compilation_cache_max_size", MAX_CACHE_BYTES)

    if jax.default_backend() == "cpu":

        def depthwise_conv(x, kernel, *, strides: tuple[int, int], padding: str):
            """As `keras.ops.depthwise_conv`, one product a pixel of the kernel: XLA's own takes ten times as long on the CPU.

            Args:
                x: (B, H, W, C).
                kernel: (k, k, C, 1).
            """
            if padding == "same":
                missing = _missing(x.shape[1:3], kernel.shape[:2], strides)
                x = ops.pad(x, ((0, 0), *((pixels // 2, pixels - pixels // 2) for pixels in missing), (0, 0)))
            rows, columns = (
                (side - pixels) // stride * stride + 1 for side, pixels, stride in zip(x.shape[1:3], kernel.shape, strides)
            )
            return sum(
                x[:, i : i + rows : strides[0], j : j + columns : strides[1]] * kernel[i, j, :, 0]
                for i, j in itertools.product(*map(range, kernel.shape[:2]))
            )


if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    def pool_levels(features, levels, y, x):
        """RoIAlign of each box on its level, through `tf.image.crop_and_resize`. Not for XLA.

        That kernel samples an evenly spaced grid with its first and last sample on the corners of a box, and gives 0 outside
        the map. RoIAlign continues the edge for one pixel before it gives 0, so the maps get an edge of one repeated pixel.
        The first samples of all bins are one such grid, the second another, and so on: what is held at a time has the size of
        what comes out, where all samples together would be the largest tensor of the model.

        Args:
            features: one (B, H_l, W_l, C) a level.
            levels: (B, N) int32, row of `features`.
            y, x: `Samples` along each axis, places (B, N, P, S) evenly spaced along P, P > 1.

        Returns:
            (B, N, P, P, C).
        """
        batch, num_rows, pool_size, num_samples = ops.shape(y.places)
        images = tf.repeat(tf.range(batch), num_rows)
        levels = tf.reshape(levels, (-1,))
        sides = {"y": y, "x": x}
        places = {side: tf.reshape(axis.places, (-1, pool_size, num_samples)) + 1.0 for side, axis in sides.items()}
        weights = {side: tf.reshape(axis.weights, (-1, num_samples)) for side, axis in sides.items()}
        rows, pooled = [], []
        for level, feature in enumerate(features):
            edged = _repeat_edge(tf.cast(feature, tf.float32))  # there is no kernel for bfloat16
            here = tf.where(tf.equal(levels, level))[:, 0]
            last = tf.cast(tf.shape(edged)[1:3] - 1, tf.float32)
            ends = {side: tf.gather(places[side], here)[:, :: pool_size - 1] for side in sides}  # (n, 2, S)
            share = {side: tf.gather(weights[side], here) for side in sides}  # (n, S)
            image, total = tf.gather(images, here), 0.0
            for i, j in itertools.product(range(num_samples), repeat=2):
                top, bottom = tf.unstack(ends["y"][:, :, i] / last[0], axis=1)
                left, right = tf.unstack(ends["x"][:, :, j] / last[1], axis=1)
                corners = tf.stack([top, left, bottom, right], axis=1)
                found = tf.image.crop_and_resize(edged, corners, image, (pool_size, pool_size))
                weight = share["y"][:, i] * share["x"][:, j]
                total = total + found * tf.reshape(weight, (-1, 1, 1, 1))
            rows.append(here)
            pooled.append(tf.cast(total, feature.dtype))
        # Each box lies in exactly one level: a permutation puts them back into their order.
        order = tf.math.invert_permutation(tf.concat(rows, axis=0))
        pooled = tf.gather(tf.concat(pooled, axis=0), order)
        return tf.reshape(pooled, (batch, num_rows, pool_size, pool_size, features[0].shape[-1]))

    def num_used(valid):
        """How many of the first rows hold every valid one, at least 1: a scalar. Shapes then vary, so not for XLA.

        Args:
            valid: (B, N) bool.
        """
        rows = tf.range(1, tf.shape(valid)[1] + 1)
        return tf.maximum(tf.reduce_max(tf.where(valid, rows, 0)), 1)

    def _repeat_edge(feature):
        feature = tf.concat([feature[:, :1], feature, feature[:, -1:]], axis=1)
        return tf.concat([feature[:, :, :1], feature, feature[:, :, -1:]], axis=2)


if keras.backend.backend() == "torch":
    import torch

    def conv(x, kernel, *, strides: tuple[int, int], padding: str, dilation_rate: tuple[int, int] = (1, 1)):
        """As `keras.ops.conv`, which on PyTorch copies every image twice to turn its channels there and back.

        Args:
            x: (B, H, W, C).
            kernel: (k, k, C / groups, out).
        """
        reach = [(pixels - 1) * rate + 1 for pixels, rate in zip(kernel.shape, dilation_rate)]
        missing = _missing(x.shape[1:3], reach, strides) if padding == "same" else [0, 0]
        x = x.permute(0, 3, 1, 2)  # a view, whose memory is what PyTorch calls channels last
        if any(pixels % 2 for pixels in missing):  # one more behind than before
            top, left = (pixels // 2 for pixels in missing)
            x, missing = torch.nn.functional.pad(x, (left, missing[1] - left, top, missing[0] - top)), [0, 0]
        answer = torch.nn.functional.conv2d(
            x,
            kernel.permute(3, 2, 0, 1),
            stride=tuple(strides),
            padding=tuple(pixels // 2 for pixels in missing),
            dilation=tuple(dilation_rate),
            groups=x.shape[1] // kernel.shape[2],
        )
        return answer.permute(0, 2, 3, 1)

    def depthwise_conv(x, kernel, *, strides: tuple[int, int], padding: str):
        """As `keras.ops.depthwise_conv`: x (B, H, W, C), kernel (k, k, C, 1)."""
        return conv(x, kernel.permute(0, 1, 3, 2), strides=strides, padding=padding)

    def sum_rows(values, places, weights):
        """Weighted sums of rows, none of which is held: PyTorch's embedding bag.

        Args:
            values: (R, C).
            places: (…, T) integers in 0 … R-1, the rows of each sum.
            weights: (…, T), their weights; no gradient goes through them.

        Returns:
            (…, C).
        """
        sums = torch.nn.functional.embedding_bag(
            places.reshape(-1, places.shape[-1]),
            values.float(),  # the sum in float32, as on TensorFlow
            per_sample_weights=weights.reshape(-1, places.shape[-1]).float(),
            mode="sum",
        )
        return sums.to(values.dtype).reshape(*places.shape[:-1], -1)

    def num_used(valid):
        """As on TensorFlow."""
        rows = torch.arange(1, valid.shape[1] + 1, device=valid.device)
        return max(int((rows * valid.any(dim=0)).max()), 1)

    def top_k(values, num_rows: int):
        """As `keras.ops.top_k`, but equal values keep their order, as on the other backends; `torch.topk` promises none."""
        values, indices = torch.sort(values, dim=-1, descending=True, stable=True)
        return values[..., :num_rows], indices[..., :num_rows]
