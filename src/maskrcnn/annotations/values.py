"""Images whose values are numbers of objects or classes: read as they are, and taken apart into masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from maskrcnn.annotations.outlines import Rle, Size
from maskrcnn.geometry.rle import cutout_rle
from maskrcnn.images.images import read_label_map, read_values

SPECK = 0.05  # of a value's largest part: smaller ones are slips of the pen, not objects of their own
MANY_COLOURS = 0.05  # of the pixels: so many colors code no objects
ASKED = 32  # label maps are looked at to see what their values are, spread over all of them


class Part(NamedTuple):
    """What has one value in an image of values.

    Attributes:
        value: the number.
        cutout: (h, w) bool, cut to its box.
        corner: (left, top) of the cutout in the image.
    """

    value: int
    cutout: np.ndarray
    corner: tuple[int, int]

    def rle(self, size: Size) -> Rle:
        return cutout_rle(np.ascontiguousarray(self.cutout), self.corner, size)


def read_mask_values(path: Path, size: Size | None = None) -> np.ndarray:
    """(H, W) int64: palette indices and numbers of 8 to 32 bits as they are, colors as 65536 R + 256 G + B.

    Args:
        size: (height, width) that it is to have: that of its image.

    Raises:
        ValueError: for a file that cannot be read, for fractions, and for another size.
    """
    try:
        values = read_label_map(path)
    except ValueError as error:
        if "one value a pixel" not in str(error):
            raise
        colours = read_values(path).astype(np.int64)  # (H, W, 3)
        values = (colours[..., 0] << 16) | (colours[..., 1] << 8) | colours[..., 2]
        num_colours = len(np.unique(values))
        if num_colours > max(MANY_COLOURS * values.size, 16):
            raise ValueError(
                f"{path} has {num_colours} colors, as a photograph has, or a mask that was saved as JPEG"
            ) from None
    if size is not None and values.shape != size:
        told = "{}×{}".format(*values.shape)
        raise ValueError(f"{path} has height × width {told}, its image {size[0]}×{size[1]}.")
    return values


def parts_of(values: np.ndarray, background: Sequence[int] = (0,)) -> Iterator[Part]:
    """What each value but the background's covers, ascending by value.

    Pixels are sorted by value once: comparing the whole image with each of 400 values would read it 400 times.
    """
    flat = values.ravel()
    places = np.flatnonzero(~np.isin(flat, background) if len(background) != 1 else flat != background[0])
    if not len(places):
        return
    places = places[np.argsort(flat[places], kind="stable")]
    starts = np.flatnonzero(np.diff(flat[places])) + 1
    for pixels in np.split(places, starts):
        rows, columns = np.divmod(pixels, values.shape[1])
        top, left = int(rows[0]), int(columns.min())
        cutout = np.zeros((int(rows[-1]) - top + 1, int(columns.max()) - left + 1), bool)
        cutout[rows - top, columns - left] = True
        yield Part(int(flat[pixels[0]]), cutout, (left, top))


def components(part: Part) -> Iterator[Part]:
    """The pieces of a part that do not touch, not even at corners, each cut to its box."""
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(part.cutout.view(np.uint8), connectivity=8)
    for number in range(1, count):
        left, top, width, height, _ = stats[number].tolist()
        cutout = numbers[top : top + height, left : left + width] == number
        yield Part(part.value, cutout, (part.corner[0] + left, part.corner[1] + top))


def num_components(part: Part) -> int:
    """How many pieces a part has that are no specks beside its largest."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(part.cutout.view(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return int((areas >= SPECK * areas.max()).sum())


def question(files: Sequence[Path], background: Sequence[int] = (0,)) -> str | None:
    """Why the values of label maps do not look like numbers of objects, for a person to decide; None where they do.

    Black and white masks have one value alone, in several pieces; maps of classes the same few values in every image, most of
    them in several pieces. An object of several parts is rare, and values that number objects begin anew in each image.
    """
    step = max(len(files) // ASKED, 1)
    values_of: list[set[int]] = []
    num_parts = num_torn = num_pieces = 0
    for file in files[::step][:ASKED]:
        try:
            values = read_mask_values(file)
        except ValueError:
            continue  # reported when it is read in earnest
        own = set()
        for part in parts_of(values, background):
            pieces = num_components(part)
            own.add(part.value)
            num_parts += 1
            num_pieces += pieces
            num_torn += pieces > 1
        values_of += [own] if own else []
    met = set().union(*values_of)
    if not num_torn:
        return None
    if len(met) == 1:
        return f"every mask holds the one value {met.pop()}, in {num_pieces} separate pieces: black and white masks?"
    few = len(met) <= 256 and all(len(own) >= 0.3 * len(met) or len(own) <= 3 for own in values_of)
    if num_torn > num_parts / 2 and few and num_pieces > 1.5 * num_parts:
        return (
            f"the masks share {len(met)} values, most of them in several separate pieces ({num_pieces} in all): "
            "numbers of classes?"
        )
    return None
