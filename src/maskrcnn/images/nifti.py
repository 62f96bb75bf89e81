"""Reads NIfTI slice by slice, laid as radiologists look at them."""

from __future__ import annotations

import gzip
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from maskrcnn import extras
from maskrcnn.geometry.turns import Turn, turned
from maskrcnn.images.declared import DEFLATE, check_planes, check_stored
from maskrcnn.images.files import check_size, errors_in_one_line
from maskrcnn.images.values import to_channels, windowed
from maskrcnn.structures import PixelSize, Plane, Source, VoxelGrid

Axis = Literal["axial", "coronal", "sagittal"]
AXES: tuple[Axis, ...] = ("sagittal", "coronal", "axial")  # the world's x, y and z, which their slices stand upright on
_WHY = "NIfTI files need nibabel"
_MILLIMETRES = {"mm": 1.0, "micron": 1e-3, "meter": 1e3, "unknown": 1.0}  # without a unit: what every program writes


def read_nifti(path: str | Path, *, window: tuple[float, float] | int | None = None, axis: str = "axial") -> Iterator[Plane]:
    """The slices of a NIfTI file, one by one, of all its volumes where it has several.

    A slice is turned as DICOM lays it and radiologists look at it: axial ones with the patient's front at the top, coronal and
    sagittal ones with the head at the top, the patient's left at the right of the image, the back at the right of a sagittal
    one. Oblique volumes are turned to the nearest axes, and nothing is resampled. Slices are counted as they lie in the file.

    Values are those after the file's slope and intercept. The image is what lies in `window`, or between the file's cal_min
    and cal_max, or without both as `read_image` shows 8 bits and more.

    Args:
        path: .nii or .nii.gz; a compressed one is unpacked to a temporary file, so that any slice is at hand.
        window: (centre, width) to be shown, in units of the values.
        axis: axial, coronal or sagittal: which way to slice.

    Raises:
        ImportError: nibabel is not installed.
        ValueError: for what is no NIfTI file.
    """
    nibabel = extras.load("nibabel", extra="medical", why=_WHY)
    if axis not in AXES:
        raise ValueError(f"The axis is axial, coronal or sagittal; received {axis!r}.")
    with errors_in_one_line(path), tempfile.TemporaryDirectory() as folder:
        image = _open(nibabel, path)
        image = _open(nibabel, _unpacked(path, Path(folder), image.dataobj))
        grid = _grid(nibabel, image, AXES.index(axis))
        in_plane = [k for k in range(3) if k != grid.axis]
        height, width = (grid.shape[k] for k in (in_plane[::-1] if grid.turn.swap else in_plane))
        check_size(height, width)
        sizes = np.array(grid.header["zooms"][:3]) * _MILLIMETRES.get(grid.header["units"][0], 1.0)
        down, right = (float(sizes[k]) for k in (in_plane[::-1] if grid.turn.swap else in_plane))
        depth, volumes = grid.shape[grid.axis], math.prod(grid.shape[3:])
        source = Source(
            path=str(path),
            size=(height, width),
            counts=(volumes, depth) if volumes > 1 else (depth,) if depth > 1 else (),
            axes="TZ" if volumes > 1 else "Z" if depth > 1 else "",
            pixel_size=PixelSize(down, right, "mm"),
            spacing=float(sizes[grid.axis]),
            grid=grid,
        )
        for number in range(1, source.num_planes + 1):
            values = turned(_slice(image, grid, number), grid.turn)
            yield Plane(source, number, values, _shown(values, image.header, window))


def read_nifti_size(path: str | Path, *, axis: str = "axial") -> tuple[tuple[int, int], int]:
    """(height, width) of the slices and how many there are, from the header alone."""
    nibabel = extras.load("nibabel", extra="medical", why=_WHY)
    with errors_in_one_line(path):
        grid = _grid(nibabel, _open(nibabel, path), AXES.index(axis))  # type: ignore[arg-type]
        first, second = (grid.shape[k] for k in range(3) if k != grid.axis)
        size = (second, first) if grid.turn.swap else (first, second)
        return size, int(np.prod(grid.shape)) // (first * second)


def _open(nibabel: Any, path: str | Path) -> Any:
    """NIfTI-1 or NIfTI-2, the values left on the disk. A broken header is an error, and not in nibabel's log besides."""
    with nibabel.imageglobals.LoggingOutputSuppressor():
        kind = nibabel.Nifti2Image if nibabel.Nifti2Image.path_maybe_image(path)[0] else nibabel.Nifti1Image
        image = kind.from_filename(path)
    stored = image.dataobj
    packed = Path(path).suffix.lower() == ".gz"
    declared = stored.offset + math.prod(stored.shape) * stored.dtype.itemsize
    check_stored(declared, Path(path).stat().st_size, DEFLATE if packed else 1)
    check_planes(math.prod(stored.shape[2:]))
    return image


def _unpacked(path: str | Path, folder: Path, stored: Any) -> Path:
    """A compressed file as a plain one; no more of it than its header says, whatever it would unpack to."""
    if Path(path).suffix.lower() != ".gz":
        return Path(path)
    unpacked = folder / "unpacked.nii"
    left = stored.offset + math.prod(stored.shape) * stored.dtype.itemsize
    with gzip.open(path, "rb") as packed, open(unpacked, "wb") as file:
        while block := packed.read(min(left, 1 << 20)):
            left -= file.write(block)
    return unpacked


def _grid(nibabel: Any, image: Any, world_axis: int) -> VoxelGrid:
    orientation = nibabel.io_orientation(image.affine)  # for each axis of the array: the world's axis, and which way
    axis = int(np.flatnonzero(orientation[:, 0] == world_axis)[0])
    first, second = (k for k in range(3) if k != axis)
    swap = orientation[first, 0] < orientation[second, 0]  # columns run along the world's lower axis
    rows, columns = (second, first) if swap else (first, second)
    # The world's axes run to the right, the front and the head (RAS); images run to the left, the back and the feet.
    turn = Turn(bool(swap), bool(orientation[rows, 1] > 0), bool(orientation[columns, 1] > 0))
    header = image.header
    about = {
        "zooms": tuple(float(zoom) for zoom in header.get_zooms()) + (1.0,) * (3 - len(image.shape)),
        "units": header.get_xyzt_units(),
        "sform_code": int(header["sform_code"]),
        "qform_code": int(header["qform_code"]),
        "shape": tuple(int(length) for length in image.shape),
    }
    shape = about["shape"] + (1,) * (3 - len(about["shape"]))
    return VoxelGrid(shape, axis, turn, np.asarray(image.affine, np.float64), about)


def _slice(image: Any, grid: VoxelGrid, number: int) -> np.ndarray:
    """(A, B) or (A, B, 3) values of one slice, read from the file alone."""
    values = np.asarray(image.dataobj[grid.place(number)[: len(image.shape)]])
    channels = values.dtype.names[:3] if values.dtype.names else ()  # RGB24, RGBA32
    if channels:
        values = np.stack([values[name] for name in channels], axis=-1)
    return values.reshape(*(grid.shape[k] for k in range(3) if k != grid.axis), *values.shape[values.ndim - bool(channels) :])


def _shown(values: np.ndarray, header: Any, window: tuple[float, float] | int | None) -> np.ndarray:
    if values.ndim == 3:
        return to_channels(values)
    low, high = float(header["cal_min"]), float(header["cal_max"])
    if isinstance(window, tuple):
        return to_channels(windowed(values, *window))
    if high > low:
        return to_channels(windowed(values, (low + high) / 2, high - low, function="LINEAR_EXACT"))
    return to_channels(values)
