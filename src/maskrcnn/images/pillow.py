"""The one door to Pillow: formats that hold pixels and nothing that is run, and a JPEG that lacks its end marker.

Pillow recognizes a file by its content, whatever its name. Its reader of EPS starts the program `gs`, so only the formats
listed here are opened.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from maskrcnn import extras
from maskrcnn.images.declared import DEFLATE, JPEG, check_memory, check_stored
from maskrcnn.images.files import check_size
from maskrcnn.images.marks import described

FORMATS = (
    "PNG", "JPEG", "TIFF", "BMP", "GIF", "PPM", "WEBP", "JPEG2000", "AVIF", "DIB", "TGA", "QOI", "SGI", "PCX", "PSD",
)  # fmt: skip
_UNCOMPRESSED = ("BMP", "DIB", "PPM", "TGA", "SGI", "PCX")  # at least where Pillow's decoder is `raw`
_END_OF_JPEG = b"\xff\xd9"  # ITU-T T.81, table B.1
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by the color type of its header


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@contextmanager
def open_pillow(file: BinaryIO) -> Iterator[Image.Image]:
    """Pillow's image of an open file, its header read and held against the file's length.

    A file of a name would be mapped where it is uncompressed gray, in the size that it has when turned; an open one is not.

    Raises:
        UnidentifiedImageError: for other formats.
        ValueError: for a header that declares more than the file can hold; for a known format that is not read.
        ImportError: for HEIC without the extra `heif`.
    """
    file.seek(0)
    start = file.read(64)
    heic = described(start) == "HEIC"
    try:
        opened = _open_heic(file) if heic else Image.open(file, formats=_formats())
    except UnidentifiedImageError:
        kind = described(start)
        if kind is None:
            raise
        raise ValueError(kind) from None
    with opened as image:
        try:
            _check_declared(image, start, file.seek(0, io.SEEK_END))
            yield image
        finally:
            if not file.closed:
                file.seek(0, io.SEEK_END)  # libtiff reads the file by itself: from here on Python knows the place again


def load(image: Image.Image, file: BinaryIO) -> Image.Image:
    """Pillow's image with its pixels decoded; a JPEG whose end marker alone is missing gets it.

    Raises:
        OSError: the file is cut off, or broken.
        ValueError: it does not fit in the free memory.
    """
    bytes_a_value = 4 if image.mode in ("I", "F") else 2 if ";16" in image.mode else 1
    check_memory(image.size[::-1], len(image.getbands()), bytes_a_value)
    try:
        image.load()
    except OSError:
        repaired = _with_end(image, file)
        if repaired is None:
            raise
        return repaired
    return image


def _with_end(image: Image.Image, file: BinaryIO) -> Image.Image | None:
    """A JPEG that is whole but for its end marker; None for any other file.

    A decoder fills what is missing with zeros and goes on. So bytes are put before the marker: where all rows are there it
    skips them, else it takes them for pixels.
    """
    if image.format not in ("JPEG", "MPO"):
        return None
    file.seek(0)
    content = file.read().removesuffix(_END_OF_JPEG[:1])
    whole, *others = (
        np.asarray(Image.open(io.BytesIO(content + filling + _END_OF_JPEG), formats=("JPEG",)))
        for filling in (b"", b"\x55" * 64, b"\xaa" * 64)
    )
    if not all(np.array_equal(whole, other) for other in others):
        return None
    repaired = Image.open(io.BytesIO(content + _END_OF_JPEG), formats=("JPEG",))
    repaired.load()
    return repaired


def _check_declared(image: Image.Image, start: bytes, length: int) -> None:
    height, width = image.size[::-1]
    check_size(height, width)
    if image.format == "PNG":
        row = math.ceil(width * start[24] * _PNG_SAMPLES.get(start[25], 1) / 8) + 1  # bit depth and color type, of IHDR
        check_stored(height * row, length, DEFLATE)
    elif image.format in ("JPEG", "MPO"):
        check_stored(height * width, length, 2 * JPEG)
    elif image.format == "TIFF":
        _check_strips(image, length)
    elif image.format in _UNCOMPRESSED and image.tile[0][0] == "raw":  # type: ignore[attr-defined]
        check_stored(height * width // 8, length, 1)


def _check_strips(image: Image.Image, length: int) -> None:
    """What `check_tiff_page` does, for a page that tifffile may not know."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    if tags.get(ExifTags.Base.Compression, 1) == 1:
        check_stored(math.prod(image.size) * max(tags.get(ExifTags.Base.BitsPerSample, (1,))) // 8, length, 1)


def _open_heic(file: BinaryIO) -> Image.Image:
    """HEIC and HEIF, upright, by libheif. Nothing is registered with Pillow, whose other users would see it."""
    pi_heif = extras.load("pi_heif", extra="heif", why="it is HEIC, the format of iPhones: that needs pi-heif")
    file.seek(0)
    opened = pi_heif.open_heif(file, convert_hdr_to_8bit=True)
    check_size(*opened.size[::-1])
    check_memory(opened.size[::-1], 3, 1)
    image = opened.to_pillow()
    image.format = "HEIF"
    image.info.pop("exif", None)  # its orientation is applied
    return image
