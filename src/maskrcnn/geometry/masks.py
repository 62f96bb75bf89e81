"""Masks in their four forms: bitmap, run lengths (RLE), polygons, and a small grid stretched over a box.

A bitmap is (H, W), an image's own pixels. An RLE is COCO's dict `{"size": [h, w], "counts": bytes}`, the form in which masks
travel. A small grid is M×M and lives in the frame of its xyxy box. Coordinates are in pixels, the first pixel covers 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from hotcoco import mask as coco_mask

HALF = 0.5 - 1e-6  # of a pixel, from where on it is mask; what is half mask stays so under rounding


def mask_to_box(mask: np.ndarray) -> np.ndarray:
    """(4,) float32 xyxy, the smallest box around a bitmap's nonzero pixels; zeros where there are none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.zeros(4, np.float32)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def crop_mask(rle: dict[str, Any], box: np.ndarray, side: int) -> np.ndarray:
    """The mask inside its box on a grid of side × side: 1 where at least half of the cell's area is mask.

    Cell k covers the part k / side to (k + 1) / side of the box. Areas are exact, whether the box is larger than the grid or
    smaller; what lies outside of the image is not mask.

    Args:
        rle: the mask, of the whole image.
        box: (4,) xyxy, pixels of that image; without area the answer is zeros.

    Returns:
        (side, side) uint8, 0 or 1.
    """
    return crop_bitmap(coco_mask.decode(rle), box, side)


def crop_bitmap(mask: np.ndarray, box: np.ndarray, side: int) -> np.ndarray:
    """`crop_mask` of a bitmap (H, W), uint8 or bool, in whose pixels the box is."""
    return (_coverage(mask, box, (side, side)) >= HALF).view(np.uint8)


def coverage(rle: dict[str, Any], box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) float64, the part of each cell's area that is mask: `crop_mask` before it decides, on a grid of `size` (h, w)."""
    return _coverage(coco_mask.decode(rle), box, size)


def _coverage(mask: np.ndarray, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if (
        mask.flags.f_contiguous and not mask.flags.c_contiguous
    ):  # as RLE is decoded; OpenCV would copy it, at five times the cost
        return _coverage(mask.T, np.take(box, (1, 0, 3, 2)), size[::-1]).T
    left, top, right, bottom = np.asarray(box).tolist()
    height, width = mask.shape
    if not (min(right, width) > max(left, 0.0) and min(bottom, height) > max(top, 0.0)):
        return np.zeros(size)
    rows, row_edges = _cell_edges(top, bottom, height, size[0])
    columns, column_edges = _cell_edges(left, right, width, size[1])
    inside = mask[rows, columns].view(np.uint8)
    if inside.shape == size and bottom - top == size[0] and right - left == size[1]:  # each cell is a pixel
        return inside.astype(np.float64)
    sums = cv2.integral(inside)  # (h + 1, w + 1) pixels of the mask above and left of a corner
    # At the cells' corners: between pixels, sums grow linearly.
    sums = _between(_between(sums, row_edges, axis=0), column_edges, axis=1)
    upto = sums[1:] - sums[:-1]
    covered = upto[:, 1:] - upto[:, :-1]  # square pixels
    return covered * (size[0] * size[1] / ((right - left) * (bottom - top)))


def centre_of(cutout: np.ndarray, corner: Sequence[float] | np.ndarray) -> tuple[np.ndarray, int]:
    """(2,) x, y of the middle of a bitmap (h, w) at `corner` (left, top), and how many pixels it has; NaN where it has none."""
    columns, rows = cutout.sum(axis=0), cutout.sum(axis=1)
    area = int(columns.sum())
    if not area:
        return np.full(2, np.nan), 0
    middle = np.array([columns @ np.arange(len(columns)), rows @ np.arange(len(rows))]) / area
    return middle + 0.5 + np.asarray(corner), area


def shared_pixels(ones: Sequence[tuple[np.ndarray, Any]], others: Sequence[tuple[np.ndarray, Any]]) -> np.ndarray:
    """How many pixels bitmaps have in common, each (h, w) bool with its corner (left, top), which is rounded.

    Args:
        ones: N of them.
        others: M of them.

    Returns:
        (N, M) int64; only cutouts that touch are compared.
    """
    shared = np.zeros((len(ones), len(others)), np.int64)
    first, second = _edges(ones), _edges(others)  # (N, 4), (M, 4)
    low = np.maximum(first[:, None, :2], second[:, :2])  # (N, M, 2) left, top of what two cutouts share
    high = np.minimum(first[:, None, 2:], second[:, 2:])
    for n, m in np.argwhere((high > low).all(axis=2)).tolist():
        (left, top), (right, bottom) = low[n, m].tolist(), high[n, m].tolist()
        (x, y), (u, v) = first[n, :2].tolist(), second[m, :2].tolist()
        one = ones[n][0][top - y : bottom - y, left - x : right - x]
        shared[n, m] = np.count_nonzero(one & others[m][0][top - v : bottom - v, left - u : right - u])
    return shared


def _edges(cutouts: Sequence[tuple[np.ndarray, Any]]) -> np.ndarray:
    """(N, 4) int, left, top, right and bottom of bitmaps with their corners."""
    corners = np.rint([corner for _, corner in cutouts]).astype(int).reshape(-1, 2)
    return np.concatenate(
        [corners, corners + np.array([cutout.shape[::-1] for cutout, _ in cutouts], int).reshape(-1, 2)], axis=1
    )


def _cell_edges(start: float, stop: float, limit: int, cells: int) -> tuple[slice, np.ndarray]:
    """The pixels in 0 … limit that touch start … stop, and the (cells + 1,) edges of the cells, counted from the first."""
    first, last = (min(max(edge, 0), limit) for edge in (math.floor(start), math.ceil(stop)))
    edges = start + np.arange(cells + 1) * ((stop - start) / cells)
    edges[-1] = stop
    return slice(first, last), np.minimum(np.maximum(edges, first), last) - first


def _between(sums: np.ndarray, places: np.ndarray, *, axis: int) -> np.ndarray:
    """(h, w) numbers read at fractional places (P,) of an axis, from 0 to its length less 1, linear between neighbors."""
    below = np.minimum(places.astype(int), max(sums.shape[axis] - 2, 0))
    above = np.minimum(below + 1, sums.shape[axis] - 1)
    part = places - below
    if axis == 0:
        part = part[:, None]
    return sums.take(below, axis) * (1 - part) + sums.take(above, axis) * part
