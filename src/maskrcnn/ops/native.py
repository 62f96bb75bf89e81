"""The one door to a backend's own kernels, where one was measured to be worth it (docs/notes.md has the figures).

Each name here is either a function with the same answer as the `keras.ops` version, or None where the backend has none.
"""

from __future__ import annotations

import itertools

import keras
from keras import ops

pool_levels = None
sum_rows = None
num_used = None
top_k = ops.top_k

# TensorFlow's own kernels and oneDNN's convolutions were faster than XLA on the CPU; JAX has nothing but XLA; PyTorch is eager.
JIT_COMPILE = keras.backend.backend() == "jax"

# Keras hands JAX a model's weights to be used up and takes them back with the answer: a second thread would find none.
ONE_CALL_AT_A_TIME = keras.backend.backend() == "jax"

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
