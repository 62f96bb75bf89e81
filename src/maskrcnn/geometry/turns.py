"""The eight ways to lay an array's two axes on an image's rows and columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Turn(NamedTuple):
    """First the axes are swapped, then rows and columns reversed."""

    swap: bool = False
    flip_rows: bool = False
    flip_columns: bool = False


def turned(values: np.ndarray, turn: Turn) -> np.ndarray:
    """(A, B, …) turned: (A, B, …), or (B, A, …) where axes are swapped; a view."""
    if turn.swap:
        values = values.swapaxes(0, 1)
    return values[:: -1 if turn.flip_rows else 1, :: -1 if turn.flip_columns else 1]


def turned_back(values: np.ndarray, turn: Turn) -> np.ndarray:
    """Undoes `turned`."""
    values = values[:: -1 if turn.flip_rows else 1, :: -1 if turn.flip_columns else 1]
    return values.swapaxes(0, 1) if turn.swap else values
