"""How PyTorch's layers lie in their files, and how in Keras's: each `Layout` goes both ways."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from maskrcnn.weights.checkpoint import Layout


def _ranked(rank: int, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """`change`, which takes no array of another rank."""

    def checked(array: np.ndarray) -> np.ndarray:
        if array.ndim != rank:
            raise ValueError(f"A layout of {rank} axes took an array of shape {array.shape}.")
        return change(array)

    return checked


def _layout(rank: int, to_ours: Callable, to_theirs: Callable, *, our_rank: int | None = None) -> Layout:
    return Layout(_ranked(rank, to_ours), _ranked(rank if our_rank is None else our_rank, to_theirs))


def _no_way_back(part: np.ndarray) -> np.ndarray:
    raise ValueError(f"A part of a layer, of shape {part.shape}, is not written by itself.")


VECTOR = _layout(1, lambda vector: vector, lambda vector: vector)

# (O, I, h, w) ↔ (h, w, I, O), grouped or not. A transposed convolution is (I, O, h, w) ↔ (h, w, O, I): the same permutation.
CONV = _layout(4, lambda kernel: kernel.transpose(2, 3, 1, 0), lambda kernel: kernel.transpose(3, 2, 0, 1))

# (C, 1, h, w) ↔ (h, w, C, 1).
DEPTHWISE = _layout(4, lambda kernel: kernel.transpose(2, 3, 0, 1), lambda kernel: kernel.transpose(2, 3, 0, 1))

# (C, 1, 1) ↔ (C,): a factor for each channel.
CHANNEL_FACTORS = _layout(3, lambda factors: factors[:, 0, 0], lambda factors: factors[:, None, None], our_rank=1)

# A table, the same on both sides.
MATRIX = _layout(2, lambda table: table, lambda table: table)


def positions(size: int) -> Layout:
    """(1, 1 + P P, C) ↔ (P, P, C): what a transformer learned for each place, after the class token, which is left out."""

    def to_ours(table: np.ndarray) -> np.ndarray:
        return table[0, 1:].reshape(size, size, -1)

    def to_theirs(table: np.ndarray) -> np.ndarray:
        rows = table.reshape(-1, table.shape[-1])
        return np.concatenate([np.zeros_like(rows[:1]), rows])[None]

    return _layout(3, to_ours, to_theirs)


# (out, in) ↔ (in, out).
DENSE = _layout(2, np.transpose, np.transpose)


def first_dense(pool: int) -> Layout:
    """(out, C P P) ↔ (P P C, out): behind RoIAlign, PyTorch flattens channels first and Keras channels last."""

    def to_ours(kernel: np.ndarray) -> np.ndarray:
        return kernel.reshape(len(kernel), -1, pool, pool).transpose(2, 3, 1, 0).reshape(-1, len(kernel))

    def to_theirs(kernel: np.ndarray) -> np.ndarray:
        return kernel.reshape(pool, pool, -1, kernel.shape[1]).transpose(3, 2, 0, 1).reshape(kernel.shape[1], -1)

    return _layout(2, to_ours, to_theirs)


# Patch merging of MMDetection: its inputs are channels with their 2×2 neighbors, rows first; ours the neighbors with their
# channels, columns first. (out, 4 C) ↔ (4 C, out), and the norm before it.
def _neighbours_first(values: np.ndarray) -> np.ndarray:
    by_channel = values.reshape(*values.shape[:-1], -1, 4)[..., [0, 2, 1, 3]]
    return np.swapaxes(by_channel, -1, -2).reshape(values.shape)


def _channels_first(values: np.ndarray) -> np.ndarray:
    by_neighbour = values.reshape(*values.shape[:-1], 4, -1)[..., [0, 2, 1, 3], :]
    return np.swapaxes(by_neighbour, -1, -2).reshape(values.shape)


MERGED = _layout(2, lambda kernel: _neighbours_first(kernel).T, lambda kernel: _channels_first(kernel.T))
MERGED_VECTOR = _layout(1, _neighbours_first, _channels_first)

# (K + 1, in), background last ↔ (in, K + 1).
LOGITS_BACKGROUND_LAST = _layout(2, lambda rows: np.roll(rows, 1, axis=0).T, lambda kernel: np.roll(kernel.T, -1, axis=0))
LOGIT_BIAS_BACKGROUND_LAST = _layout(1, lambda bias: np.roll(bias, 1), lambda bias: np.roll(bias, -1))

# (K + 2, in), an object of any class and the background last ↔ (in, K + 1), background first; and the object's row ↔ (in, 1).
# Back the two come from two weights, so neither goes alone.
SEESAW_LOGITS = _layout(2, lambda rows: np.concatenate([rows[-1:], rows[:-2]]).T, _no_way_back)
SEESAW_LOGIT_BIAS = _layout(1, lambda bias: np.concatenate([bias[-1:], bias[:-2]]), _no_way_back)
SEESAW_OBJECT = _layout(2, lambda rows: rows[-2:-1].T, _no_way_back)
SEESAW_OBJECT_BIAS = _layout(1, lambda bias: bias[-2:-1], _no_way_back)

# (4 (K + 1), in), background first ↔ (in, 4 K). Background's rows are never used; on the way back they are zeros.
DELTAS_AFTER_BACKGROUND = _layout(
    2, lambda rows: rows[4:].T, lambda kernel: np.concatenate([np.zeros_like(kernel.T[:4]), kernel.T])
)
DELTA_BIAS_AFTER_BACKGROUND = _layout(1, lambda bias: bias[4:], lambda bias: np.concatenate([np.zeros_like(bias[:4]), bias]))

# (K, C, 1, 1) ↔ (K, C), and with a row for the background before them.
MASKS = _layout(4, lambda kernel: kernel[:, :, 0, 0], lambda rows: rows[:, :, None, None], our_rank=2)
MASKS_AFTER_BACKGROUND = _layout(
    4,
    lambda kernel: kernel[1:, :, 0, 0],
    lambda rows: np.concatenate([np.zeros_like(rows[:1]), rows])[:, :, None, None],
    our_rank=2,
)
MASK_BIAS_AFTER_BACKGROUND = _layout(1, lambda bias: bias[1:], lambda bias: np.concatenate([np.zeros_like(bias[:1]), bias]))


def by_class(places: int, *, rank: int) -> Layout:
    """Rows of K classes with so many places each, (K places, in) or (K places,) ↔ (K, places, in) or (K, places)."""
    return _layout(
        rank,
        lambda rows: rows.reshape(-1, places, *rows.shape[1:]),
        lambda rows: rows.reshape(-1, *rows.shape[2:]),
        our_rank=rank + 1,
    )


def columns(start: int, stop: int | None) -> Layout:
    """Some of the inputs of a convolution along points, (out, in, 1) → (out, some). There is no way back from a part."""
    return _layout(3, lambda kernel: kernel[:, start:stop, 0], _no_way_back, our_rank=2)


def dense_columns(start: int, stop: int | None) -> Layout:
    """As `columns`, for a dense layer: (out, in, 1) → (some, out)."""
    return _layout(3, lambda kernel: kernel[:, start:stop, 0].T, _no_way_back, our_rank=2)
