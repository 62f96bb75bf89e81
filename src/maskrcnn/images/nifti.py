"""Reads NIfTI slice by slice, laid as radiologists look at them."""

from __future__ import annotations

import gzip
import math
import tempfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from maskrcnn import extras
from maskrcnn.geometry.turns import Turn, turned
from maskrcnn.images.content import Content
from maskrcnn.images.declared import DEFLATE, check_planes, check_stored
from maskrcnn.images.files import NIFTI_SUFFIXES, check_size, errors_in_one_line
from maskrcnn.images.opened import Display, ImageFile, only_plane
from maskrcnn.images.values import to_channels, windowed
from maskrcnn.structures import PixelSize, Source, VoxelGrid

Axis = Literal["axial", "coronal", "sagittal"]
AXES: tuple[Axis, ...] = ("sagittal", "coronal", "axial")  # the world's x, y and z, which their slices stand upright on
_GZIP = b"\x1f\x8b"  # RFC 1952
_WHY = "NIfTI files need nibabel"
_MILLIMETRES = {"mm": 1.0, "micron": 1e-3, "meter": 1e3, "unknown": 1.0}  # without a unit: what every program writes


def recognise(content: Content) -> bool:
    """Whether a file is NIfTI, by its name or the mark of its header, which may be packed."""
    if content.name.lower().endswith(NIFTI_SUFFIXES):
        return True
    start = content.start
    if start.startswith(_GZIP):
        try:
            start = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(start, 348)
        except zlib.error:
            return False
    return start[344:348] == b"n+1\0" or start[4:8] == b"n+2\0"


def read(content: Content, display: Display) -> ImageFile:
    """The volume, open; a compressed one is unpacked to a temporary file when its slices are read, so that any is at hand."""
    nibabel = extras.load("nibabel", extra="medical", why=_WHY)
    if display.axis not in AXES:
        raise ValueError(f"The axis is axial, coronal or sagittal; received {display.axis!r}.")
    return NiftiImage(nibabel, content, display)


class NiftiImage(ImageFile):
    """The slices of a NIfTI file, of all its volumes where it has several.

    A slice is turned as DICOM lays it and radiologists look at it: axial ones with the patient's front at the top, coronal and
    sagittal ones with the head at the top, the patient's left at the right of the image, the back at the right of a sagittal
    one. Oblique volumes are turned to the nearest axes, and nothing is resampled. Slices are counted as they lie in the file.

    Values are those after the file's slope and intercept. The image is what lies in the window, or between the file's cal_min
    and cal_max, or without both as `read_image` shows 8 bits and more.
    """

    has_regions = False

    def __init__(self, nibabel: Any, content: Content, display: Display) -> None:
        super().__init__(content, display)
        self._nibabel = nibabel
        self._image: Any = None  # with its values at hand
        with errors_in_one_line(self.name):
            self._is_packed = content.start.startswith(_GZIP)
            content.file.seek(0)
            self._header_image = _open(nibabel, _plain(content) if self._is_packed else content.file)
            stored = self._header_image.dataobj
            self._length = stored.offset + math.prod(stored.shape) * stored.dtype.itemsize
            check_stored(self._length, content.length, DEFLATE if self._is_packed else 1)
            check_planes(math.prod(stored.shape[2:]))
            self._grid = _grid(nibabel, self._header_image, AXES.index(display.axis))  # type: ignore[arg-type]
            self.source = _source(self.name, self._grid)
            self.size = self.source.size
            check_size(*self.size)

    def first(self) -> np.ndarray:
        return only_plane(self).image

    def values(self, number: int) -> np.ndarray:
        with errors_in_one_line(self.name):
            if self._image is None:
                self._image = _open(self._nibabel, self._unpacked()) if self._is_packed else self._header_image
            return turned(_slice(self._image, self._grid, number), self._grid.turn)

    def _unpacked(self) -> BinaryIO:
        """A compressed file as a plain one; no more of it than its header says, whatever it would unpack to."""
        unpacked = Path(self.on_close.enter_context(tempfile.TemporaryDirectory())) / "unpacked.nii"
        left = self._length
        self.content.file.seek(0)
        with gzip.GzipFile(fileobj=self.content.file) as packed, open(unpacked, "wb") as file:
            while block := packed.read(min(left, 1 << 20)):
                left -= file.write(block)
        return self.on_close.enter_context(open(unpacked, "rb"))

    def _shown(self, values: np.ndarray) -> np.ndarray:
        return _shown(values, self._header_image.header, self.display.window)


def _plain(content: Content) -> BinaryIO:
    return gzip.GzipFile(fileobj=content.file)  # type: ignore[return-value]


def _open(nibabel: Any, file: BinaryIO) -> Any:
    """NIfTI-1 or NIfTI-2, the values left on the disk. A broken header is an error, and not in nibabel's log besides."""
    with nibabel.imageglobals.LoggingOutputSuppressor():
        is_second = file.read(8)[4:] == b"n+2\0"
        file.seek(0)
        return (nibabel.Nifti2Image if is_second else nibabel.Nifti1Image).from_stream(file)


def _source(name: str, grid: VoxelGrid) -> Source:
    in_plane = [k for k in range(3) if k != grid.axis]
    rows, columns = in_plane[::-1] if grid.turn.swap else in_plane
    sizes = np.array(grid.header["zooms"][:3]) * _MILLIMETRES.get(grid.header["units"][0], 1.0)
    depth, volumes = grid.shape[grid.axis], math.prod(grid.shape[3:])
    return Source(
        path=name,
        size=(grid.shape[rows], grid.shape[columns]),
        counts=(volumes, depth) if volumes > 1 else (depth,) if depth > 1 else (),
        axes="TZ" if volumes > 1 else "Z" if depth > 1 else "",
        pixel_size=PixelSize(float(sizes[rows]), float(sizes[columns]), "mm"),
        spacing=float(sizes[grid.axis]),
        grid=grid,
    )


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
