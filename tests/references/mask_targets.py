"""Slow, obvious twin of `maskrcnn.ops.mask_targets`: cell by cell, pixel by pixel."""

from __future__ import annotations

import numpy as np
from references import boxes as reference


def coverage(mask: np.ndarray, mask_box, roi, mask_size: int) -> np.ndarray:
    """What part of each cell of a RoI's grid the object covers: (T, T) mask stretched over its box → (M, M) in [0, 1]."""
    left, top, right, bottom = (float(side) for side in mask_box)
    x1, y1, x2, y2 = (float(side) for side in roi)
    pixel_width, pixel_height = (right - left) / mask.shape[1], (bottom - top) / mask.shape[0]
    cell_width, cell_height = (x2 - x1) / mask_size, (y2 - y1) / mask_size
    covered = np.zeros((mask_size, mask_size))
    for i in range(mask_size):
        for j in range(mask_size):
            cell = (x1 + j * cell_width, y1 + i * cell_height, x1 + (j + 1) * cell_width, y1 + (i + 1) * cell_height)
            for row, column in np.argwhere(mask):
                x, y = left + column * pixel_width, top + row * pixel_height
                covered[i, j] += reference.intersection(cell, (x, y, x + pixel_width, y + pixel_height))
    return covered / (cell_width * cell_height)
