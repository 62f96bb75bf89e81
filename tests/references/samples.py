"""Boxes to test with."""

from __future__ import annotations

import numpy as np

# Without area, without width, without height, turned inside out, one pixel, huge, outside on the left and on the right.
DEGENERATE = np.array(
    [
        [5, 5, 5, 5],
        [5, 5, 5, 20],
        [5, 5, 20, 5],
        [20, 20, 5, 5],
        [7, 7, 8, 8],
        [-1e4, -1e4, 1e4, 1e4],
        [-50, -60, -20, -10],
        [500, 600, 520, 610],
        [0, 0, 0, 0],
    ],
    np.float32,
)


def boxes(rng: np.random.Generator, count: int, *, side: float = 64.0, least: float = 2.0, most: float = 40.0) -> np.ndarray:
    """(count, 4) float32 with area, some of them across the edges of an image of that side."""
    corner, size = rng.uniform(-0.2 * side, side, (count, 2)), rng.uniform(least, most, (count, 2))
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32)
