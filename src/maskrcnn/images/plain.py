"""PNG, JPEG and what else Pillow reads, in their own depth and channels."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from PIL import ExifTags, Image

from maskrcnn.images.content import Content
from maskrcnn.images.files import errors_in_one_line
from maskrcnn.images.large import LargeImage
from maskrcnn.images.opened import Display, ImageFile
from maskrcnn.images.pillow import load, open_pillow
from maskrcnn.images.tiff import SIGNED, own_values, sample_format, turn_upright
from maskrcnn.structures import Source


def recognise(content: Content) -> bool:
    """Every file that no other format knows: Pillow says what is wrong with those that are none."""
    return True


def read(content: Content, display: Display) -> ImageFile:
    """The image, open: its header is read, its pixels are not."""
    return PlainImage(content, display)


class PlainImage(ImageFile):
    """An image of Pillow's."""

    def __init__(self, content: Content, display: Display) -> None:
        super().__init__(content, display)
        with errors_in_one_line(self.name):
            self._image = self.on_close.enter_context(open_pillow(content.file))
            width, height = self._image.size
            self.size = (width, height) if orientation_of(self._image) >= 5 else (height, width)
            self.source = Source(self.name, self.size)

    def first(self) -> np.ndarray:
        with errors_in_one_line(self.name):
            if self.display.least is not None and self._image.format == "JPEG":
                height, width = self.display.least
                self._image.draft(None, (height, width) if self.size != self._image.size[::-1] else (width, height))
            return values_of(self._image, self.content, self.display.channels, self._deep_colors)

    def values(self, number: int) -> np.ndarray:
        return self.first()

    def regions(self) -> LargeImage:
        return self._decoded_regions()

    def _deep_colors(self, image: Image.Image) -> np.ndarray:
        return deep_colors(self.content, self.display.channels)


def values_of(
    image: Image.Image, content: Content, channels: int | None, read_deep_colors: Callable[[Image.Image], np.ndarray]
) -> np.ndarray:
    """(H, W) or (H, W, C) of Pillow's image: upright, in the file's own depth.

    Args:
        image: of `content`, not decoded.
        content: the file.
        channels: how many are wanted, to tell a fourth sample that counts from transparency; None where it does not matter.
        read_deep_colors: gives (H, W, C) of what has more than 8 bits in several channels, which Pillow cuts to 8.
    """
    orientation, is_deep = orientation_of(image), _is_deep(image)
    decoded = load(image, content.file)  # raises where the file is cut off, which OpenCV passes over
    if decoded is not image:
        content.repaired = "its end marker alone is missing; all of its pixels are there"
    if not is_deep:
        values = byte_values(decoded, channels)
    elif len(image.getbands()) == 1:
        values = own_values(decoded)
    else:
        values = read_deep_colors(image)
    return turn_upright(values, orientation)


def byte_values(image: Image.Image, channels: int | None) -> np.ndarray:
    """Pillow's image of 8 bits as RGB; gray and transparency as they are where `channels` wants them."""
    alpha_counts = image.mode in ("LA", "RGBA") and len(image.getbands()) == channels
    as_it_is = alpha_counts or (image.mode == "L" and channels != 3)
    return np.asarray(image if as_it_is else image.convert("RGB"))


def deep_colors(content: Content, channels: int | None) -> np.ndarray:
    """(H, W, 3) RGB of 16 bits by OpenCV; (H, W, 4) where there are 4 and as many are wanted."""
    values = cv2.imdecode(np.frombuffer(content.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 3:
        raise ValueError("its colors of 16 bits cannot be decoded")
    return values[:, :, (2, 1, 0, 3) if channels == values.shape[2] == 4 else (2, 1, 0)]  # from BGR or BGRA


def _is_deep(image: Image.Image) -> bool:
    """Whether a channel is more than a byte in the file, or has a sign; Pillow itself cuts colors of 16 bits to 8."""
    if image.format == "TIFF":
        bits, kind = sample_format(image)
        return bits > 8 or kind == SIGNED
    return image.mode in ("I", "F") or image.mode.startswith("I;16") or ";16" in str(getattr(image, "tile", ""))


def orientation_of(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8, where it is still to be applied.

    Asked of the base class because PNG's own `getexif` decodes all pixels first, to look behind them. TIFF is turned by Pillow.
    """
    return 1 if image.format == "TIFF" else Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
