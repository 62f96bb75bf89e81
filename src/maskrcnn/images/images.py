"""Reads any image as bytes, RGB or of other channels, and finds images in folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import UnidentifiedImageError

from maskrcnn.config.model import Scaling
from maskrcnn.images.dicom import read_dicom, read_dicom_size
from maskrcnn.images.files import errors_in_one_line, kind_of
from maskrcnn.images.nifti import read_nifti, read_nifti_size
from maskrcnn.images.pillow import open_pillow
from maskrcnn.images.plain import is_array, open_array, orientation_of, read_values
from maskrcnn.images.stacks import TiffStack
from maskrcnn.images.tiff import read_scientific_tiff
from maskrcnn.images.values import to_channels, windowed
from maskrcnn.structures import Plane, Source


def read_image(path: str | Path, *, channels: int = 3, scaling: Scaling = "all_channels") -> np.ndarray:
    """Reads an image as a person sees it: EXIF rotation applied, grey and palette turned into colours.

    Transparency is dropped, not blended: the colours below it are what OpenCV, detectron2 and torchvision hand to a model too,
    and any ground to blend with would be invented. Of several frames or pages the first is read.

    Values of more than 8 bits (16-bit PNG and TIFF, float TIFF) are stretched so that their 0.1th percentile becomes 0 and
    their 99.9th 255, all channels together. Microscopes fill a small part of the 16 bits (33,000 to 35,000, say), which a fixed
    shift by 8 bits would turn into one flat grey; percentiles keep a few hot pixels from doing the same. Only finite values
    count for them; NaN is shown black.

    Channels are the samples of a file's pixels, or the planes along an axis that a TIFF calls channels (OME-TIFF, ImageJ,
    tifffile's `metadata={"axes": "CYX"}`), or the last axis of an array. Transparency is one of them where that makes the
    number that is wanted. Grey is repeated for 3 channels, RGB becomes luma for 1; nothing else is made up or left out.

    Args:
        path: JPEG, PNG, TIFF, BMP, WebP or whatever else Pillow knows; DICOM or NIfTI of one plane, see `read_planes`; a
            `.npy` of (H, W) or (H, W, C).
        channels: how many the image shall have.
        scaling: of values of more than 8 bits, see `ImageConfig.scaling`.

    Returns:
        (H, W, channels) uint8; RGB where that is 3.

    Raises:
        ValueError: for a file that is missing, no image, cut off, larger than `MAX_PIXELS` or of other channels; one line
            that names it.
        ImportError: for DICOM and NIfTI where what reads them is not installed.
    """
    with errors_in_one_line(path):
        if kind_of(path) in ("dicom", "nifti"):
            from maskrcnn.images.images import read_plane  # it reads every other image through this module

            return to_channels(read_plane(path).image, channels)
        return to_channels(read_values(path, channels), channels, scaling)


def decoded_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of an image of any channels, after all of its pixels were decoded: so those that are cut off are found.

    Raises:
        ValueError, ImportError: as `read_image`, but for the channels.
    """
    with errors_in_one_line(path):
        if kind_of(path) in ("dicom", "nifti"):
            return read_image(path).shape[:2]
        return read_values(path, None).shape[:2]


def read_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of what `read_image` gives, from the file's header alone.

    Raises:
        ValueError: as `read_image`; an image whose pixels are cut off is not noticed.
    """
    with errors_in_one_line(path):
        if kind_of(path) in ("dicom", "nifti"):
            from maskrcnn.images.images import read_plane_size

            return read_plane_size(path)
        if is_array(path):
            return open_array(path).shape[:2]
        try:
            with open(path, "rb") as file, open_pillow(file) as image:
                if image.format == "TIFF" and image.n_frames > 1:  # type: ignore[attr-defined]
                    from maskrcnn.images.stacks import TiffStack  # it reads single pages through this module

                    with TiffStack(path) as stack:
                        return stack.size
                width, height = image.size
                return (width, height) if orientation_of(image) >= 5 else (height, width)
        except UnidentifiedImageError:
            return read_scientific_tiff(path, pixels=False).shape[:2]


def read_planes(
    path: str | Path,
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
        window: (centre, width) of the values that are shown, of images with one channel; or which of a DICOM file's own
            windows, from 1. None shows what the file or, without its word, `read_image` shows.
        axis: axial, coronal or sagittal: how a NIfTI volume is sliced.
        keep_patient: whether a DICOM file's `grid` holds the patient's attributes.
        channels, scaling: of the shown images, as in `read_image`; of DICOM and NIfTI they are always grey or RGB.

    Raises:
        ImportError: what reads the format is not installed.
        ValueError: for a file that cannot be read, or a plane of it; one line.
    """
    kind = kind_of(path)
    if isinstance(window, int) and kind != "dicom":
        raise ValueError(f"{path} has no windows of its own, as DICOM has; received number {window}, wanted centre and width.")
    if kind == "dicom":
        return read_dicom(path, window=window, keep_patient=keep_patient)
    if kind == "nifti":
        return read_nifti(path, window=window, axis=axis)
    show = partial(_shown, window=window, channels=channels, scaling=scaling)
    return _read_stack(path, channels, show) if kind == "tiff" else _read_image(path, channels, show)


def read_plane(path: str | Path) -> Plane:
    """The only plane of a file.

    Raises:
        ValueError: for a file of several.
    """
    planes = read_planes(path)
    plane = next(planes)
    if plane.source.num_planes > 1:
        raise ValueError(
            f"{path} has {plane.source.num_planes} planes, not one image; maskrcnn.read_planes(path) gives them one by one."
        )
    return plane


def read_plane_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of what `read_plane` gives of a DICOM or NIfTI file, from its header alone."""
    size, _ = read_dicom_size(path) if kind_of(path) == "dicom" else read_nifti_size(path)
    return size


def count_planes(path: str | Path, *, axis: str = "axial") -> int:
    """How many planes a file has, from its header; 1 where it cannot be read."""
    kind = kind_of(path)
    try:
        if kind == "dicom":
            return read_dicom_size(path)[1]
        if kind == "nifti":
            return read_nifti_size(path, axis=axis)[1]
        if kind == "tiff":
            with TiffStack(path) as stack:
                return int(np.prod(stack.counts, dtype=np.int64))
    except (ValueError, ImportError):
        pass
    return 1


def _read_stack(path: str | Path, channels: int, show: Callable[[np.ndarray], np.ndarray]) -> Iterator[Plane]:
    try:
        opened = TiffStack(path)
    except ValueError:  # other readers know files that tifffile does not, and say what is wrong with the rest
        yield from _read_image(path, channels, show)
        return
    with opened as stack:
        alone = None
        if not stack.counts:
            # An image alone is left to the door that every image goes through, which knows more kinds of compression.
            with errors_in_one_line(path):
                alone = read_values(path, channels)
        size = stack.largest if alone is None else (alone.shape[0], alone.shape[1])
        source = Source(str(path), size, stack.counts, stack.axes, stack.pixel_size, stack.spacing)
        for number in range(1, source.num_planes + 1):
            with errors_in_one_line(path):
                values = stack.read(number) if alone is None else alone
                image = show(values)
            yield Plane(source, number, values, image)


def _read_image(path: str | Path, channels: int, show: Callable[[np.ndarray], np.ndarray]) -> Iterator[Plane]:
    with errors_in_one_line(path):
        values = read_values(path, channels)
        image = show(values)
    yield Plane(Source(str(path), (values.shape[0], values.shape[1])), 1, values, image)


def _shown(values: np.ndarray, *, window: tuple[float, float] | int | None, channels: int, scaling: Scaling) -> np.ndarray:
    shown = windowed(values, *window) if isinstance(window, tuple) and values.ndim == 2 else values
    return to_channels(shown, channels, scaling)
