"""Slow, obvious twin of a gradient: what a function does when one number moves a little."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def numeric(function: Callable[[np.ndarray], float], values: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences of a float64 function of one array."""
    values = values.astype(float)
    answer = np.zeros(values.shape)
    for place in np.ndindex(values.shape):
        more, less = values.copy(), values.copy()
        more[place] += step
        less[place] -= step
        answer[place] = (function(more) - function(less)) / (2 * step)
    return answer
