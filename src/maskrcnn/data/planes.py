"""Every picture file as two-dimensional planes, with the values that were measured and the size of their pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from maskrcnn.config import Scaling
from maskrcnn.data.dicom import read_dicom, read_dicom_size
from maskrcnn.data.images import errors_in_one_line, kind_of, read_values, to_picture
from maskrcnn.data.nifti import read_nifti, read_nifti_size
from maskrcnn.data.stacks import TiffStack
from maskrcnn.data.window import windowed
from maskrcnn.structures import Plane, Source


def read_planes(
    path: str | Path,
    *,
    window: tuple[float, float] | int | None = None,
    axis: str = "axial",
    keep_patient: bool = False,
    channels: int = 3,
    scaling: Scaling = "all_channels",
) -> Iterator[Plane]:
    """The planes of a file, one by one: frames of DICOM, slices of NIfTI, pages of TIFF; one of any other picture.

    Args:
        path: the file.
        window: (centre, width) of the values that are shown, of pictures with one channel; or which of a DICOM file's own
            windows, from 1. None shows what the file or, without its word, `read_image` shows.
        axis: axial, coronal or sagittal: how a NIfTI volume is sliced.
        keep_patient: whether a DICOM file's `grid` holds the patient's attributes.
        channels, scaling: of the shown pictures, as in `read_image`; of DICOM and NIfTI they are always grey or RGB.

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
    return _read_stack(path, channels, show) if kind == "tiff" else _read_picture(path, channels, show)


def read_plane(path: str | Path) -> Plane:
    """The only plane of a file.

    Raises:
        ValueError: for a file of several.
    """
    planes = read_planes(path)
    plane = next(planes)
    if plane.source.num_planes > 1:
        raise ValueError(
            f"{path} has {plane.source.num_planes} planes, not one picture; maskrcnn.read_planes(path) gives them one by one."
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
        yield from _read_picture(path, channels, show)
        return
    with opened as stack:
        alone = None
        if not stack.counts:
            # A picture alone is left to the door that every picture goes through, which knows more kinds of compression.
            with errors_in_one_line(path):
                alone = read_values(path, channels)
        size = stack.largest if alone is None else (alone.shape[0], alone.shape[1])
        source = Source(str(path), size, stack.counts, stack.axes, stack.pixel_size, stack.spacing)
        for frame in range(1, source.num_planes + 1):
            with errors_in_one_line(path):
                values = stack.read(frame) if alone is None else alone
                image = show(values)
            yield Plane(source, frame, values, image)


def _read_picture(path: str | Path, channels: int, show: Callable[[np.ndarray], np.ndarray]) -> Iterator[Plane]:
    with errors_in_one_line(path):
        values = read_values(path, channels)
        image = show(values)
    yield Plane(Source(str(path), (values.shape[0], values.shape[1])), 1, values, image)


def _shown(values: np.ndarray, *, window: tuple[float, float] | int | None, channels: int, scaling: Scaling) -> np.ndarray:
    shown = windowed(values, *window) if isinstance(window, tuple) and values.ndim == 2 else values
    return to_picture(shown, channels, scaling)
