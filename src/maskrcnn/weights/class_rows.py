"""The rows of the class layers, carried from a model of some classes to one of others, by the classes' names.

Shapes: `K` classes of the source, `L` of the target, `F` features of a layer's input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

_BACKGROUND = object()  # row 0 of the scores
SQUARE = "mask_head/class_to_class"  # of PointRend: what a class takes of every class's coarse mask


def shared(source: Sequence[str], target: Sequence[str]) -> list[str]:
    """The classes of the target that the source knows as well, in the target's order."""
    return [name for name in target if name in set(source)]


def belongs_to_classes(path: str) -> bool:
    """Whether a weight of ours, by its path, has one row a class."""
    layer, _, name = path.rpartition("/")
    if path.startswith("mask_head/"):
        return name.startswith("class_")
    return path.startswith("box_head/") and layer.endswith(("/classes", "/deltas"))


def carry(path: str, found: np.ndarray, fresh: np.ndarray, source: Sequence[str], target: Sequence[str]) -> np.ndarray:
    """A weight of the class layers for the target's classes: rows of shared classes from the source, the others as they begin.

    The background's row of the scores is carried along.

    Args:
        path: of the weight, see `belongs_to_classes`.
        found: the source's: (F, K + 1) or (K + 1,) of `box_head/classes`, (F, 4 K) or (4 K,) of `box_head/deltas`, (K, F) or
            (K,) of `mask_head/class_…`.
        fresh: the target's as it begins, the same with L for K.
        source: names of the K classes.
        target: names of the L classes.

    Returns:
        An array of `fresh`'s shape.

    Raises:
        ValueError: for a source of another width, or with another number of rows than it has names.
    """
    rows_found, rows_fresh = _class_first(path, found), _class_first(path, fresh)  # (K, …), (L, …); one more of the scores
    first = [_BACKGROUND] if "/classes/" in path else []
    old, new = [*first, *source], [*first, *target]
    if path == SQUARE and rows_found.ndim == 2:  # columns are classes too
        columns = carry("mask_head/class_columns", rows_found.T, np.zeros((len(target), len(source))), source, target)
        rows_found = columns.T
    if len(rows_found) != len(old) or rows_found.shape[1:] != rows_fresh.shape[1:]:
        raise ValueError(f"Weights of {path!r} do not fit: the file has {found.shape}, the model {fresh.shape}.")
    answer = np.array(rows_fresh)
    for row, name in enumerate(new):
        if name in old:
            answer[row] = rows_found[old.index(name)]
    return _class_last(path, answer, fresh.shape)


def carry_all(
    found: Mapping[str, np.ndarray], weights: Sequence[Any], source: Sequence[str], target: Sequence[str]
) -> dict[str, np.ndarray]:
    """`carry` for all of a model's class layers that the source has too.

    Args:
        found: the source's weights by path.
        weights: Keras's, of the target model.
        source, target: names of classes, as in `carry`.

    Returns:
        The class layers for the target's classes, by path.
    """
    return {
        weight.path: carry(weight.path, found[weight.path], np.asarray(ops.convert_to_numpy(weight)), source, target)
        for weight in weights
        if belongs_to_classes(weight.path) and weight.path in found and found[weight.path].ndim == len(weight.shape)
    }


def _class_first(path: str, values: np.ndarray) -> np.ndarray:
    if path.startswith("mask_head/"):
        return values  # (K, F) or (K,)
    if "/deltas/" in path:
        values = values.reshape(*values.shape[:-1], -1, 4)  # (F, K, 4) or (K, 4)
        return np.moveaxis(values, -2, 0)
    return np.moveaxis(values, -1, 0)


def _class_last(path: str, rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if path.startswith("mask_head/"):
        return rows
    return np.moveaxis(rows, 0, -2 if "/deltas/" in path else -1).reshape(shape)
