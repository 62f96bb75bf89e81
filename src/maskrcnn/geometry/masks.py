"""Masks in their four forms: bitmap, run lengths (RLE), polygons, and a small grid stretched over a box.

A bitmap is (H, W), a picture's own pixels. An RLE is COCO's dict `{"size": [h, w], "counts": bytes}`, the form in which masks
travel. A small grid is M×M and lives in the frame of its xyxy box. Coordinates are in pixels, the first pixel covers 0 to 1.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np
from hotcoco import mask as coco_mask

Paste = Literal["exact", "torchvision"]
HALF = 0.5 - 1e-6  # of a pixel, from where on it is mask; what is half mask stays so under rounding


def paste(small: np.ndarray, box: np.ndarray, *, out: np.ndarray, how: Paste = "exact") -> None:
    """Stretches a grid of probabilities over its box, cuts at 0.5 and writes the answer into `out`, in place.

    Only pixels whose centre lies in the box are written. The value at a pixel's centre is the bilinear sample of the grid at
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
    window, (left, top) = paste_window(small, box, out.shape, how=how)
    out[top : top + window.shape[0], left : left + window.shape[1]] = window


def paste_window(
    small: np.ndarray, box: np.ndarray, size: tuple[int, ...], *, how: Paste = "exact"
) -> tuple[np.ndarray, tuple[int, int]]:
    """What `paste` writes into a picture of `size` (height, width): (h, w) bool and its corner (left, top) in the picture.

    Nothing of the picture's size is made, so that objects of pictures too large for a bitmap each can be pasted too.
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
    """(4,) a box enlarged about its centre by a cell on each side and cut towards 0, its last pixels included: torchvision.

    In single precision as there, for a last bit may move the cut by a pixel.
    """
    first, last = np.asarray(box, np.float32).reshape(2, 2)
    centre, half = (last + first) * np.float32(0.5), (last - first) * np.float32(0.5) * np.float32((cells + 2) / cells)
    return np.concatenate([np.trunc(centre - half), np.trunc(centre + half) + 1])


def _bilinear_weights(start: float, stop: float, limit: int, cells: int) -> tuple[slice, np.ndarray]:
    """The pixels whose centres lie in start … stop and in 0 … limit, and (pixels, cells) how much each takes of every cell."""
    first = int(np.ceil(np.clip(start - 0.5, 0, limit)))
    last = int(np.floor(np.clip(stop - 0.5, -1, limit - 1))) + 1
    pixels = np.arange(first, max(first, last))
    places = (pixels + 0.5 - start) / (stop - start) * cells - 0.5
    distance = np.abs(places[:, None] - np.arange(cells))
    return slice(first, max(first, last)), np.maximum(1.0 - distance, 0.0).astype(np.float32)


def mask_to_rle(mask: np.ndarray) -> dict[str, Any]:
    """(H, W) bitmap, nonzero is mask, to RLE."""
    return coco_mask.encode(mask if mask.dtype == bool else mask != 0)


def rle_to_mask(rle: dict[str, Any]) -> np.ndarray:
    """RLE to an (H, W) bool bitmap."""
    return coco_mask.decode(rle).view(bool)


def rle_area(rle: dict[str, Any]) -> int:
    """Number of the mask's pixels."""
    return int(coco_mask.area(rle))


def rle_to_box(rle: dict[str, Any]) -> np.ndarray:
    """(4,) float32 xyxy, the smallest box around the mask; zeros where the mask is empty."""
    x, y, width, height = coco_mask.to_bbox(rle)
    return np.array([x, y, x + width, y + height], np.float32)


def mask_to_box(mask: np.ndarray) -> np.ndarray:
    """(4,) float32 xyxy, the smallest box around a bitmap's nonzero pixels; zeros where there are none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.zeros(4, np.float32)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def flip_rle(rle: dict[str, Any]) -> dict[str, Any]:
    """The mask seen in a mirror: left becomes right."""
    return mask_to_rle(rle_to_mask(rle)[:, ::-1])


def rle_to_json(rle: dict[str, Any]) -> dict[str, Any]:
    """RLE as JSON can hold it: `counts` as str."""
    height, width = rle["size"]
    return {"size": [int(height), int(width)], "counts": rle["counts"].decode("ascii")}


def rle_from_json(segmentation: Any, size: tuple[int, int]) -> dict[str, Any]:
    """The mask of a COCO annotation as RLE.

    Args:
        segmentation: polygons (list of flat x, y lists), or an RLE dict whose `counts` are numbers or COCO's compressed string.
        size: (height, width) of the picture.

    Raises:
        ValueError: for anything else: what came and what was wanted.
    """
    if isinstance(segmentation, list):
        return polygons_to_rle(segmentation, size)
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= set(segmentation):
        raise ValueError(
            f"A segmentation is a list of polygons or an RLE with size and counts; received {reprlib.repr(segmentation)}."
        )
    height, width = size
    if segmentation["size"] != [height, width]:
        raise ValueError(f"An RLE has its picture's size [{height}, {width}]; received {reprlib.repr(segmentation['size'])}.")
    counts = segmentation["counts"]
    if isinstance(counts, list):
        if not all(type(count) is int and 0 <= count <= height * width for count in counts):
            raise ValueError(f"RLE counts are whole numbers from 0 to {height * width}; received {reprlib.repr(counts)}.")
    elif not isinstance(counts, (str, bytes)):
        raise ValueError(f"RLE counts are a list of numbers or a string; received {reprlib.repr(counts)}.")
    try:
        rle = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    except (ValueError, TypeError) as error:
        raise ValueError(f"RLE counts cannot be read: {error}.") from error
    if _fits(counts, height * width - 1):
        raise ValueError(f"RLE counts end before the picture's {height * width} pixels do.")
    return rle


def _fits(counts: Any, num_pixels: int) -> bool:
    """Whether the runs find room in so many pixels; the library refuses those that do not."""
    try:
        coco_mask.area({"size": [1, num_pixels], "counts": counts})
    except ValueError:
        return False
    return True


def polygons_to_rle(polygons: Sequence[Any], size: tuple[int, int]) -> dict[str, Any]:
    """The union of polygons as RLE, by COCO's rules.

    Args:
        polygons: each a flat sequence x1, y1, x2, y2, … or a (P, 2) array; pixels, may reach outside of the picture.
        size: (height, width) of the picture.

    Raises:
        ValueError: for no polygon, a polygon of fewer than 3 points, or numbers that are no coordinates.
    """
    height, width = size
    if not len(polygons):
        raise ValueError("A segmentation needs at least one polygon; received none.")
    parts = []
    for polygon in polygons:
        try:
            points = np.asarray(polygon, np.float64).ravel()
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"A polygon is a flat list of x, y numbers; received {reprlib.repr(polygon)}.") from None
        if len(points) < 6 or len(points) % 2:
            raise ValueError(f"A polygon needs x, y pairs for at least 3 points; received {len(points)} numbers.")
        if not np.isfinite(points).all():
            raise ValueError(f"A polygon's numbers are finite; received {reprlib.repr(polygon)}.")
        parts.append(coco_mask.fr_poly(points.tolist(), height, width))
    return coco_mask.merge(parts)


def mask_to_polygons(mask: np.ndarray) -> list[np.ndarray]:
    """The outer outline of each 8-connected part of a bitmap, along the pixels' edges; holes are not given.

    Without holes nothing is lost: `polygons_to_rle` gives the same mask again. OpenCV's contours run through the centres of the
    border pixels and so lose half a pixel on each side; on a bitmap of doubled size they lie a quarter of a pixel beside the
    true edge, and rounding puts them on it.

    Args:
        mask: (H, W), nonzero is mask.

    Returns:
        (P, 2) float32 x, y for each part; pixels.
    """
    left, top, right, bottom = mask_to_box(mask).astype(int)
    doubled = (mask[top:bottom, left:right] != 0).astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    if not doubled.size:
        return []
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outlines = []
    for contour in contours:
        corners = (contour[:, 0] + 1) // 2  # doubled pixel 2x is x + 1/4 and becomes x; 2x + 1 is x + 3/4 and becomes x + 1
        corners = corners[np.any(corners != np.roll(corners, 1, axis=0), axis=1)]
        outlines.append((corners + np.array([left, top])).astype(np.float32))
    return outlines


def crop_mask(rle: dict[str, Any], box: np.ndarray, side: int) -> np.ndarray:
    """The mask inside its box on a grid of side × side: 1 where at least half of the cell's area is mask.

    Cell k covers the part k / side to (k + 1) / side of the box. Areas are exact, whether the box is larger than the grid or
    smaller; what lies outside of the picture is not mask.

    Args:
        rle: the mask, of the whole picture.
        box: (4,) xyxy, pixels of that picture; without area the answer is zeros.

    Returns:
        (side, side) uint8, 0 or 1.
    """
    return (coverage(rle, box, (side, side)) >= HALF).astype(np.uint8)


def coverage(rle: dict[str, Any], box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) float64, the part of each cell's area that is mask: `crop_mask` before it decides, on a grid of `size` (h, w)."""
    left, top, right, bottom = (float(edge) for edge in box)
    height, width = rle["size"]
    if not (min(right, width) > max(left, 0.0) and min(bottom, height) > max(top, 0.0)):
        return np.zeros(size)
    rows, row_edges = _cell_edges(top, bottom, height, size[0])
    columns, column_edges = _cell_edges(left, right, width, size[1])
    sums = cv2.integral(coco_mask.decode(rle)[rows, columns])  # (h + 1, w + 1) pixels of the mask above and left of a corner
    sums = _between(_between(sums, row_edges).T, column_edges).T  # at the cells' corners: between pixels, sums grow linearly
    covered = np.diff(np.diff(sums, axis=0), axis=1)  # square pixels
    return covered * (size[0] * size[1] / ((right - left) * (bottom - top)))


def window_rle(window: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> dict[str, Any]:
    """A bitmap (h, w) at `corner` (left, top) of a picture of `size` (height, width) that is empty elsewhere, as RLE.

    The runs are counted in the window and moved to their places, so that the cost is the window's whatever the picture's size.
    """
    height, width = size
    rows, columns = window.shape
    padded = np.zeros((columns, rows + 1), np.uint8)  # a zero behind each column: RLE runs down the columns
    if window.size:
        padded[:, :rows] = cv2.transpose(window.view(np.uint8))
    runs = padded.ravel()
    edges = np.flatnonzero(runs[1:] != runs[:-1]) + 1  # where a run begins, where it ends, and so on
    if len(runs) and runs[0]:
        edges = np.insert(edges, 0, 0)
    column, row = np.divmod(edges, rows + 1)
    edges = (corner[0] + column) * height + corner[1] + row
    apart = edges[1:-1:2] != edges[2::2]  # else a run to a column's foot goes on at the head of the next
    kept = np.ones(len(edges), bool)
    kept[1:-1] = apart.repeat(2)
    counts = np.diff(edges[kept], prepend=0, append=height * width).tolist()
    if len(counts) > 1 and counts[-1] == 0:
        counts.pop()
    if height * width >= 2**32:  # the library counts in 32 bits; its string has no limit
        return {"size": [height, width], "counts": _counts_to_text(counts)}
    return coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)


def rle_window(rle: dict[str, Any], window: tuple[int, int, int, int]) -> tuple[np.ndarray, int]:
    """What lies of a mask in a window (left, top, right, bottom): (h, w) bool, and the whole mask's area in pixels.

    The runs are placed by their numbers, so that the cost is the mask's and the window's whatever the picture's size.
    """
    height = rle["size"][0]
    left, top, right, bottom = window
    edges = np.cumsum(_counts(rle["counts"]))
    first, last = edges[:-1:2], edges[1::2]  # of each run of mask
    first = first[: len(last)]
    steps = np.zeros((right - left, bottom - top + 1), np.int32)  # RLE runs down the columns
    touched = (int(first[0]) // height, (int(last[-1]) - 1) // height + 1) if len(last) else (0, 0)
    for column in range(max(left, touched[0]), min(right, touched[1])):
        begin = column * height
        runs = slice(np.searchsorted(last, begin + top, side="right"), np.searchsorted(first, begin + bottom))
        np.add.at(steps[column - left], first[runs].clip(begin + top) - (begin + top), 1)
        np.add.at(steps[column - left], last[runs].clip(max=begin + bottom) - (begin + top), -1)
    return np.cumsum(steps[:, :-1], axis=1).T > 0, int((last - first).sum())


def _counts_to_text(counts: list[int]) -> bytes:
    """The other way: pycocotools' `rleToString`."""
    text = bytearray()
    for number, count in enumerate(counts):
        value = count - counts[number - 2] if number > 2 else count
        more = True
        while more:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text.append(48 + (bits | 32 * more))
    return bytes(text)


def _counts(text: bytes) -> np.ndarray:
    """The lengths of an RLE's runs, from COCO's string: 5 bits a character, low ones first, from the third on differences.

    pycocotools' `rleFrString`; the library has no door to it that stops before the bitmap.
    """
    counts: list[int] = []
    value = shift = 0
    for byte in text:
        bits = byte - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value = shift = 0
    return np.array(counts, np.int64)


def centre_of(window: np.ndarray, corner: Sequence[float] | np.ndarray) -> tuple[np.ndarray, int]:
    """(2,) x, y of the middle of a bitmap (h, w) at `corner` (left, top), and how many pixels it has; NaN where it has none."""
    columns, rows = window.sum(axis=0), window.sum(axis=1)
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
        (N, M) int64; only windows that touch are compared.
    """
    shared = np.zeros((len(ones), len(others)), np.int64)
    first, second = _edges(ones), _edges(others)  # (N, 4), (M, 4)
    low = np.maximum(first[:, None, :2], second[:, :2])  # (N, M, 2) left, top of what two windows share
    high = np.minimum(first[:, None, 2:], second[:, 2:])
    for n, m in np.argwhere((high > low).all(axis=2)).tolist():
        (left, top), (right, bottom) = low[n, m].tolist(), high[n, m].tolist()
        (x, y), (u, v) = first[n, :2].tolist(), second[m, :2].tolist()
        one = ones[n][0][top - y : bottom - y, left - x : right - x]
        shared[n, m] = np.count_nonzero(one & others[m][0][top - v : bottom - v, left - u : right - u])
    return shared


def _edges(windows: Sequence[tuple[np.ndarray, Any]]) -> np.ndarray:
    """(N, 4) int, left, top, right and bottom of bitmaps with their corners."""
    corners = np.rint([corner for _, corner in windows]).astype(int).reshape(-1, 2)
    return np.concatenate(
        [corners, corners + np.array([window.shape[::-1] for window, _ in windows], int).reshape(-1, 2)], axis=1
    )


def _cell_edges(start: float, stop: float, limit: int, cells: int) -> tuple[slice, np.ndarray]:
    """The pixels in 0 … limit that touch start … stop, and the (cells + 1,) edges of the cells, counted from the first."""
    first, last = (int(np.clip(edge, 0, limit)) for edge in (np.floor(start), np.ceil(stop)))
    return slice(first, last), np.clip(np.linspace(start, stop, cells + 1), first, last) - first


def _between(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Rows (R, …) read at fractional places (P,) in 0 … R - 1, linear between neighbours."""
    below = np.minimum(places.astype(int), max(len(rows) - 2, 0))
    above = np.minimum(below + 1, len(rows) - 1)
    part = (places - below)[:, None]
    return rows[below] * (1 - part) + rows[above] * part
