"""Slow, obvious twin of `maskrcnn.ops.rows.top`."""

from __future__ import annotations

import numpy as np


def top(scores: np.ndarray, num_rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N,) → scores, indices and valid, each (num_rows,); Python's sort keeps the order of equals."""
    best = sorted(range(len(scores)), key=lambda row: -scores[row])
    best = [row for row in best if scores[row] > -np.inf][:num_rows]
    missing = num_rows - len(best)
    values = [scores[row] for row in best] + [-np.inf] * missing
    return np.array(values), np.array(best + [0] * missing, int), np.array([True] * len(best) + [False] * missing)
