"""Readers of image files by path: two lines each on `open_file`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import UnidentifiedImageError

from maskrcnn.config.model import Scaling
from maskrcnn.images.content import Content, FileLike
from maskrcnn.images.declared import check_tiff
from maskrcnn.images.files import check_size, errors_in_one_line
from maskrcnn.images.formats import open_file
from maskrcnn.images.opened import Display, only_plane
from maskrcnn.images.pillow import load, open_pillow
from maskrcnn.images.tiff import in_own_depth, scientific_values
from maskrcnn.images.values import to_channels
from maskrcnn.structures import Plane


def read_image(source: FileLike, *, channels: int = 3, scaling: Scaling = "all_channels") -> np.ndarray:
    """Reads an image as a person sees it: EXIF rotation applied, gray and palette turned into colors.

    Transparency is dropped, not blended: the colors below it are what OpenCV, detectron2 and torchvision hand to a model too,
    and any ground to blend with would be invented. Of several frames or pages the first is read.

    Values of more than 8 bits (16-bit PNG and TIFF, float TIFF) are stretched so that their 0.1th percentile becomes 0 and
    their 99.9th 255, all channels together. Microscopes fill a small part of the 16 bits (33,000 to 35,000, say), which a fixed
    shift by 8 bits would turn into one flat gray; percentiles keep a few hot pixels from doing the same. Only finite values
    count for them; NaN is shown black.

    Channels are the samples of a file's pixels, or the planes along an axis that a TIFF calls channels (OME-TIFF, ImageJ,
    tifffile's `metadata={"axes": "CYX"}`), or the last axis of an array. Transparency is one of them where that makes the
    number that is wanted. Gray is repeated for 3 channels, RGB becomes luma for 1; nothing else is made up or left out.

    Args:
        source: JPEG, PNG, TIFF, BMP, WebP, GIF, AVIF, JPEG 2000, PPM and what else `images.pillow.FORMATS` lists, HEIC with the
            extra `heif`, JPEG XL with the extra `large`; DICOM or NIfTI of one plane, see `read_planes`; a `.npy` of (H, W) or
            (H, W, C). A path, the bytes of such a file, or an open one.
        channels: how many the image shall have.
        scaling: of values of more than 8 bits, see `ImageConfig.scaling`.

    Returns:
        (H, W, channels) uint8; RGB where that is 3.

    Raises:
        ValueError: for a file that is missing, no image, cut off, larger than `MAX_PIXELS` or than the free memory, or of
            other channels; one line that names it.
        ImportError: for DICOM and NIfTI where what reads them is not installed.
    """
    with open_file(source, Display(channels=channels)) as file, errors_in_one_line(file.name):
        return to_channels(file.first(), channels, scaling)


def read_reduced(
    path: str, size: tuple[int, int], least: tuple[int, int], *, channels: int = 3, scaling: Scaling = "all_channels"
) -> np.ndarray:
    """`read_image`, but that a JPEG of at least twice as many pixels either way as wanted is decoded at a fraction of its size.

    The decoder leaves out the finer frequencies of each block of 8 × 8 pixels (libjpeg's scaled IDCT), which takes a third of
    the time or less. Resized to the same size, the image differs a little from one that was decoded whole.

    Args:
        path: of the file.
        size: (height, width) that it has.
        least: (height, width) that suffices.
        channels, scaling: see `read_image`.

    Returns:
        (h, w, channels) uint8; h and w are those of the file, or a half, a quarter or an eighth, rounded up.

    Raises:
        ValueError: as `read_image`; and for a file of another size.
    """
    with open_file(path, Display(channels=channels, least=least)) as file, errors_in_one_line(file.name):
        if file.size != size:
            raise ValueError(f"it had height, width {size} when it was checked; now {file.size}")
        return to_channels(file.first(), channels, scaling)


def decoded_size(path: FileLike) -> tuple[int, int]:
    """(height, width) of an image of any channels, after all of its pixels were decoded: so those that are cut off are found.

    Raises:
        ValueError, ImportError: as `read_image`, but for the channels.
    """
    with open_file(path, Display(channels=None)) as file:
        return file.first().shape[:2]


def read_size(path: FileLike) -> tuple[int, int]:
    """(height, width) of what `read_image` gives, from the file's header alone.

    Raises:
        ValueError: as `read_image`; an image whose pixels are cut off is not noticed.
    """
    with open_file(path) as file, errors_in_one_line(file.name):
        check_size(*file.size)
        return file.size


def read_values(path: FileLike, channels: int | None = 3) -> np.ndarray:
    """(H, W), (H, W, 3) RGB, or (H, W, C) where the file names other channels; upright, in the file's own depth.

    Args:
        path: as for `read_image`.
        channels: how many are wanted, to tell a fourth sample that counts from transparency; None where it does not matter.
    """
    with open_file(path, Display(channels=channels)) as file:
        return file.first()


def read_label_map(path: FileLike) -> np.ndarray:
    """Reads an image whose values are numbers of objects: palette indices and 16 or 32 bits stay as they are.

    Returns:
        (H, W) int64, 0 is background.

    Raises:
        ValueError: as `read_image`, and for colors or fractions, which number nothing.
    """
    content = Content(path)
    try:
        with errors_in_one_line(content.name):
            values = _indices(content)
            if values.ndim != 2:
                raise ValueError(f"a label map has one value a pixel; received {values.shape[2]}")
            labels = values.astype(np.int64)
            if (labels < 0).any() or (values.dtype.kind == "f" and (labels != values).any()):
                raise ValueError("the values of a label map are whole numbers from 0")
            return labels
    finally:
        content.close()


def _indices(content: Content) -> np.ndarray:
    try:
        with open_pillow(content.file) as image:
            return in_own_depth(load(image, content.file))
    except UnidentifiedImageError:
        import tifffile

        content.file.seek(0)
        try:
            with tifffile.TiffFile(content.file) as file:
                check_tiff(file)
                return scientific_values(file)
        except tifffile.TiffFileError:
            raise UnidentifiedImageError from None


def read_planes(
    path: FileLike,
    *,
    window: tuple[float, float] | int | None = None,
    axis: str = "axial",
    keep_patient: bool = False,
    channels: int = 3,
    scaling: Scaling = "all_channels",
) -> Iterator[Plane]:
    """The planes of a file, one by one: frames of DICOM, slices of NIfTI, pages of TIFF; one of any other image.

    Args:
        path: the file.
        window, axis, keep_patient, channels, scaling: how planes are cut and shown, see `images.opened.Display`.

    Raises:
        ImportError: what reads the format is not installed.
        ValueError: for a file that cannot be read, or a plane of it; one line.
    """
    display = Display(window=window, axis=axis, keep_patient=keep_patient, channels=channels, scaling=scaling)
    with open_file(path, display) as file:
        yield from file.planes()


def read_plane(path: FileLike) -> Plane:
    """The only plane of a file.

    Raises:
        ValueError: for a file of several.
    """
    with open_file(path) as file:
        return only_plane(file)


def count_planes(path: FileLike, *, axis: str = "axial") -> int:
    """How many planes a file has, from its header; 1 where it cannot be read."""
    try:
        with open_file(path, Display(axis=axis)) as file:
            return file.source.num_planes
    except (ValueError, ImportError):
        return 1
