"""The one door to a backend's own kernels, where one was measured to be worth it (docs/notes.md has the figures).

Each name here is either a function with the same answer as the `keras.ops` version, or None where the backend has none.
"""

from __future__ import annotations

import keras
from keras import ops

sample_levels = None
top_k = ops.top_k

# TensorFlow's own kernels and oneDNN's convolutions were faster than XLA on the CPU; JAX has nothing but XLA; PyTorch is eager.
JIT_COMPILE = keras.backend.backend() == "jax"

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    def sample_levels(features, levels, x, y):
        """Bilinear samples of each box from its level, through `tf.image.crop_and_resize`. Not for XLA.

        That kernel samples an evenly spaced grid with its first and last sample on the corners of a box, and gives 0 outside
        the map. RoIAlign continues the edge for one pixel before it gives 0, so the maps get an edge of one repeated pixel.

        Args:
            features: one (B, H_l, W_l, C) a level.
            levels: (B, N) int32, row of `features`.
            x, y: (B, N, S) evenly spaced places, feature pixels, S > 1.

        Returns:
            (B, N, S, S, C).
        """
        batch, num_rows = ops.shape(levels)
        num_samples, channels = x.shape[-1], features[0].shape[-1]
        image_index = tf.repeat(tf.range(batch), num_rows)
        corners = tf.reshape(tf.stack([y[..., 0], x[..., 0], y[..., -1], x[..., -1]], axis=-1) + 1.0, (-1, 4))
        levels = tf.reshape(levels, (-1,))
        rows, samples = [], []
        for level, feature in enumerate(features):
            edged = _repeat_edge(tf.cast(feature, tf.float32))  # there is no kernel for bfloat16
            here = tf.where(tf.equal(levels, level))[:, 0]
            last = tf.cast(tf.shape(edged)[1:3] - 1, tf.float32)
            scale = tf.stack([last[0], last[1], last[0], last[1]])
            rows.append(here)
            samples.append(
                tf.image.crop_and_resize(
                    edged, tf.gather(corners, here) / scale, tf.gather(image_index, here), (num_samples, num_samples)
                )
            )
        # Each box lies in exactly one level: a permutation puts the samples back into the boxes' order.
        order = tf.math.invert_permutation(tf.concat(rows, axis=0))
        samples = tf.gather(tf.concat(samples, axis=0), order)
        return tf.cast(tf.reshape(samples, (batch, num_rows, num_samples, num_samples, channels)), features[0].dtype)

    def _repeat_edge(feature):
        feature = tf.concat([feature[:, :1], feature, feature[:, -1:]], axis=1)
        return tf.concat([feature[:, :, :1], feature, feature[:, :, -1:]], axis=2)


if keras.backend.backend() == "torch":
    import torch

    def top_k(values, num_rows: int):
        """As `keras.ops.top_k`, but equal values keep their order, as on the other backends; `torch.topk` promises none."""
        values, indices = torch.sort(values, dim=-1, descending=True, stable=True)
        return values[..., :num_rows], indices[..., :num_rows]
