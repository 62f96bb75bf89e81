"""Regions of images of any size, read when they are asked for: TIFF, slides, zarr, arrays.

A region is (left, top, right, bottom) in whole pixels. Of a pyramid the largest level is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn import extras
from maskrcnn.config.model import Scaling
from maskrcnn.images.declared import check_sparse, check_tiff
from maskrcnn.images.files import MAX_PIXELS, errors_in_one_line, kind_of
from maskrcnn.images.images import count_planes, read_size
from maskrcnn.images.large import LargeImage
from maskrcnn.images.plain import read_values
from maskrcnn.images.stacks import image_series
from maskrcnn.images.tiff import TIFFFILE_UNPACKS

LARGE = 100_000_000  # pixels from which on an image is meant for regions; cameras' photos have fewer
SMALL = 1 << 24  # pixels up to which a file is read whole: 48 MB of colours
SLIDE_SUFFIXES = (".svs", ".ndpi", ".scn", ".bif")  # Aperio, Hamamatsu, Leica, Ventana
_ZARR_FILES = ("zarr.json", ".zarray", ".zattrs", ".zgroup")  # zarr 3, and 2
_PLAIN_TIFF = (1, 2, 6)  # photometric: black is 0, RGB, YCbCr (TIFF 6.0); the others need more than their pixels
_ORIENTATION = 274  # TIFF 6.0: 1 is upright


def is_large(source: Any) -> bool:
    """Whether an image is meant for regions: a slide, zarr, or one of at least `LARGE` pixels. Broken files are not."""
    if isinstance(source, np.ndarray):
        return source.shape[0] * source.shape[1] >= LARGE
    path = Path(source)
    if is_slide(path):
        return True
    try:
        return math.prod(image_size(path)) >= LARGE and kind_of(path) in ("image", "tiff")
    except (ValueError, ImportError):
        return False


def is_for_tiles(path: Path, tile: int | None) -> bool:
    """Whether an image is found in tiles: where it `is_large`, or larger than the `tile` that was asked for; with 0 never."""
    if tile is None or is_slide(path):
        return is_large(path)
    try:
        return 0 < tile < max(image_size(path)) and kind_of(path) in ("image", "tiff") and count_planes(path) == 1
    except (ValueError, ImportError):
        return False


def is_slide(path: Path) -> bool:
    """Whether a file is a slide, or a folder zarr: what is read in regions alone."""
    return path.suffix.lower() in SLIDE_SUFFIXES or is_zarr(path)


def is_zarr(path: str | Path) -> bool:
    """Whether a folder is a zarr array, or a group such as OME-Zarr."""
    return any((Path(path) / name).is_file() for name in _ZARR_FILES)


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of what `open_large` opens, from the file's header; a TIFF may have any number of pixels."""
    path = Path(path)
    if is_zarr(path) or path.suffix.lower() in (*SLIDE_SUFFIXES, ".npy"):
        with open_large(path, channels=0) as image:
            return image.size
    if kind_of(path) == "tiff":
        import tifffile

        with errors_in_one_line(path):
            try:
                with tifffile.TiffFile(path) as file:
                    page = file.pages[0]
                    check_tiff(file)
                    if page.tags.valueof(_ORIENTATION, default=1) == 1:
                        return int(page.imagelength), int(page.imagewidth)
            except tifffile.TiffFileError:
                pass  # `read_size` says what is wrong with it
    return read_size(path)


def open_large(source: Any, *, channels: int = 3, scaling: Scaling = "all_channels") -> LargeImage:
    """Opens an image of any size.

    Read in regions are TIFF and OME-TIFF (in tiles, strips or uncompressed, any pyramid), slides that tiffslide knows, zarr
    arrays, OME-Zarr, `.npy`, and arrays. Everything else, PNG and JPEG say, can only be decoded whole, up to `MAX_PIXELS`.

    Args:
        source: a path; or an (H, W) or (H, W, C) array, of NumPy, mapped from a file, or of zarr.
        channels: of the model.
        scaling: how values of more than 8 bits become bytes, see `ImageConfig`.

    Raises:
        ValueError: for a file that cannot be read; for several planes; for other channels than the model's.
        ImportError: what reads the format is not installed.
    """
    options: dict[str, Any] = {"channels": channels, "scaling": scaling}
    if not isinstance(source, (str, Path)):
        if len(getattr(source, "shape", ())) not in (2, 3):
            raise ValueError(f"An image is an (H, W) or (H, W, C) array; received shape {getattr(source, 'shape', None)}.")
        return _checked(source, "YXC"[: len(source.shape)], None, options)
    path = Path(source)
    if is_zarr(path):
        return _open_zarr(path, options)
    if path.suffix.lower() in SLIDE_SUFFIXES:
        return _open_slide(path, options)
    if path.suffix.lower() == ".npy":
        with errors_in_one_line(path):
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        return _checked(array, "YXC"[: array.ndim], path, options)
    if kind_of(path) == "tiff" and math.prod(image_size(path)) > SMALL:
        opened = _open_tiff(path, options)
        if opened is not None:
            return opened
    with errors_in_one_line(path):
        if math.prod(image_size(path)) > MAX_PIXELS:
            raise ValueError(
                f"it has more than {MAX_PIXELS // 10**6} million pixels and can only be decoded whole; "
                "convert it to a tiled TIFF, with vips or tifffile"
            )
        values = read_values(path, channels)
    return _checked(values, "YXC"[: values.ndim], path, options)


def _checked(
    array: Any, axes: str, path: Path | None, options: dict[str, Any], close: Callable[[], Any] | None = None
) -> LargeImage:
    """The image, whatever its channels where `channels` is 0; closed again where it is none."""
    if not options["channels"]:
        own = [length for name, length in zip(axes, array.shape) if name in "SC"]
        options = options | {"channels": own[0] if own else 1}
    close = close or (lambda: None)
    try:
        if len(axes) != len(array.shape) or array.dtype.kind not in "uif":
            raise ValueError(f"{path or 'The array'} holds no image; received shape {array.shape} of {array.dtype}.")
        return LargeImage(array, axes, path=None if path is None else str(path), close=close, **options)
    except BaseException:
        close()
        raise


def _open_tiff(path: Path, options: dict[str, Any]) -> LargeImage | None:
    """A TIFF in regions; None where its pixels alone are not the image (palettes, white at 0, turned), or in one piece."""
    import tifffile

    with ExitStack() as on_the_way:  # closes the file, unless it is handed on
        with errors_in_one_line(path):
            file = on_the_way.enter_context(tifffile.TiffFile(path))
            page = file.pages[0]
            check_tiff(file)
            series, *others = image_series(file)
            if others:
                raise ValueError("it holds several images; wanted is one: maskrcnn.read_planes gives them one by one")
            turned = page.tags.valueof(_ORIENTATION, default=1) != 1
            if page.photometric not in _PLAIN_TIFF or page.bitspersample not in (8, 16, 32, 64) or turned:
                return None
            if page.is_memmappable and len(series.pages) == 1:
                return _checked(tifffile.memmap(path, page=0, mode="r"), page.axes, path, options)
        if page.compression not in TIFFFILE_UNPACKS:
            extras.load("imagecodecs", extra="large", why=f"{path} is compressed in a way that needs imagecodecs")
        zarr = extras.load("zarr", extra="large", why=f"Reading regions of {path} needs zarr")
        with errors_in_one_line(path):
            array = zarr.open(series.aszarr(level=0), mode="r")
        chunks = dict(zip(series.axes, array.chunks))
        if chunks["Y"] >= page.imagelength and chunks["X"] >= page.imagewidth:
            return None
        return _checked(array, series.axes, path, options, on_the_way.pop_all().close)


class _Slide:
    """Level 0 of a slide as an array."""

    def __init__(self, slide: Any) -> None:
        width, height = slide.dimensions
        self.slide, self.shape, self.dtype = slide, (height, width, 3), np.dtype(np.uint8)

    def __getitem__(self, places: tuple[slice, slice, slice]) -> np.ndarray:
        rows, columns, _ = places
        size = columns.stop - columns.start, rows.stop - rows.start
        return self.slide.read_region((columns.start, rows.start), 0, size, as_array=True)[:, :, :3]


def _open_slide(path: Path, options: dict[str, Any]) -> LargeImage:
    tiffslide = extras.load("tiffslide", extra="large", why="Slides need tiffslide")
    with errors_in_one_line(path):
        slide = tiffslide.TiffSlide(path)
    return _checked(_Slide(slide), "YXC", path, options, slide.close)


def _open_zarr(path: Path, options: dict[str, Any]) -> LargeImage:
    zarr = extras.load("zarr", extra="large", why="zarr files need zarr")
    with errors_in_one_line(path):
        opened = zarr.open(path, mode="r")
        stored = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        if hasattr(opened, "shape"):
            check_sparse(math.prod(opened.shape), stored)
            return _checked(opened, _axes_of(opened.shape), path, options)
        attributes = dict(opened.attrs)
        scales = attributes.get("ome", attributes).get("multiscales")  # OME-Zarr 0.5, and before
        if not scales:
            raise ValueError("the group is no OME-Zarr image; name one of its arrays")
        array = opened[scales[0]["datasets"][0]["path"]]
        check_sparse(math.prod(array.shape), stored)
        axes = [axis if isinstance(axis, str) else axis["name"] for axis in scales[0].get("axes", [])]
    return _checked(array, "".join(axes).upper() or "TCZYX", path, options)


def _axes_of(shape: Sequence[int]) -> str:
    """Of an array without names: channels are the few behind the image, or before it."""
    if len(shape) == 3 and shape[0] < shape[2]:
        return "CYX"
    return "YXC"[: len(shape)]
