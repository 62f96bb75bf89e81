"""Regions of images of any size, read when they are asked for: TIFF, slides, zarr, arrays.

A region is (left, top, right, bottom) in whole pixels. Of a pyramid the largest level is read.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from maskrcnn import extras
from maskrcnn.config.model import Scaling
from maskrcnn.images.declared import check_sparse
from maskrcnn.images.files import errors_in_one_line
from maskrcnn.images.formats import open_file
from maskrcnn.images.large import LargeImage
from maskrcnn.images.opened import Display, large_image

LARGE = 100_000_000  # pixels from which on an image is meant for regions; cameras' photos have fewer
SLIDE_SUFFIXES = (".svs", ".ndpi", ".scn", ".bif")  # Aperio, Hamamatsu, Leica, Ventana
_ZARR_FILES = ("zarr.json", ".zarray", ".zattrs", ".zgroup")  # zarr 3, and 2


class Survey(NamedTuple):
    """What is asked of a file before it is read.

    Attributes:
        size: (height, width) of its first plane; None where it cannot be read.
        num_planes: 1 where that cannot be read.
        is_for_tiles: whether its objects are found in tiles.
        problem: why it cannot be read, where its header says that already.
    """

    size: tuple[int, int] | None
    num_planes: int
    is_for_tiles: bool
    problem: str | None = None


def survey(path: Path, *, tile: int | None = None, axis: str = "axial") -> Survey:
    """Opens a file once and says how many planes it has, and whether it is for tiles. Broken files are not.

    Args:
        path: an image.
        tile: side that was asked for: what is larger is for tiles, with 0 nothing; None: slides, zarr and what has at least
            `LARGE` pixels. Slides and zarr always are.
        axis: how NIfTI volumes are sliced.
    """
    try:
        if is_slide(path):
            return Survey(image_size(path), 1, is_for_tiles=True)
        with open_file(path, Display(axis=axis)) as file:
            size, num_planes = file.size, file.source.num_planes
            is_larger = has_many_pixels(size) if tile is None else num_planes == 1 and 0 < tile < max(size)
            return Survey(size, num_planes, is_for_tiles=file.has_regions and is_larger)
    except (ValueError, ImportError) as error:
        return Survey(None, 1, is_slide(path), str(error) if isinstance(error, ValueError) else None)


def is_large(source: Any) -> bool:
    """Whether an image is meant for regions: a slide, zarr, or one of at least `LARGE` pixels. Broken files are not."""
    if isinstance(source, np.ndarray):
        return source.shape[0] * source.shape[1] >= LARGE
    return survey(Path(source)).is_for_tiles


def has_many_pixels(size: tuple[int, int]) -> bool:
    """Whether an image of (height, width) is meant for regions."""
    return math.prod(size) >= LARGE


def is_slide(path: Path) -> bool:
    """Whether a file is a slide, or a folder zarr: what is read in regions alone."""
    return path.suffix.lower() in SLIDE_SUFFIXES or is_zarr(path)


def is_zarr(path: str | Path) -> bool:
    """Whether a folder is a zarr array, or a group such as OME-Zarr."""
    return os.path.isdir(path) and any((Path(path) / name).is_file() for name in _ZARR_FILES)


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of what `open_large` opens, from the file's header; a TIFF may have any number of pixels."""
    path = Path(path)
    if is_slide(path):
        with open_large(path, channels=None) as image:
            return image.size
    with open_file(path) as file:
        return file.size


def open_large(source: Any, *, channels: int | None = 3, scaling: Scaling = "all_channels") -> LargeImage:
    """Opens an image of any size.

    Read in regions are TIFF and OME-TIFF (in tiles, strips or uncompressed, any pyramid), slides that tiffslide knows, zarr
    arrays, OME-Zarr, `.npy`, and arrays. Everything else, PNG and JPEG say, can only be decoded whole, up to `MAX_PIXELS`.

    Args:
        source: a path; or an (H, W) or (H, W, C) array, of NumPy, mapped from a file, or of zarr.
        channels: of the model; None: as many as the file has.
        scaling: how values of more than 8 bits become bytes, see `ImageConfig`.

    Raises:
        ValueError: for a file that cannot be read; for several planes; for other channels than the model's.
        ImportError: what reads the format is not installed.
    """
    display = Display(channels=channels, scaling=scaling)
    if not isinstance(source, (str, Path)):
        if len(getattr(source, "shape", ())) not in (2, 3):
            raise ValueError(f"An image is an (H, W) or (H, W, C) array; received shape {getattr(source, 'shape', None)}.")
        return large_image(source, "YXC"[: len(source.shape)], None, display)
    path = Path(source)
    if is_zarr(path):
        return _open_zarr(path, display)
    if path.suffix.lower() in SLIDE_SUFFIXES:
        return _open_slide(path, display)
    file = open_file(path, display)
    try:
        large = file.regions()
    except BaseException:
        file.close()
        raise
    large.close_too(file.close)
    return large


def read_whole_zarr(path: str | Path, *, channels: int, scaling: Scaling) -> np.ndarray:
    """(H, W, C) uint8: all of a folder zarr, which `read_image` does not take.

    Raises:
        ValueError, ImportError: as `open_large`.
    """
    with open_large(path, channels=channels, scaling=scaling) as large:
        height, width = large.size
        return large.read((0, 0, width, height))


class _Slide:
    """Level 0 of a slide as an array."""

    def __init__(self, slide: Any) -> None:
        width, height = slide.dimensions
        self.slide, self.shape, self.dtype = slide, (height, width, 3), np.dtype(np.uint8)

    def __getitem__(self, places: tuple[slice, slice, slice]) -> np.ndarray:
        rows, columns, _ = places
        size = columns.stop - columns.start, rows.stop - rows.start
        return self.slide.read_region((columns.start, rows.start), 0, size, as_array=True)[:, :, :3]


def _open_slide(path: Path, display: Display) -> LargeImage:
    tiffslide = extras.load("tiffslide", extra="large", why="Slides need tiffslide")
    with errors_in_one_line(path):
        slide = tiffslide.TiffSlide(path)
    return large_image(_Slide(slide), "YXC", str(path), display, slide.close)


def _open_zarr(path: Path, display: Display) -> LargeImage:
    zarr = extras.load("zarr", extra="large", why="zarr files need zarr")
    with errors_in_one_line(path):
        opened = zarr.open(path, mode="r")
        stored = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        if hasattr(opened, "shape"):
            check_sparse(math.prod(opened.shape), stored)
            return large_image(opened, _axes_of(opened.shape), str(path), display)
        attributes = dict(opened.attrs)
        scales = attributes.get("ome", attributes).get("multiscales")  # OME-Zarr 0.5, and before
        if not scales:
            raise ValueError("the group is no OME-Zarr image; name one of its arrays")
        array = opened[scales[0]["datasets"][0]["path"]]
        check_sparse(math.prod(array.shape), stored)
        axes = "".join(axis if isinstance(axis, str) else axis["name"] for axis in scales[0].get("axes", []))
    return large_image(array, axes.upper() or "TCZYX", str(path), display)


def _axes_of(shape: Sequence[int]) -> str:
    """Of an array without names: channels are the few behind the image, or before it."""
    if len(shape) == 3 and shape[0] < shape[2]:
        return "CYX"
    return "YXC"[: len(shape)]
