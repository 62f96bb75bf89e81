"""Shapes of annotation tools drawn as masks: polygons with holes, boxes, bitmaps at a corner, and parts put together."""

from __future__ import annotations

import base64
import binascii
import io
import reprlib
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from hotcoco import mask as coco_mask
from PIL import Image

from maskrcnn.geometry.rle import cutout_rle, polygons_to_rle, rle_to_mask
from maskrcnn.images.pillow import open_pillow

Size = tuple[int, int]  # height, width of an image in pixels
Rle = dict[str, Any]  # COCO's {"size": [h, w], "counts": bytes}

FARTHEST = 1e6  # pixels; a polygon's outline is walked, so a number without sense would take the memory
MAX_PIXELS = 2**28  # of a bitmap that an annotation brings along


def as_points(values: Any, what: str = "a polygon") -> np.ndarray:
    """(P, 2) float64 x, y of a polygon as JSON has it: a list of pairs, or a flat list of numbers.

    Raises:
        ValueError: for fewer than three points, and for what is no finite number of a size that an image can have.
    """
    try:
        points = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{what} is a list of x, y numbers; received {reprlib.repr(values)}") from None
    if points.ndim > 2 or (points.ndim == 2 and points.shape[1] != 2) or points.size % 2:
        raise ValueError(f"{what} is a list of x, y pairs; received {reprlib.repr(values)}")
    points = points.reshape(-1, 2)
    if len(points) < 3:
        raise ValueError(f"{what} has at least 3 points; received {len(points)}")
    if not (np.abs(points) < FARTHEST).all():
        raise ValueError(f"{what} has finite numbers under {FARTHEST:.0f}; received {reprlib.repr(values)}")
    return points


def draw_polygon(rings: Sequence[np.ndarray], size: Size) -> Rle:
    """A polygon as RLE: its outer ring without what lies in its holes.

    Args:
        rings: the outer one, then the holes, each (P, 2) x, y in pixels; they may reach out of the image.
        size: (height, width) of the image.
    """
    outer = polygons_to_rle([rings[0]], size)
    if len(rings) == 1:
        return outer
    return without(outer, polygons_to_rle(list(rings[1:]), size))


def draw_even_odd(rings: Sequence[np.ndarray], size: Size) -> Rle:
    """What lies in an odd number of rings, each (P, 2) x, y in pixels, as RLE: a ring in another is its hole."""
    rle = polygons_to_rle([rings[0]], size)
    for ring in rings[1:]:
        rle = coco_mask.encode(rle_to_mask(rle) ^ rle_to_mask(polygons_to_rle([ring], size)))
    return rle


def draw_box(box: Sequence[float] | np.ndarray, size: Size) -> Rle:
    """The pixels of a box (left, top, right, bottom) as RLE."""
    left, top, right, bottom = (float(edge) for edge in box)
    return polygons_to_rle([np.array([[left, top], [right, top], [right, bottom], [left, bottom]])], size)


def draw_bitmap(bitmap: np.ndarray, corner: tuple[int, int], size: Size) -> Rle:
    """A bitmap (h, w) whose corner (left, top) lies anywhere, cut to the image, as RLE."""
    left, top = corner
    rows = slice(max(-top, 0), max(min(bitmap.shape[0], size[0] - top), 0))
    columns = slice(max(-left, 0), max(min(bitmap.shape[1], size[1] - left), 0))
    inside = np.ascontiguousarray(bitmap[rows, columns] != 0)
    if not inside.size:
        return empty(size)
    return cutout_rle(inside, (left + columns.start, top + rows.start), size)


def without(rle: Rle, hole: Rle) -> Rle:
    """What lies in one mask and not in the other."""
    return coco_mask.encode(rle_to_mask(rle) & ~rle_to_mask(hole))


def merged(parts: Sequence[Rle]) -> Rle:
    """The union of masks of one image."""
    return parts[0] if len(parts) == 1 else coco_mask.merge(list(parts))


def empty(size: Size) -> Rle:
    """The mask without a pixel."""
    return coco_mask.encode(np.zeros(size, np.uint8))


def bitmap_of(text: Any) -> np.ndarray:
    """(h, w) bool of a mask that JSON carries as base64 of a PNG, which may be compressed once more (Supervisely).

    An image with transparency shows the mask there, as Supervisely's do; any other wherever it is not 0.

    Raises:
        ValueError: for anything else, and for a bitmap of more than `MAX_PIXELS`.
    """
    if not isinstance(text, str):
        raise ValueError(f"a mask is the base64 text of a PNG; received {reprlib.repr(text)}")
    try:
        content = base64.b64decode(text, validate=True)
        if not content.startswith(b"\x89PNG"):
            content = zlib.decompressobj().decompress(content, 4 * MAX_PIXELS)
        if not content.startswith(b"\x89PNG"):
            raise ValueError("it is no PNG")
        with open_pillow(io.BytesIO(content)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError("it is too large")
            values: np.ndarray = np.asarray(image)
    except (binascii.Error, zlib.error, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"a mask is the base64 text of a PNG; it cannot be read: {error}") from None
    if values.ndim == 3:
        values = values[..., -1] if values.shape[2] in (2, 4) else values.max(axis=2)
    return values != 0


def base64_of(bitmap: np.ndarray) -> str:
    """A bitmap (h, w) as base64 of a PNG of 0 and 255."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(bitmap, bool)).save(file, "PNG", optimize=False)
    return base64.b64encode(file.getvalue()).decode("ascii")


def draw_ellipse(centre: tuple[float, float], radii: tuple[float, float], turn: float, size: Size) -> Rle:
    """An ellipse as RLE.

    Args:
        centre: x, y in pixels.
        radii: along and across the axis that is turned by `turn` radians from x to y.
    """
    return polygons_to_rle([ellipse_points(centre, radii, turn)], size)


CORNERS = 360  # of the polygon that stands for a circle or an ellipse: 0.2 pixels from one of radius 5000


def ellipse_points(centre: tuple[float, float], radii: tuple[float, float], turn: float) -> np.ndarray:
    """(CORNERS, 2) x, y on an ellipse, see `draw_ellipse`."""
    if not (np.abs([*centre, *radii]) < FARTHEST).all():
        raise ValueError(f"an ellipse has numbers under {FARTHEST:.0f}; received center {centre}, radii {radii}")
    angles = 2 * np.pi * np.arange(CORNERS) / CORNERS
    along, across = radii[0] * np.cos(angles), radii[1] * np.sin(angles)
    x = centre[0] + along * np.cos(turn) - across * np.sin(turn)
    y = centre[1] + along * np.sin(turn) + across * np.cos(turn)
    return np.stack([x, y], axis=1)
