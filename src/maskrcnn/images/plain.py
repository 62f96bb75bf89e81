"""PNG, JPEG and what else Pillow reads, and arrays of NumPy: in their own depth and channels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from maskrcnn.images.files import MAX_PIXELS, errors_in_one_line
from maskrcnn.images.pillow import load, open_pillow
from maskrcnn.images.tiff import (
    CMYK_AND_LAB,
    PHOTOMETRIC,
    PLANAR_CONFIGURATION,
    SIGNED,
    in_own_depth,
    may_name_channels,
    names_channels,
    own_values,
    read_scientific_tiff,
    sample_format,
    turn_upright,
)

_OPENCV_UNPACKS = (1, 5, 8, 32773, 32946)  # nothing, LZW, deflate, PackBits, deflate


def read_label_map(path: str | Path) -> np.ndarray:
    """Reads an image whose values are numbers of objects: palette indices and 16 or 32 bits stay as they are.

    Returns:
        (H, W) int64, 0 is background.

    Raises:
        ValueError: as `read_image`, and for colours or fractions, which number nothing.
    """
    with errors_in_one_line(path):
        try:
            with open(path, "rb") as file, open_pillow(file) as image:
                values = in_own_depth(load(image, file))
        except UnidentifiedImageError:
            values = read_scientific_tiff(path)
        if values.ndim != 2:
            raise ValueError(f"a label map has one value a pixel; received {values.shape[2]}")
        labels = values.astype(np.int64)
        if (labels < 0).any() or (values.dtype.kind == "f" and (labels != values).any()):
            raise ValueError("the values of a label map are whole numbers from 0")
        return labels


def read_values(path: str | Path, channels: int | None = 3) -> np.ndarray:
    """(H, W), (H, W, 3) RGB, or (H, W, C) where the file names other channels; upright, in the file's own depth.

    Args:
        path: as for `read_image`, but DICOM and NIfTI.
        channels: how many are wanted, to tell a fourth sample that counts from transparency; None where it does not matter.
    """
    if is_array(path):
        return np.array(open_array(path))
    try:
        with open(path, "rb") as file, open_pillow(file) as image:
            if image.format == "TIFF" and may_name_channels(image) and names_channels(path, channels):
                return _read_channels(path)
            orientation, deep = orientation_of(image), _is_deep(image)
            decoded = load(image, file)  # raises where the file is cut off, which OpenCV passes over
            if not deep:
                values = byte_values(decoded, channels)
            elif len(image.getbands()) == 1:
                values = own_values(decoded)
            else:
                values = _read_deep_colors(image, path, channels)
            return turn_upright(values, orientation)
    except UnidentifiedImageError:
        return _read_channels(path) if names_channels(path, channels) else read_scientific_tiff(path)


def byte_values(image: Image.Image, channels: int | None) -> np.ndarray:
    """Pillow's image of 8 bits as RGB; grey and transparency as they are where `channels` wants them."""
    alpha_counts = image.mode in ("LA", "RGBA") and len(image.getbands()) == channels
    as_it_is = alpha_counts or (image.mode == "L" and channels != 3)
    return np.asarray(image if as_it_is else image.convert("RGB"))


def is_array(path: str | Path) -> bool:
    return Path(path).suffix.lower() == ".npy"


def open_array(path: str | Path) -> np.ndarray:
    """NumPy's file, its values left on the disk; one that holds Python objects is refused, as `allow_pickle=False` does."""
    values = np.lib.format.open_memmap(path, mode="r")
    if values.ndim not in (2, 3) or 0 in values.shape or values.dtype.kind not in "buif":
        raise ValueError(f"an image is an array (H, W) or (H, W, C) of numbers; received {values.dtype} {values.shape}")
    if values.shape[0] * values.shape[1] > MAX_PIXELS or values.size > 4 * MAX_PIXELS:
        raise Image.DecompressionBombError
    return values


def _read_channels(path: str | Path) -> np.ndarray:
    """The first plane of a TIFF with all of its channels, (H, W, C)."""
    from maskrcnn.images.stacks import TiffStack  # it reads single pages through this module

    with TiffStack(path) as stack:
        return stack.read(1)


def _is_deep(image: Image.Image) -> bool:
    """Whether a channel is more than a byte in the file, or has a sign; Pillow itself cuts colours of 16 bits to 8."""
    if image.format == "TIFF":
        bits, kind = sample_format(image)
        return bits > 8 or kind == SIGNED
    return image.mode in ("I", "F") or image.mode.startswith("I;16") or ";16" in str(getattr(image, "tile", ""))


def _read_deep_colors(image: Image.Image, path: str | Path, channels: int | None) -> np.ndarray:
    """(H, W, 3) RGB of 16 bits; (H, W, 4) where there are 4 and as many are wanted."""
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        # OpenCV mixes up channels that lie one behind the other, and knows no other colours and few kinds of compression.
        mixed_up = tags.get(PLANAR_CONFIGURATION) == 2 or tags.get(PHOTOMETRIC) in CMYK_AND_LAB
        if mixed_up or tags.get(ExifTags.Base.Compression, 1) not in _OPENCV_UNPACKS:
            return read_scientific_tiff(path)
    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 3:
        raise ValueError("its colours of 16 bits cannot be decoded")
    return values[:, :, (2, 1, 0, 3) if channels == values.shape[2] == 4 else (2, 1, 0)]  # from BGR or BGRA


def orientation_of(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8, where it is still to be applied.

    Asked of the base class because PNG's own `getexif` decodes all pixels first, to look behind them. TIFF is turned by Pillow.
    """
    return 1 if image.format == "TIFF" else Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
