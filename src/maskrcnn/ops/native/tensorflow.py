"""TensorFlow's own kernels, where they were measured to be worth it (docs/notes.md has the figures)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
from keras import ops

from maskrcnn.ops.native import portable
from maskrcnn.ops.native.kernels import Samples
from maskrcnn.ops.native.portable import place_as  # noqa: F401

# TensorFlow's own kernels and oneDNN's convolutions were faster than XLA on the CPU.
JIT_COMPILE = False
ONE_CALL_AT_A_TIME = False

top_k = ops.top_k
conv = None
depthwise_conv = None


def add_bias(values, bias):
    """(…, C) and (C,) of 16-bit floats → (…, C).

    Not by `tf.nn.bias_add`, as Keras: its gradient adds up in 16 bits on CPUs, and stands still at 256 times a summand.
    """
    return tf.add(values, bias)


def pool_levels(features, levels, y: Samples, x: Samples):
    """RoIAlign of each box on its level, through `tf.image.crop_and_resize`. Not for XLA.

    That kernel samples an evenly spaced grid with its first and last sample on the corners of a box, and gives 0 outside
    the map. RoIAlign continues the edge for one pixel before it gives 0, so the maps get an edge of one repeated pixel.
    The first samples of all bins are one such grid, the second another, and so on: what is held at a time has the size of
    what comes out, where all samples together would be the largest tensor of the model.

    Args:
        features: one (B, H_l, W_l, C) a level.
        levels: (B, N) int32, row of `features`.
        y, x: `Samples` along each axis, of more than one bin.

    Returns:
        (B, N, P, P, C).
    """
    batch, num_rows = tf.unstack(tf.shape(levels))
    images = tf.repeat(tf.range(batch), num_rows)
    levels = tf.reshape(levels, (-1,))
    y, x = (_map(lambda values: tf.reshape(values, (-1,)), axis) for axis in (y, x))
    rows, pooled = [], []
    for level, feature in enumerate(features):
        edged = _repeat_edge(tf.cast(feature, tf.float32))  # there is no kernel for bfloat16
        here = tf.where(tf.equal(levels, level))[:, 0]
        boxes = _take(_Boxes(images, y, x), here)
        rows.append(here)
        pooled.append(tf.cast((_sum_even if isinstance(y.count, int) else _sum_samples)(edged, boxes), feature.dtype))
    # Each box lies in exactly one level: a permutation puts them back into their order.
    order = tf.math.invert_permutation(tf.concat(rows, axis=0))
    pooled = tf.gather(tf.concat(pooled, axis=0), order)
    return tf.reshape(pooled, (batch, num_rows, y.num_bins, x.num_bins, features[0].shape[-1]))


class _Boxes(NamedTuple):
    """Boxes on one level."""

    image: Any  # (n,) int32
    y: Samples  # of (n,)
    x: Samples  # of (n,)


def _map(function: Callable[[Any], Any], axis: Samples) -> Samples:
    """The function of each tensor of the samples."""
    start, size, count, num_bins = axis
    return Samples(function(start), function(size), count if isinstance(count, int) else function(count), num_bins)


def _take(boxes: _Boxes, rows) -> _Boxes:
    """Rows (N,) int64 of them alone."""
    take = functools.partial(tf.gather, indices=rows)
    return _Boxes(take(boxes.image), _map(take, boxes.y), _map(take, boxes.x))


def _sum_even(edged, boxes: _Boxes):
    """Bins of boxes that all have the same numbers of samples: (n, P, P, C)."""
    total, num_y, num_x = 0.0, boxes.y.count, boxes.x.count
    for i, j in itertools.product(range(num_y), range(num_x)):
        total = total + _crop(edged, boxes, i, j)
    return total / (num_y * num_x)


def _sum_samples(edged, boxes: _Boxes):
    """As `_sum_even` of boxes with different numbers of samples: a round for each of the widest, of the boxes that are left."""
    count = boxes.y.count * boxes.x.count  # (n,)

    def add(number, total):
        left = tf.where(number < count)[:, 0]
        some = _take(boxes, left)
        found = _crop(edged, some, number // some.x.count, number % some.x.count)  # (N, P, P, C)
        share = tf.reshape(1.0 / tf.cast(tf.gather(count, left), tf.float32), (-1, 1, 1, 1))
        return number + 1, tf.tensor_scatter_nd_add(total, left[:, None], found * tf.stop_gradient(share))

    bins = (tf.shape(count)[0], boxes.y.num_bins, boxes.x.num_bins, edged.shape[-1])
    most = tf.reduce_max(tf.concat([count, [0]], axis=0))  # there may be no box
    _, total = tf.while_loop(lambda number, _: number < most, add, (0, tf.zeros(bins)), parallel_iterations=1)
    return total


def _crop(edged, boxes: _Boxes, i, j):
    """Sample i along y and j along x of every bin, numbers or (n,) int32 → (N, P, P, C)."""
    ends = []
    for axis, sample, side in ((boxes.y, i, 1), (boxes.x, j, 2)):
        last = tf.cast(tf.shape(edged)[side] - 1, tf.float32)
        within = (tf.cast(sample, tf.float32) + 0.5) / tf.cast(axis.count, tf.float32)
        first = axis.start + within * axis.size + 1.0  # the edge is a pixel wide
        ends.append((first / last, (first + (axis.num_bins - 1) * axis.size) / last))
    (top, bottom), (left, right) = ends
    corners = tf.stack([top, left, bottom, right], axis=1)  # (n, 4)
    return tf.image.crop_and_resize(edged, corners, boxes.image, (boxes.y.num_bins, boxes.x.num_bins))


def num_used(valid):
    """See `Kernels.num_used`. Shapes then vary, so not for XLA.

    Args:
        valid: (B, N) bool.
    """
    rows = tf.range(1, tf.shape(valid)[1] + 1)
    return tf.maximum(tf.reduce_max(tf.where(valid, rows, 0)), 1)


def _repeat_edge(feature):
    """(B, H, W, C) → (B, H + 2, W + 2, C)."""
    feature = tf.concat([feature[:, :1], feature, feature[:, -1:]], axis=1)
    return tf.concat([feature[:, :, :1], feature, feature[:, :, -1:]], axis=2)


def total(values):
    """See `Kernels.total`; of gradients that are None, too."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return values
    flat = tf.nest.flatten(values)
    known = [tf.stop_gradient(tf.convert_to_tensor(value)) for value in flat if value is not None]
    sums = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, known))
    return tf.nest.pack_sequence_as(values, [None if value is None else next(sums) for value in flat])


def part():
    """See `Kernels.part`: a replica's."""
    context = tf.distribute.get_replica_context()
    return (0, 1) if context is None else (context.replica_id_in_sync_group, context.num_replicas_in_sync)


def in_parts(predict, model, batch):
    """See `portable.in_parts`: each replica takes as many rows, the last one zeros where there are too few."""
    strategy = model.distribute_strategy
    parts = strategy.num_replicas_in_sync
    if parts == 1:
        return predict(batch)
    num_rows = len(tf.nest.flatten(batch)[0])
    share = -(-num_rows // parts)

    def rows(array, first: int):
        missing = share - len(array[first : first + share])
        return tf.pad(tf.convert_to_tensor(array[first : first + share]), [[0, missing], *[[0, 0]] * (len(array.shape) - 1)])

    def of_replica(context):
        first = context.replica_id_in_sync_group * share
        return tf.nest.map_structure(functools.partial(rows, first=first), batch)

    answer = predict(strategy.experimental_distribute_values_from_function(of_replica))
    return tf.nest.map_structure(lambda array: array[:num_rows], answer)


KERNELS = portable.KERNELS._replace(pool_levels=pool_levels, num_used=num_used, total=total, part=part)
