"""Slow, obvious twins of `maskrcnn.geometry.masks`: one pixel, one cell at a time."""

from __future__ import annotations

import math

import numpy as np


def paste(small: np.ndarray, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """detectron2's `paste_masks_in_image`, cut at 0.5, over the whole image: (H, W) bool."""
    left, top, right, bottom = (float(edge) for edge in box)
    pasted = np.zeros(size, bool)
    for y in range(size[0]):
        for x in range(size[1]):
            row = (y + 0.5 - top) / (bottom - top) * small.shape[0] - 0.5
            column = (x + 0.5 - left) / (right - left) * small.shape[1] - 0.5
            pasted[y, x] = _bilinear(small, row, column) >= 0.5
    return pasted


def _bilinear(grid: np.ndarray, row: float, column: float) -> float:
    """The grid read between its samples; zeros around it."""
    total = 0.0
    for i in (math.floor(row), math.floor(row) + 1):
        for j in (math.floor(column), math.floor(column) + 1):
            if 0 <= i < grid.shape[0] and 0 <= j < grid.shape[1]:
                total += (1 - abs(row - i)) * (1 - abs(column - j)) * float(grid[i, j])
    return total


def crop(mask: np.ndarray, box: np.ndarray, side: int) -> np.ndarray:
    """Which part of every cell of a side × side grid over the box is mask: (side, side) in [0, 1]."""
    left, top, right, bottom = (float(edge) for edge in box)
    height, width = (bottom - top) / side, (right - left) / side
    covered = np.zeros((side, side))
    for i in range(side):
        for j in range(side):
            for y, x in np.argwhere(mask):
                rows = min(y + 1, top + (i + 1) * height) - max(y, top + i * height)
                columns = min(x + 1, left + (j + 1) * width) - max(x, left + j * width)
                covered[i, j] += max(rows, 0.0) * max(columns, 0.0) / (height * width)
    return covered
