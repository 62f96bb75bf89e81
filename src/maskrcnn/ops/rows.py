"""Choosing rows of padded sets."""

from __future__ import annotations

import keras
from keras import ops

from maskrcnn.ops import native
from maskrcnn.ops.native import Kernels


def gather(values, indices):
    """Rows of each image's set.

    Args:
        values: (B, N, …).
        indices: (B, S) integers in 0 … N-1.

    Returns:
        (B, S, …), `values[b, indices[b, s]]`.
    """
    batch, num_rows = ops.shape(values)[:2]
    rest = tuple(ops.shape(values)[2:])
    # One flat take is a plain gather on every backend; take_along_axis broadcasts the indices over the trailing axes first.
    first_row = ops.expand_dims(ops.arange(batch, dtype="int32") * num_rows, -1)
    flat = ops.reshape(values, (batch * num_rows, *rest))
    return ops.take(flat, ops.cast(indices, "int32") + first_row, axis=0)


def top(scores, num_rows: int):
    """The best rows of each image, exactly `num_rows` of them whatever the number there was.

    Args:
        scores: (B, N); rows that do not count hold -inf. N may be smaller than `num_rows`, or unknown until the graph runs.
        num_rows: static number of rows wanted.

    Returns:
        scores (B, num_rows) best first, indices (B, num_rows) int32, valid (B, num_rows) bool. Equal scores keep their order.
        Rows that are not valid point at row 0.
    """
    batch, num_scores = ops.shape(scores)
    if not isinstance(num_scores, int) or num_scores < num_rows:
        scores = ops.concatenate([scores, ops.full((batch, num_rows), -float("inf"), scores.dtype)], axis=1)
    values, indices = native.top_k(scores, num_rows)
    valid = values > -float("inf")
    return values, ops.where(valid, ops.cast(indices, "int32"), 0), valid


def sample(candidates, priority, num_rows: int):
    """Up to `num_rows` of the candidates of each image, those of the highest priority.

    Args:
        candidates: (B, N) bool.
        priority: (B, N) float; random numbers make it a uniform sample.

    Returns:
        indices (B, num_rows) int32, valid (B, num_rows) bool.
    """
    _, indices, valid = top(ops.where(candidates, priority, -float("inf")), num_rows)
    return indices, valid


def are_images(sizes):
    """(B, 2) height, width → (B, 1) bool: which are images. Those of size 0 fill a batch up and count nothing."""
    return sizes[:, :1] > 0


def priorities(shape, seed, kernels: Kernels = native.KERNELS):
    """Random numbers from 0 to 1 of shape (B, N), by which rows are drawn.

    Where devices have a part of the batch each, they are rows of those that one device with all of it would draw.
    """
    part, parts = kernels.part()
    batch, num_rows = shape
    numbers = keras.random.uniform((batch * parts, num_rows), seed=seed)
    return numbers if parts == 1 else numbers[part * batch : (part + 1) * batch]
