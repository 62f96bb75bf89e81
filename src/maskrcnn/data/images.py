"""Reads any picture as RGB bytes, and finds pictures in folders."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
MAX_PIXELS = 178_956_970  # Pillow refuses what is larger: twice its MAX_IMAGE_PIXELS
_PLANAR_CONFIGURATION = 284  # TIFF 6.0: 1 is pixel by pixel, 2 channel by channel


def read_image(path: str | Path) -> np.ndarray:
    """Reads a picture as a person sees it: EXIF rotation applied, grey and palette turned into colours.

    Transparency is dropped, not blended: the colours below it are what OpenCV, detectron2 and torchvision hand to a model too,
    and any ground to blend with would be invented. Of several frames or pages the first is read.

    Values of more than 8 bits (16-bit PNG and TIFF, float TIFF) are stretched so that their 0.1th percentile becomes 0 and
    their 99.9th 255, all channels together. Microscopes fill a small part of the 16 bits (33,000 to 35,000, say), which a fixed
    shift by 8 bits would turn into one flat grey; percentiles keep a few hot pixels from doing the same.

    Args:
        path: JPEG, PNG, TIFF, BMP, WebP or whatever else Pillow knows.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        ValueError: for a file that is missing, no picture, cut off, or larger than `MAX_PIXELS`; one line that names it.
    """
    with _errors_in_one_line(path):
        values = _read_values(path)
        if values.dtype != np.uint8:
            values = _stretch(values)
        if values.ndim == 2:
            values = np.repeat(values[:, :, None], 3, axis=2)
        return np.ascontiguousarray(values)


def read_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of what `read_image` gives, from the file's header alone.

    Raises:
        ValueError: as `read_image`; a picture whose pixels are cut off is not noticed.
    """
    with _errors_in_one_line(path):
        try:
            with Image.open(path) as picture:
                width, height = picture.size
                return (width, height) if _orientation(picture) >= 5 else (height, width)
        except UnidentifiedImageError:
            return _read_scientific_tiff(path, pixels=False).shape[:2]


def read_label_map(path: str | Path) -> np.ndarray:
    """Reads a picture whose values are numbers of objects: palette indices and 16 or 32 bits stay as they are.

    Returns:
        (H, W) int64, 0 is background.

    Raises:
        ValueError: as `read_image`, and for colours or fractions, which number nothing.
    """
    with _errors_in_one_line(path):
        try:
            with Image.open(path) as picture:
                values = np.asarray(picture)
        except UnidentifiedImageError:
            values = _read_scientific_tiff(path)
        if values.ndim != 2:
            raise ValueError(f"a label map has one value a pixel; received {values.shape[2]}")
        labels = values.astype(np.int64)
        if (labels < 0).any() or (values.dtype.kind == "f" and (labels != values).any()):
            raise ValueError("the values of a label map are whole numbers from 0")
        return labels


def find_pictures(inputs: Iterable[str | Path]) -> list[Path]:
    """The pictures that files, folders and globs stand for, each once, in the order of the inputs, sorted within each.

    A folder gives the pictures directly in it; `**` in a glob reaches deeper. A named file is taken whatever its suffix.

    Raises:
        ValueError: for a file that does not exist, and for a folder or a glob without pictures.
    """
    found: list[Path] = []
    for given in inputs:
        path = Path(given)
        if path.is_file():
            found.append(path)
            continue
        if path.is_dir():
            candidates = sorted(path.iterdir())
        elif glob.has_magic(str(given)):
            candidates = sorted(Path(match) for match in glob.glob(str(given), recursive=True))
        else:
            raise ValueError(f"There is no file or folder {given}.")
        pictures = [file for file in candidates if file.suffix.lower() in PICTURE_SUFFIXES and file.is_file()]
        if not pictures:
            raise ValueError(f"There are no pictures in {given}; wanted are files that end with {', '.join(PICTURE_SUFFIXES)}.")
        found += pictures
    return list(dict.fromkeys(found))


@contextmanager
def _errors_in_one_line(path: str | Path) -> Iterator[None]:
    """Turns whatever goes wrong inside into a ValueError of one line that names the picture."""
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"Cannot read {path}: there is no such file.") from None
    except UnidentifiedImageError:
        raise ValueError(f"Cannot read {path}: it is no picture of a known kind.") from None
    except Image.DecompressionBombError:
        raise ValueError(f"Cannot read {path}: it has more than {MAX_PIXELS // 10**6} million pixels.") from None
    except Exception as error:  # broken files make the decoders raise nearly everything: OSError, SyntaxError, struct.error, …
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"Cannot read {path}: {reason.rstrip('.')}.") from error


def _read_values(path: str | Path) -> np.ndarray:
    """(H, W) or (H, W, 3) RGB, upright, in the file's own depth."""
    try:
        picture = Image.open(path)
    except UnidentifiedImageError:
        return _read_scientific_tiff(path)
    with picture:
        orientation, deep = _orientation(picture), _is_deep(picture)
        picture.load()  # raises where the file is cut off, which OpenCV passes over
        if not deep:
            values = np.asarray(picture.convert("RGB"))
        elif len(picture.getbands()) == 1:
            values = np.asarray(picture)
        else:
            values = _read_deep_colors(picture, path)
    return _upright(values, orientation)


def _is_deep(picture: Image.Image) -> bool:
    """Whether a channel has more than 8 bits in the file; Pillow itself cuts colours of 16 bits to 8."""
    if picture.format == "TIFF":
        return max(picture.tag_v2.get(ExifTags.Base.BitsPerSample, (1,))) > 8  # type: ignore[attr-defined]
    return picture.mode in ("I", "F") or picture.mode.startswith("I;16") or ";16" in str(getattr(picture, "tile", ""))


def _read_deep_colors(picture: Image.Image, path: str | Path) -> np.ndarray:
    """(H, W, 3) RGB of 16 bits."""
    if picture.format == "TIFF" and picture.tag_v2.get(_PLANAR_CONFIGURATION) == 2:  # type: ignore[attr-defined]
        return _read_scientific_tiff(path)  # OpenCV mixes up channels that lie one behind the other
    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 3:
        raise ValueError("its colours of 16 bits cannot be decoded")
    return values[:, :, 2::-1]  # BGR or BGRA


def _read_scientific_tiff(path: str | Path, *, pixels: bool = True) -> np.ndarray:
    """A TIFF that Pillow does not know, 64 bits or colours as floats, say; with `pixels=False` an empty array of its shape."""
    import tifffile  # rarely needed

    try:
        file = tifffile.TiffFile(path)
    except tifffile.TiffFileError:
        raise UnidentifiedImageError from None
    with file:
        page = file.pages[0]
        if page.axes not in ("YX", "YXS", "SYX") or (page.axes != "YX" and page.samplesperpixel not in (3, 4)):
            raise ValueError(f"a picture has 1, 3 or 4 channels; received an array of shape {page.shape} ({page.axes})")
        if np.prod(page.shape, dtype=np.int64) > 4 * MAX_PIXELS:
            raise Image.DecompressionBombError
        values = page.asarray() if pixels else np.broadcast_to(np.zeros(1, page.dtype), page.shape)
    values = np.moveaxis(values, 0, 2) if page.axes == "SYX" else values
    return values if values.ndim == 2 else values[:, :, :3]


def _orientation(picture: Image.Image) -> int:
    """EXIF's orientation, 1 to 8, where it is still to be applied.

    Asked of the base class because PNG's own `getexif` decodes all pixels first, to look behind them. TIFF is turned by Pillow.
    """
    return 1 if picture.format == "TIFF" else Image.Image.getexif(picture).get(ExifTags.Base.Orientation, 1)


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes EXIF's orientation: from 5 on rows and columns are swapped, the rest are flips."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values


def _stretch(values: np.ndarray) -> np.ndarray:
    """Values of any kind to uint8, from the 0.1th to the 99.9th percentile; the extremes where these are equal."""
    values = np.nan_to_num(values.astype(np.float32))
    low, high = np.percentile(values, (0.1, 99.9))
    if low == high:
        low, high = values.min(), values.max()
    return np.clip((values - low) * (255.0 / max(high - low, 1e-30)) + 0.5, 0, 255).astype(np.uint8)
