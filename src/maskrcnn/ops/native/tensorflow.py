"""TensorFlow's own kernels, where they were measured to be worth it (docs/notes.md has the figures)."""

from __future__ import annotations

import itertools

import tensorflow as tf
from keras import ops

from maskrcnn.ops.native import portable

# TensorFlow's own kernels and oneDNN's convolutions were faster than XLA on the CPU.
JIT_COMPILE = False
ONE_CALL_AT_A_TIME = False

top_k = ops.top_k
conv = None
depthwise_conv = None


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
    """See `Kernels.num_used`. Shapes then vary, so not for XLA.

    Args:
        valid: (B, N) bool.
    """
    rows = tf.range(1, tf.shape(valid)[1] + 1)
    return tf.maximum(tf.reduce_max(tf.where(valid, rows, 0)), 1)


def _repeat_edge(feature):
    feature = tf.concat([feature[:, :1], feature, feature[:, -1:]], axis=1)
    return tf.concat([feature[:, :, :1], feature, feature[:, :, -1:]], axis=2)


KERNELS = portable.KERNELS._replace(pool_levels=pool_levels, num_used=num_used)
