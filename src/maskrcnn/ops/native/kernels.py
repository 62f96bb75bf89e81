"""What a backend may compute in a way of its own, and what every exporter may hand in instead: plain functions, in one tuple.

Shapes: `B` images, `N` boxes, `P` bins along a side of a pooled box, `C` channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Samples(NamedTuple):
    """Where each box is sampled along one axis: P bins of evenly spaced samples, of which a bin is the mean.

    Sample s of bin p lies at `start + (p + (s + 0.5) / count) * size`, feature pixels whose centers are whole numbers.
    """

    start: Any  # (B, N), where the first bin begins
    size: Any  # (B, N) of a bin
    count: Any  # of samples in a bin: a number, or (B, N) int32 where boxes have different ones; a box may have none
    num_bins: int  # P


class Kernels(NamedTuple):
    """The functions that a network computes with, handed through its calls. Whoever needs another one takes `_replace`."""

    pool_levels: Callable[..., Any]
    """RoIAlign of each box on its level: (features, levels, y, x) → (B, N, P, P, C).

    One (B, H_l, W_l, C) a level, (B, N) int32 rows of them, `Samples` along y and x.
    """
    num_used: Callable[[Any], Any]
    """How many of the first rows hold every valid one, at least 1: (B, N) bool → a number, N where shapes are fixed."""
    while_loop: Callable[..., Any]
    """As `keras.ops.while_loop` of (cond, body, state)."""
    as_scalar: Callable[[Any, str], Any]
    """A side of a frame, a number or a tensor, as a tensor without axes."""
    double: Callable[[Any], Any]
    """Twice the height and width, nearest neighbor: (B, H, W, C) → (B, 2H, 2W, C)."""
    total: Callable[[Any], Any]
    """Of a tensor or a list of them the sum over all devices that have a part of the batch each, without a gradient."""
    part: Callable[[], tuple[Any, int]]
    """Which part of the batch this device has, from 0, and how many parts there are."""
    in_slices: Callable[..., Any] | None = None
    """What heads say of detections a slice of rows at a time: (look, rows, valid) → (B, N, …); None: of all used rows at once.

    `look` of some rows (B, n, …) each gives (B, n, …); rows (B, N, …) each; (B, N) bool valid.
    """
