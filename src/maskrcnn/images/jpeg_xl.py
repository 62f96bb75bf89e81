"""JPEG XL, decoded by imagecodecs; its size is read here, so that it is known before anything is decoded.

The size and the orientation stand in the first bits of the codestream (ISO/IEC 18181-1, annexes A and D), which may lie in
boxes (ISO/IEC 18181-2).
"""

from __future__ import annotations

import numpy as np

from maskrcnn import extras
from maskrcnn.images.content import Content
from maskrcnn.images.declared import check_memory
from maskrcnn.images.files import check_size, errors_in_one_line
from maskrcnn.images.large import LargeImage
from maskrcnn.images.opened import Display, ImageFile
from maskrcnn.structures import Source

_CODESTREAM = b"\xff\x0a"
_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_RATIOS = (None, (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height
_MAX_BOXES = 1000  # before the codestream
_HEADER = 32  # bytes that hold the size and the orientation


def recognise(content: Content) -> bool:
    """Whether a file is JPEG XL, by its first bytes."""
    return content.start.startswith((_CODESTREAM, _CONTAINER))


def read(content: Content, display: Display) -> ImageFile:
    """The image, open: its size is read, its pixels are not.

    Raises:
        ImportError: imagecodecs is not installed.
    """
    return JpegXl(content, display)


class JpegXl(ImageFile):
    """An image of JPEG XL; of an animation the first frame."""

    def __init__(self, content: Content, display: Display) -> None:
        super().__init__(content, display)
        self._codecs = extras.load("imagecodecs", extra="large", why=f"{self.name} is JPEG XL: that needs imagecodecs")
        with errors_in_one_line(self.name):
            self.size = size_of(_codestream(content))
            check_size(*self.size)
            self.source = Source(self.name, self.size)

    def first(self) -> np.ndarray:
        with errors_in_one_line(self.name):
            check_memory(self.size, 4, 1)
            values = np.asarray(self._codecs.jpegxl_decode(self.content.read(), index=0))
            if values.shape[:2] != self.size:
                raise ValueError(f"it declares {self.size} pixels (height, width) and holds {values.shape[:2]}")
            return _without_alpha(values, self.display.channels)

    def values(self, number: int) -> np.ndarray:
        return self.first()

    def regions(self) -> LargeImage:
        return self._decoded_regions()


def size_of(codestream: bytes) -> tuple[int, int]:
    """(height, width) of an image as it is shown, upright.

    Args:
        codestream: its first bytes.

    Raises:
        ValueError: too few, or no codestream.
    """
    if not codestream.startswith(_CODESTREAM):
        raise ValueError("it is a JPEG XL file without an image")
    bits = _Bits(codestream[len(_CODESTREAM) :])
    is_small = bits.take(1)
    height = _side(bits, is_small)
    ratio = _RATIOS[bits.take(3)]
    width = _side(bits, is_small) if ratio is None else height * ratio[0] // ratio[1]
    is_plain = bits.take(1)
    orientation = bits.take(3) + 1 if not is_plain and bits.take(1) else 1  # as EXIF's
    return (width, height) if orientation >= 5 else (height, width)


def _side(bits: _Bits, is_small: int) -> int:
    return 8 * (bits.take(5) + 1) if is_small else bits.take((9, 13, 18, 30)[bits.take(2)]) + 1


def _codestream(content: Content) -> bytes:
    """The first bytes of the codestream, in whatever box it is."""
    if content.start.startswith(_CODESTREAM):
        return content.read(0, _HEADER)
    place = 0
    for _ in range(_MAX_BOXES):
        head = content.read(place, 16)
        length, kind, start = int.from_bytes(head[:4], "big"), head[4:8], place + 8
        if length == 1:  # a length of 8 bytes follows
            length, start = int.from_bytes(head[8:], "big"), place + 16
        if kind in (b"jxlc", b"jxlp"):
            return content.read(start + 4 * (kind == b"jxlp"), _HEADER)  # a part has its number first
        if length < start - place or len(head) < 8:  # 0: the last box
            break
        place += length
    raise ValueError("it is a JPEG XL file without an image")


class _Bits:
    """Bits of bytes, the lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._bits, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("it is cut off")
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        return value


def _without_alpha(values: np.ndarray, channels: int | None) -> np.ndarray:
    """(H, W) or (H, W, C) without the transparency behind gray or colors, unless as many channels are wanted."""
    if values.ndim == 2 or values.shape[2] not in (2, 4) or values.shape[2] == channels:
        return values
    return values[:, :, 0] if values.shape[2] == 2 else values[:, :, :3]
