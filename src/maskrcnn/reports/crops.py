"""Errors as small images: the region around one, with the masks that explain it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from maskrcnn.geometry.rle import rle_to_mask

GREEN, ORANGE, WHITE = (52, 211, 120), (255, 122, 24), (235, 235, 235)  # ground truth, results, all others
_OPACITY = 0.25  # of a mask; its outline is opaque
_CONTEXT = 0.6  # of the box's longer side, on each side of it
_SMALLEST = 64  # pixels of the image that a region shows at least


class Outline(NamedTuple):
    """One mask to be drawn."""

    rle: dict[str, Any]
    colour: tuple[int, int, int]
    filled: bool = False


def crop(image: np.ndarray, box: Sequence[float], outlines: Iterable[Outline], *, side: int = 320) -> np.ndarray:
    """The region around a box, enlarged or reduced so that its longer side has `side` pixels, with masks drawn in.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: (4,) xyxy, pixels of the image.
        outlines: masks of the whole image, the last on top.
        side: pixels of the answer's longer side.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    left, top, right, bottom = region_around(box, (image.shape[0], image.shape[1]))
    scale = side / max(right - left, bottom - top)
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = cv2.resize(np.ascontiguousarray(image[top:bottom, left:right]), size, interpolation=way)
    for outline in outlines:
        mask = rle_to_mask(outline.rle)[top:bottom, left:right]
        if not mask.any():
            continue
        shown = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        if outline.filled:
            inside = shown > 0
            canvas[inside] = (canvas[inside] * (1 - _OPACITY) + np.array(outline.colour) * _OPACITY).astype(np.uint8)
        contours, _ = cv2.findContours(shown, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(canvas, contours, -1, (0, 0, 0), 4 if outline.filled else 2, cv2.LINE_AA)  # seen on any ground
        cv2.drawContours(canvas, contours, -1, outline.colour, 2 if outline.filled else 1, cv2.LINE_AA)
    return canvas


def region_around(box: Sequence[float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the square around a box with some context, as far as the image (height, width) reaches."""
    left, top, right, bottom = (float(edge) for edge in box)
    half = max(max(right - left, bottom - top) * (0.5 + _CONTEXT), _SMALLEST / 2)
    x, y = (left + right) / 2, (top + bottom) / 2
    first = max(0, int(x - half)), max(0, int(y - half))
    last = min(size[1], int(np.ceil(x + half))), min(size[0], int(np.ceil(y + half)))
    return first[0], first[1], max(last[0], first[0] + 1), max(last[1], first[1] + 1)
