"""COCO run-length encodings: to and from masks and polygons, areas, boxes, regions."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from hotcoco import mask as coco_mask


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


def mask_iou(ones: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]], crowd: Sequence[bool] = ()) -> np.ndarray:
    """(N, M) float64 IoU of masks, N and M RLEs; with those of `others` that are crowds, the part of one that lies in it."""
    flags = [bool(flag) for flag in crowd] or [False] * len(others)
    return np.asarray(coco_mask.iou(list(ones), list(others), flags), np.float64).reshape(len(ones), len(others))


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
        size: (height, width) of the image.

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
        raise ValueError(f"An RLE has its image's size [{height}, {width}]; received {reprlib.repr(segmentation['size'])}.")
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
        raise ValueError(f"RLE counts end before the image's {height * width} pixels do.")
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
        polygons: each a flat sequence x1, y1, x2, y2, … or a (P, 2) array; pixels, may reach outside of the image.
        size: (height, width) of the image.

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
    return parts[0] if len(parts) == 1 else coco_mask.merge(parts)


def cutout_rle(cutout: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> dict[str, Any]:
    """A bitmap (h, w) at `corner` (left, top) of an image of `size` (height, width) that is empty elsewhere, as RLE.

    The runs are counted in the cutout and moved to their places, so that the cost is the cutout's whatever the image's size.
    """
    height, width = size
    rows, columns = cutout.shape
    padded = np.zeros((columns, rows + 1), np.uint8)  # a zero behind each column: RLE runs down the columns
    if cutout.size:
        padded[:, :rows] = cv2.transpose(cutout.view(np.uint8))
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


def rle_region(rle: dict[str, Any], region: tuple[int, int, int, int]) -> tuple[np.ndarray, int]:
    """What lies of a mask in a region (left, top, right, bottom): (h, w) bool, and the whole mask's area in pixels.

    The runs are placed by their numbers, so that the cost is the mask's and the region's whatever the image's size.
    """
    height = rle["size"][0]
    left, top, right, bottom = region
    edges = np.cumsum(_counts(rle["counts"]))
    first, last = edges[:-1:2], edges[1::2]  # of each run of mask
    first = first[: len(last)]
    steps = np.zeros((right - left, bottom - top + 1), np.int32)  # RLE runs down the columns
    touching = slice(np.searchsorted(last, left * height, side="right"), np.searchsorted(first, right * height))
    begin, end = first[touching].clip(left * height), last[touching].clip(max=right * height)
    columns = (end - 1) // height - begin // height + 1  # that each run reaches over: one, for most
    run = np.repeat(np.arange(len(begin)), columns)
    column = begin[run] // height + np.arange(len(run)) - np.repeat(np.cumsum(columns) - columns, columns)
    for edge, step in ((begin, 1), (end, -1)):
        row = (edge[run] - column * height).clip(top, bottom) - top
        np.add.at(steps, (column - left, row), step)
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
