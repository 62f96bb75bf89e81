"""Small masks stretched over their boxes, in pixels of the original image."""

from __future__ import annotations

from typing import Literal

import numpy as np

Paste = Literal["exact", "torchvision"]


def paste(small: np.ndarray, box: np.ndarray, *, out: np.ndarray, how: Paste = "exact") -> None:
    """Stretches a grid of probabilities over its box, cuts at 0.5 and writes the answer into `out`, in place.

    Only pixels whose center lies in the box are written. The value at a pixel's center is the bilinear sample of the grid at
    `(x + 0.5 - x0) / (x1 - x0) * M - 0.5`, zeros around the grid: detectron2's `paste_masks_in_image`, torch's
    `grid_sample(align_corners=False)`. Bilinear sampling on a grid is separable, so two small matrices do it exactly, where
    OpenCV's `remap` rounds the places to 1/32 of a cell. Onto a box of whole pixels that is scikit-image's `resize`, as
    matterport pastes; it differs only where no cell is below 0.5, because scikit-image lifts what fades at the border to the
    least of its input.

    torchvision's way, the first Detectron's, puts one cell of zeros around the grid, enlarges the box by them and cuts it to
    whole pixels, so that masks lie up to a pixel beside the exact ones.

    Args:
        small: (M, M) probabilities in [0, 1].
        box: (4,) xyxy, pixels of `out`; may reach outside. Exactly pasted, a box without area writes nothing.
        out: (H, W) bool.
        how: exact, or torchvision's way.
    """
    cutout, (left, top) = paste_cutout(small, box, out.shape, how=how)
    out[top : top + cutout.shape[0], left : left + cutout.shape[1]] = cutout


def paste_cutout(
    small: np.ndarray, box: np.ndarray, size: tuple[int, ...], *, how: Paste = "exact"
) -> tuple[np.ndarray, tuple[int, int]]:
    """What `paste` writes into an image of `size` (height, width): (h, w) bool and its corner (left, top) in the image.

    Nothing of the image's size is made, so that objects of images too large for a bitmap each can be pasted too.
    """
    if how == "torchvision":
        small, box = np.pad(small, 1), _whole_pixels(box, small.shape[0])
    left, top, right, bottom = (float(edge) for edge in box)
    if not (right > left and bottom > top):
        return np.zeros((0, 0), bool), (0, 0)
    rows, row_weights = _bilinear_weights(top, bottom, size[0], small.shape[0])  # (h, M)
    columns, column_weights = _bilinear_weights(left, right, size[1], small.shape[1])  # (w, M)
    pasted = row_weights @ small.astype(np.float32) @ column_weights.T
    return (pasted > 0.5 if how == "torchvision" else pasted >= 0.5), (columns.start, rows.start)


def _whole_pixels(box: np.ndarray, cells: int) -> np.ndarray:
    """(4,) a box enlarged about its center by a cell on each side and cut towards 0, its last pixels included: torchvision.

    In single precision as there, for a last bit may move the cut by a pixel.
    """
    first, last = np.asarray(box, np.float32).reshape(2, 2)
    centre, half = (last + first) * np.float32(0.5), (last - first) * np.float32(0.5) * np.float32((cells + 2) / cells)
    return np.concatenate([np.trunc(centre - half), np.trunc(centre + half) + 1])


def _bilinear_weights(start: float, stop: float, limit: int, cells: int) -> tuple[slice, np.ndarray]:
    """The pixels whose centers lie in start … stop and in 0 … limit, and (pixels, cells) how much each takes of every cell."""
    first = int(np.ceil(np.clip(start - 0.5, 0, limit)))
    last = int(np.floor(np.clip(stop - 0.5, -1, limit - 1))) + 1
    pixels = np.arange(first, max(first, last))
    places = (pixels + 0.5 - start) / (stop - start) * cells - 0.5
    distance = np.abs(places[:, None] - np.arange(cells))
    return slice(first, max(first, last)), np.maximum(1.0 - distance, 0.0).astype(np.float32)
