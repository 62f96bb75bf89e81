"""What Pillow does not see in a TIFF: sample formats, channels, photometric interpretation, compressions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from maskrcnn import extras
from maskrcnn.images.declared import check_memory

_SAMPLES_PER_PIXEL = 277  # TIFF 6.0
PLANAR_CONFIGURATION = 284  # TIFF 6.0: 1 is pixel by pixel, 2 channel by channel
TIFFFILE_UNPACKS = (1, 8, 32773, 32946, 34925)  # TIFF without a further library: nothing, deflate, PackBits, deflate, LZMA
_SAMPLE_FORMAT = 339  # TIFF 6.0, with …
_UNSIGNED, SIGNED = 1, 2  # … two of its values
_MISREAD: dict[tuple[str, int, int], type] = {("uint8", 8, SIGNED): np.int8, ("int32", 32, _UNSIGNED): np.uint32}  # by Pillow
PHOTOMETRIC = 262  # TIFF 6.0, with …
_WHITE_AT_ZERO = 0  # … its MINISWHITE …
CMYK_AND_LAB = (5, 8, 9, 10)  # … and others


def may_name_channels(image: Any) -> bool:
    """Whether a TIFF is worth a second look: all but those of one page that is gray or RGB."""
    return image.n_frames > 1 or image.tag_v2.get(_SAMPLES_PER_PIXEL, 1) not in (1, 3)


def names_channels(file: Any, channels: int | None) -> bool:
    """Whether a TIFF, open in tifffile, has channels that its first page alone, seen as gray or RGB, does not show."""
    series, samples = file.series[0], file.pages[0].samplesperpixel
    found = math.prod(length for axis, length in zip(series.axes, series.shape) if axis in "CS")
    return found != samples or samples not in (1, 3, 4) or channels == samples == 4


def sample_format(tiff: Any) -> tuple[int, int]:
    """How many bits a sample has in a TIFF, and its SampleFormat."""
    tags = tiff.tag_v2
    return max(tags.get(ExifTags.Base.BitsPerSample, (1,))), tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0]


def in_own_depth(image: Image.Image) -> np.ndarray:
    """Pillow's values, but of a TIFF's int8 and uint32, which it reads as uint8 and int32."""
    values = np.asarray(image)
    kind = _MISREAD.get((str(values.dtype), *sample_format(image))) if image.format == "TIFF" else None
    return values if kind is None else values.view(kind)


def own_values(image: Any) -> np.ndarray:
    """Pillow's image in the file's own depth, with black at 0."""
    values = in_own_depth(image)
    if image.format == "TIFF" and sample_format(image)[0] > 8:  # up to 8 bits Pillow turns over by itself
        return _black_at_zero(values, image.tag_v2.get(PHOTOMETRIC), sample_format(image)[0])
    return values


def _black_at_zero(values: np.ndarray, photometric: int | None, bits: int) -> np.ndarray:
    """A TIFF's values, turned over where 0 is white; of fractions nobody says what black would be."""
    if photometric != _WHITE_AT_ZERO or values.dtype.kind not in "bui":
        return values
    return np.array(2**bits - 1, values.dtype) - values if values.dtype.kind == "u" else ~values


def scientific_values(file: Any) -> np.ndarray:
    """The first page of a TIFF that Pillow does not know, 64 bits or colors as floats, say.

    Args:
        file: open in tifffile.

    Returns:
        (H, W) or (H, W, C), upright, in the file's own depth.

    Raises:
        ValueError: for other axes than rows, columns and channels; for colors, or a compression, that are not read.
    """
    page = file.pages[0]
    if page.axes not in ("YX", "YXS", "SYX"):
        raise ValueError(f"an image has rows, columns and channels; received an array of shape {page.shape} ({page.axes})")
    if page.samplesperpixel > 2 and page.photometric in CMYK_AND_LAB:
        raise ValueError(f"its colors are {page.photometric.name}, which is read of 8 bits only; save it as RGB")
    check_memory((page.imagelength, page.imagewidth), page.samplesperpixel, page.dtype.itemsize)
    if page.compression not in TIFFFILE_UNPACKS:
        name = getattr(page.compression, "name", page.compression)
        extras.load("imagecodecs", extra="large", why=f"its compression, {name}, needs imagecodecs")
    values = as_brightness(page.asarray(), page)
    values = turn_upright(np.moveaxis(values, 0, 2) if page.axes == "SYX" else values, orientation_of_page(page))
    return values if values.ndim == 2 else values[:, :, :3]  # a fourth is transparency


def orientation_of_page(page: Any) -> int:
    """EXIF's orientation of a page of tifffile, 1 to 8."""
    return page.tags.valueof(ExifTags.Base.Orientation, default=1)


def as_brightness(values: np.ndarray, page: Any) -> np.ndarray:
    """What tifffile decoded of a page, with black at 0."""
    return _black_at_zero(values, page.keyframe.tags.valueof(PHOTOMETRIC), page.keyframe.bitspersample)


def turn_upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes EXIF's orientation: from 5 on rows and columns are swapped, the rest are flips."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values
