"""TIFF: one image, a stack of planes, or an image so large that it is read in regions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from maskrcnn import extras
from maskrcnn.images.content import Content
from maskrcnn.images.declared import check_tiff
from maskrcnn.images.files import errors_in_one_line
from maskrcnn.images.large import LargeImage
from maskrcnn.images.opened import Display, ImageFile, large_image
from maskrcnn.images.pillow import open_pillow
from maskrcnn.images.plain import PlainImage, deep_colors, values_of
from maskrcnn.images.stacks import TiffStack, image_series
from maskrcnn.images.tiff import (
    CMYK_AND_LAB,
    PHOTOMETRIC,
    PLANAR_CONFIGURATION,
    TIFFFILE_UNPACKS,
    may_name_channels,
    names_channels,
    orientation_of_page,
    scientific_values,
)
from maskrcnn.structures import Source

SMALL = 1 << 24  # pixels up to which a file is read whole: 48 MB of colors
_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF 6.0, and BigTIFF
_PLAIN_TIFF = (1, 2, 6)  # photometric: black is 0, RGB, YCbCr (TIFF 6.0); the others need more than their pixels
_OPENCV_UNPACKS = (1, 5, 8, 32773, 32946)  # nothing, LZW, deflate, PackBits, deflate


def recognise(content: Content) -> bool:
    """Whether a file is TIFF, by its first bytes."""
    return content.start.startswith(_MARKS)


def read(content: Content, display: Display) -> ImageFile:
    """The file, open in tifffile; what tifffile does not know is left to Pillow, which knows some or says what is wrong."""
    import tifffile  # slow to import, and few images are TIFF

    content.file.seek(0)
    with errors_in_one_line(content.name):
        try:
            file = tifffile.TiffFile(content.file, name=content.name)
        except tifffile.TiffFileError:
            return PlainImage(content, display)
        check_tiff(file)
    return TiffImage(content, display, file)


class TiffImage(ImageFile):
    """A TIFF file."""

    def __init__(self, content: Content, display: Display, file: Any) -> None:
        super().__init__(content, display)
        self._file = file
        self.on_close.callback(file.close)
        with errors_in_one_line(self.name):
            self._stack = TiffStack(file)
            self._page = file.pages[0]
        stack = self._stack
        height, width = stack.size
        is_turned = not stack.counts and orientation_of_page(self._page) >= 5
        self.size = (width, height) if is_turned else (height, width)
        largest = stack.largest if stack.counts else self.size
        self.source = Source(self.name, largest, stack.counts, stack.axes, stack.pixel_size, stack.spacing)

    def first(self) -> np.ndarray:
        channels = self.display.channels
        with errors_in_one_line(self.name):
            try:
                with open_pillow(self.content.file) as image:
                    if not (image.format == "TIFF" and may_name_channels(image) and names_channels(self._file, channels)):
                        return values_of(image, self.content, channels, self._deep_colors)
            except UnidentifiedImageError:
                if not names_channels(self._file, channels):
                    return scientific_values(self._file)
            return self._stack.read(1)

    def values(self, number: int) -> np.ndarray:
        # An image alone is left to `first`, which knows more kinds of compression.
        with errors_in_one_line(self.name):
            return self._stack.read(number) if self._stack.counts else self.first()

    def regions(self) -> LargeImage:
        opened = self._in_regions() if math.prod(self.size) > SMALL else None
        return self._decoded_regions() if opened is None else opened

    def _deep_colors(self, image: Image.Image) -> np.ndarray:
        """(H, W, C) of more than 8 bits."""
        tags = image.tag_v2  # type: ignore[attr-defined]
        # OpenCV mixes up channels that lie one behind the other, and knows no other colors and few kinds of compression.
        mixed_up = tags.get(PLANAR_CONFIGURATION) == 2 or tags.get(PHOTOMETRIC) in CMYK_AND_LAB
        if mixed_up or tags.get(ExifTags.Base.Compression, 1) not in _OPENCV_UNPACKS:
            return scientific_values(self._file)
        return deep_colors(self.content, self.display.channels)

    def _in_regions(self) -> LargeImage | None:
        """The image in regions; None where its pixels alone are not it (palettes, white at 0, turned), or in one piece."""
        page = self._page
        with errors_in_one_line(self.name):
            series, *others = image_series(self._file)
            if others:
                raise ValueError("it holds several images; wanted is one: maskrcnn.read_planes gives them one by one")
            turned = orientation_of_page(page) != 1
            if page.photometric not in _PLAIN_TIFF or page.bitspersample not in (8, 16, 32, 64) or turned:
                return None
            if page.is_memmappable and len(series.pages) == 1 and self.content.path is not None:
                dtype = np.dtype(self._file.byteorder + page.dtype.char)
                mapped = np.memmap(self.content.file, dtype, "r", page.dataoffsets[0], page.shape)
                return large_image(mapped, page.axes, self.name, self.display)
        if page.compression not in TIFFFILE_UNPACKS:
            extras.load("imagecodecs", extra="large", why=f"{self.name} is compressed in a way that needs imagecodecs")
        zarr = extras.load("zarr", extra="large", why=f"Reading regions of {self.name} needs zarr")
        with errors_in_one_line(self.name):
            array = zarr.open(series.aszarr(level=0), mode="r")
        chunks = dict(zip(series.axes, array.chunks))
        if chunks["Y"] >= page.imagelength and chunks["X"] >= page.imagewidth:
            return None
        return large_image(array, series.axes, self.name, self.display)
