"""Arrays of NumPy (.npy), mapped from the disk; those that hold Python objects are refused, as `allow_pickle=False` does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image

from maskrcnn.images.content import Content
from maskrcnn.images.declared import check_stored
from maskrcnn.images.files import MAX_PIXELS, errors_in_one_line
from maskrcnn.images.large import LargeImage
from maskrcnn.images.opened import Display, ImageFile, large_image
from maskrcnn.structures import Source

_MARK = b"\x93NUMPY"


def recognise(content: Content) -> bool:
    """Whether a file is an array, by its mark or its name."""
    return content.start.startswith(_MARK) or content.suffix == ".npy"


def read(content: Content, display: Display) -> ImageFile:
    """The array, open: of a file its values stay on the disk."""
    return ArrayImage(content, display)


class ArrayImage(ImageFile):
    """An (H, W) or (H, W, C) array."""

    def __init__(self, content: Content, display: Display) -> None:
        super().__init__(content, display)
        with errors_in_one_line(self.name):
            self._array = _mapped(content)
            shape, dtype = self._array.shape, self._array.dtype
            if len(shape) not in (2, 3) or 0 in shape or dtype.kind not in "buif":
                raise ValueError(f"an image is an array (H, W) or (H, W, C) of numbers; received {dtype} {shape}")
            self.size = (shape[0], shape[1])
            self.source = Source(self.name, self.size)

    def first(self) -> np.ndarray:
        with errors_in_one_line(self.name):
            if math.prod(self.size) > MAX_PIXELS or self._array.size > 4 * MAX_PIXELS:
                raise Image.DecompressionBombError
            return np.array(self._array)

    def values(self, number: int) -> np.ndarray:
        return self.first()

    def regions(self) -> LargeImage:
        return large_image(self._array, "YXC"[: self._array.ndim], self.name, self.display)


def _mapped(content: Content) -> np.ndarray:
    """The values of an array where they lie: on the disk, or in the bytes that were given."""
    content.file.seek(0)
    version = np.lib.format.read_magic(content.file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = header(content.file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read")
    offset = content.file.tell()
    check_stored(math.prod(shape) * dtype.itemsize, content.length - offset, 1)
    options: dict[str, Any] = {"shape": shape, "order": "F" if is_fortran else "C"}
    if content.path is None or 0 in shape:
        values = np.frombuffer(content.read(offset), dtype, math.prod(shape))
        return values.reshape(shape, order=options["order"])
    return np.memmap(content.file, dtype, "r", offset, **options)
