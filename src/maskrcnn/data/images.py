"""Reads any picture as bytes, RGB or of other channels, and finds pictures in folders."""

from __future__ import annotations

import glob
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from maskrcnn import extras
from maskrcnn.config import Scaling

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".npy")
DICOM_SUFFIXES = (".dcm", ".dicom")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
ALL_SUFFIXES = (*PICTURE_SUFFIXES, *DICOM_SUFFIXES, *NIFTI_SUFFIXES)
MAX_PIXELS = 178_956_970  # Pillow refuses what is larger: twice its MAX_IMAGE_PIXELS
_SAMPLES_PER_PIXEL = 277  # TIFF 6.0
_PLANAR_CONFIGURATION = 284  # TIFF 6.0: 1 is pixel by pixel, 2 channel by channel
TIFFFILE_UNPACKS = (1, 8, 32773, 32946, 34925)  # TIFF without a further library: nothing, deflate, PackBits, deflate, LZMA
_OPENCV_UNPACKS = (1, 5, 8, 32773, 32946)  # nothing, LZW, deflate, PackBits, deflate
_SAMPLE_FORMAT = 339  # TIFF 6.0, with …
_UNSIGNED, _SIGNED = 1, 2  # … two of its values
_MISREAD: dict[tuple[str, int, int], type] = {("uint8", 8, _SIGNED): np.int8, ("int32", 32, _UNSIGNED): np.uint32}  # by Pillow
_PHOTOMETRIC = 262  # TIFF 6.0, with …
_WHITE_AT_ZERO = 0  # … its MINISWHITE …
_CMYK_AND_LAB = (5, 8, 9, 10)  # … and others
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def read_image(path: str | Path, *, channels: int = 3, scaling: Scaling = "all_channels") -> np.ndarray:
    """Reads a picture as a person sees it: EXIF rotation applied, grey and palette turned into colours.

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
        channels: how many the picture shall have.
        scaling: of values of more than 8 bits, see `ImageConfig.scaling`.

    Returns:
        (H, W, channels) uint8; RGB where that is 3.

    Raises:
        ValueError: for a file that is missing, no picture, cut off, larger than `MAX_PIXELS` or of other channels; one line
            that names it.
        ImportError: for DICOM and NIfTI where what reads them is not installed.
    """
    with errors_in_one_line(path):
        if kind_of(path) in ("dicom", "nifti"):
            from maskrcnn.data.planes import read_plane  # it reads every other picture through this module

            return to_picture(read_plane(path).image, channels)
        return to_picture(read_values(path, channels), channels, scaling)


def decoded_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of a picture of any channels, after all of its pixels were decoded: so those that are cut off are found.

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
        ValueError: as `read_image`; a picture whose pixels are cut off is not noticed.
    """
    with errors_in_one_line(path):
        if kind_of(path) in ("dicom", "nifti"):
            from maskrcnn.data.planes import read_plane_size

            return read_plane_size(path)
        if _is_array(path):
            return _open_array(path).shape[:2]
        try:
            with Image.open(path) as picture:
                if picture.format == "TIFF" and picture.n_frames > 1:  # type: ignore[attr-defined]
                    from maskrcnn.data.stacks import TiffStack  # it reads single pages through this module

                    with TiffStack(path) as stack:
                        return stack.size
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
    with errors_in_one_line(path):
        try:
            with _opened(path) as picture:
                values = _in_own_depth(picture)
        except UnidentifiedImageError:
            values = _read_scientific_tiff(path)
        if values.ndim != 2:
            raise ValueError(f"a label map has one value a pixel; received {values.shape[2]}")
        labels = values.astype(np.int64)
        if (labels < 0).any() or (values.dtype.kind == "f" and (labels != values).any()):
            raise ValueError("the values of a label map are whole numbers from 0")
        return labels


def find_pictures(inputs: Iterable[str | Path], *, is_slide: Callable[[Path], bool] = lambda _: False) -> list[Path]:
    """The pictures that files, folders and globs stand for, each once, in the order of the inputs, sorted within each.

    A folder gives the pictures directly in it; `**` in a glob reaches deeper. A named file is taken whatever its suffix, and
    DICOM files, whose names often say nothing, are known by their content.

    Args:
        is_slide: tells of other files, and of folders, that they are pictures; what lies in such a folder is none.

    Raises:
        ValueError: for a file that does not exist, and for a folder or a glob without pictures.
    """
    found: list[Path] = []
    for given in inputs:
        path = Path(given)
        if path.is_file() or (path.is_dir() and is_slide(path)):
            found.append(path)
            continue
        if path.is_dir():
            candidates = sorted(path.iterdir())
        elif glob.has_magic(str(given)):
            candidates = sorted(Path(match) for match in glob.glob(str(given), recursive=True))
        else:
            raise ValueError(f"There is no file or folder {given}.")
        folders = {path for path in candidates if path.is_dir() and is_slide(path)}
        files = (path for path in candidates if path.is_file() and (_is_picture(path) or is_slide(path)))
        pictures = sorted(path for path in (*folders, *files) if folders.isdisjoint(path.parents))
        if not pictures:
            raise ValueError(f"There are no pictures in {given}; wanted are files that end with {', '.join(ALL_SUFFIXES)}.")
        found += pictures
    return list(dict.fromkeys(found))


def check_size(height: int, width: int) -> None:
    """Refuses, before its pixels are read, what Pillow would refuse."""
    if height * width > MAX_PIXELS:
        raise Image.DecompressionBombError


def kind_of(path: str | Path) -> Literal["picture", "tiff", "dicom", "nifti"]:
    """Which reader a file is for, by its name, or by DICOM's mark where the name says nothing."""
    name = Path(path).name.lower()
    if name.endswith((".tif", ".tiff")):
        return "tiff"
    if name.endswith(NIFTI_SUFFIXES):
        return "nifti"
    if name.endswith(DICOM_SUFFIXES) or (not name.endswith(PICTURE_SUFFIXES) and _has_dicom_mark(path)):
        return "dicom"
    return "picture"


def _is_picture(file: Path) -> bool:
    name = file.name.lower()
    return name.endswith(ALL_SUFFIXES) or (name != "dicomdir" and _has_dicom_mark(file))


def _has_dicom_mark(path: str | Path) -> bool:
    """Whether DICM stands behind a preamble of 128 bytes (DICOM PS3.10, section 7.1)."""
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


@contextmanager
def errors_in_one_line(path: str | Path) -> Iterator[None]:
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


def read_values(path: str | Path, channels: int | None = 3) -> np.ndarray:
    """(H, W), (H, W, 3) RGB, or (H, W, C) where the file names other channels; upright, in the file's own depth.

    Args:
        path: as for `read_image`, but DICOM and NIfTI.
        channels: how many are wanted, to tell a fourth sample that counts from transparency; None where it does not matter.
    """
    if _is_array(path):
        return np.array(_open_array(path))
    try:
        with _opened(path) as picture:
            if picture.format == "TIFF" and _may_name_channels(picture) and _names_channels(path, channels):
                return _read_channels(path)
            orientation, deep = _orientation(picture), _is_deep(picture)
            picture.load()  # raises where the file is cut off, which OpenCV passes over
            if not deep:
                values = byte_values(picture, channels)
            elif len(picture.getbands()) == 1:
                values = own_values(picture)
            else:
                values = _read_deep_colors(picture, path, channels)
            return _upright(values, orientation)
    except UnidentifiedImageError:
        return _read_channels(path) if _names_channels(path, channels) else _read_scientific_tiff(path)


def byte_values(picture: Image.Image, channels: int | None) -> np.ndarray:
    """Pillow's picture of 8 bits as RGB; grey and transparency as they are where `channels` wants them."""
    alpha_counts = picture.mode in ("LA", "RGBA") and len(picture.getbands()) == channels
    as_it_is = alpha_counts or (picture.mode == "L" and channels != 3)
    return np.asarray(picture if as_it_is else picture.convert("RGB"))


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    """Pillow's picture, of an open file: of a name it maps uncompressed grey as it lies, in the size it has when turned."""
    with open(path, "rb") as file, Image.open(file) as picture:
        yield picture


def _is_array(path: str | Path) -> bool:
    return Path(path).suffix.lower() == ".npy"


def _open_array(path: str | Path) -> np.ndarray:
    """NumPy's file, its values left on the disk; one that holds Python objects is refused, as `allow_pickle=False` does."""
    values = np.lib.format.open_memmap(path, mode="r")
    if values.ndim not in (2, 3) or 0 in values.shape or values.dtype.kind not in "buif":
        raise ValueError(f"a picture is an array (H, W) or (H, W, C) of numbers; received {values.dtype} {values.shape}")
    if values.shape[0] * values.shape[1] > MAX_PIXELS or values.size > 4 * MAX_PIXELS:
        raise Image.DecompressionBombError
    return values


def _may_name_channels(picture: Any) -> bool:
    """Whether a TIFF is worth a second look: all but those of one page that is grey or RGB."""
    return picture.n_frames > 1 or picture.tag_v2.get(_SAMPLES_PER_PIXEL, 1) not in (1, 3)


def _names_channels(path: str | Path, channels: int | None) -> bool:
    """Whether a TIFF has channels that its first page alone, seen as grey or RGB, does not show."""
    with _open_tiff(path) as file:
        series, samples = file.series[0], file.pages[0].samplesperpixel
        found = math.prod(length for axis, length in zip(series.axes, series.shape) if axis in "CS")
        return found != samples or samples not in (1, 3, 4) or channels == samples == 4


def _read_channels(path: str | Path) -> np.ndarray:
    """The first plane of a TIFF with all of its channels, (H, W, C)."""
    from maskrcnn.data.stacks import TiffStack  # it reads single pages through this module

    with TiffStack(path) as stack:
        if math.prod(stack.size) > MAX_PIXELS:
            raise Image.DecompressionBombError
        return stack.read(1)


def _is_deep(picture: Image.Image) -> bool:
    """Whether a channel is more than a byte in the file, or has a sign; Pillow itself cuts colours of 16 bits to 8."""
    if picture.format == "TIFF":
        bits, kind = _sample(picture)
        return bits > 8 or kind == _SIGNED
    return picture.mode in ("I", "F") or picture.mode.startswith("I;16") or ";16" in str(getattr(picture, "tile", ""))


def _sample(tiff: Any) -> tuple[int, int]:
    """How many bits a sample has in a TIFF, and its SampleFormat."""
    tags = tiff.tag_v2
    return max(tags.get(ExifTags.Base.BitsPerSample, (1,))), tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0]


def _in_own_depth(picture: Image.Image) -> np.ndarray:
    """Pillow's values, but of a TIFF's int8 and uint32, which it reads as uint8 and int32."""
    values = np.asarray(picture)
    kind = _MISREAD.get((str(values.dtype), *_sample(picture))) if picture.format == "TIFF" else None
    return values if kind is None else values.view(kind)


def own_values(picture: Any) -> np.ndarray:
    """Pillow's picture in the file's own depth, with black at 0."""
    values = _in_own_depth(picture)
    if picture.format == "TIFF" and _sample(picture)[0] > 8:  # up to 8 bits Pillow turns over by itself
        return _black_at_zero(values, picture.tag_v2.get(_PHOTOMETRIC), _sample(picture)[0])
    return values


def _black_at_zero(values: np.ndarray, photometric: int | None, bits: int) -> np.ndarray:
    """A TIFF's values, turned over where 0 is white; of fractions nobody says what black would be."""
    if photometric != _WHITE_AT_ZERO or values.dtype.kind not in "bui":
        return values
    return np.array(2**bits - 1, values.dtype) - values if values.dtype.kind == "u" else ~values


def _read_deep_colors(picture: Image.Image, path: str | Path, channels: int | None) -> np.ndarray:
    """(H, W, 3) RGB of 16 bits; (H, W, 4) where there are 4 and as many are wanted."""
    if picture.format == "TIFF":
        tags = picture.tag_v2  # type: ignore[attr-defined]
        # OpenCV mixes up channels that lie one behind the other, and knows no other colours and few kinds of compression.
        mixed_up = tags.get(_PLANAR_CONFIGURATION) == 2 or tags.get(_PHOTOMETRIC) in _CMYK_AND_LAB
        if mixed_up or tags.get(ExifTags.Base.Compression, 1) not in _OPENCV_UNPACKS:
            return _read_scientific_tiff(path)
    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 3:
        raise ValueError("its colours of 16 bits cannot be decoded")
    return values[:, :, (2, 1, 0, 3) if channels == values.shape[2] == 4 else (2, 1, 0)]  # from BGR or BGRA


def _read_scientific_tiff(path: str | Path, *, pixels: bool = True) -> np.ndarray:
    """A TIFF that Pillow does not know, 64 bits or colours as floats, say; with `pixels=False` an empty array of its shape."""
    with _open_tiff(path) as file:
        page = file.pages[0]
        orientation = page.tags.valueof(ExifTags.Base.Orientation, default=1)
        if page.axes not in ("YX", "YXS", "SYX"):
            raise ValueError(f"a picture has rows, columns and channels; received an array of shape {page.shape} ({page.axes})")
        if page.samplesperpixel > 2 and page.photometric in _CMYK_AND_LAB:
            raise ValueError(f"its colours are {page.photometric.name}, which is read of 8 bits only; save it as RGB")
        if np.prod(page.shape, dtype=np.int64) > 4 * MAX_PIXELS:
            raise Image.DecompressionBombError
        if pixels and page.compression not in TIFFFILE_UNPACKS:
            name = getattr(page.compression, "name", page.compression)
            extras.load("imagecodecs", extra="large", why=f"its compression, {name}, needs imagecodecs")
        values = as_brightness(page.asarray(), page) if pixels else np.broadcast_to(np.zeros(1, page.dtype), page.shape)
    values = _upright(np.moveaxis(values, 0, 2) if page.axes == "SYX" else values, orientation)
    return values if values.ndim == 2 else values[:, :, :3]  # a fourth is transparency


def as_brightness(values: np.ndarray, page: Any) -> np.ndarray:
    """What tifffile decoded of a page, with black at 0."""
    return _black_at_zero(values, page.keyframe.tags.valueof(_PHOTOMETRIC), page.keyframe.bitspersample)


def _open_tiff(path: str | Path) -> Any:
    import tifffile  # rarely needed

    try:
        return tifffile.TiffFile(path)
    except tifffile.TiffFileError:
        raise UnidentifiedImageError from None


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


def to_picture(values: np.ndarray, channels: int = 3, scaling: Scaling = "all_channels") -> np.ndarray:
    """Values of any kind as a model of so many channels takes them.

    Args:
        values: (H, W) or (H, W, C); bytes stay, all else is stretched.
        channels: of the model.
        scaling: how it is stretched, see `ImageConfig.scaling`.

    Returns:
        (H, W, channels) uint8: grey repeated for 3 channels, RGB as luma for 1.

    Raises:
        ValueError: for any other number of channels than the model's; for complex values.
    """
    found = values.shape[2] if values.ndim == 3 else 1
    if values.ndim not in (2, 3) or 0 in values.shape or (found, channels) not in ((found, found), (1, 3), (3, 1)):
        more = {1: ", (H, W) or (H, W, 3)", 3: " or (H, W)"}.get(channels, "")
        wanted = f"a picture for a model of {channels} channels is (H, W, {channels}){more}"
        raise ValueError(f"{wanted}; received shape {values.shape}")
    check_real(values)
    if (found, channels) == (3, 1):
        luma = values.astype(np.float32) @ _LUMA
        values = np.rint(luma).astype(np.uint8) if values.dtype == np.uint8 else luma
    values = values.reshape(*values.shape[:2], -1)
    shown = values if values.dtype == np.uint8 else stretch(values, scaling)
    return np.ascontiguousarray(np.broadcast_to(shown, (*shown.shape[:2], channels)))


def check_real(values: np.ndarray) -> None:
    """Refuses complex values, of which NumPy would show the real part alone."""
    if np.iscomplexobj(values):
        raise ValueError(f"a picture has real values; received {values.dtype}; save what shall be seen, as np.abs(values)")


def stretch(values: np.ndarray, scaling: Scaling = "all_channels") -> np.ndarray:
    """Values of any kind to uint8, between their `limits`. What is no number is black, as -inf is; inf is white."""
    values = values.astype(np.float32)
    return between(values, *limits(values, each_channel=values.ndim == 3 and scaling == "each_channel"))


def limits(values: np.ndarray, *, each_channel: bool) -> tuple[np.ndarray, np.ndarray]:
    """What becomes 0 and what 255: the 0.1th and the 99.9th percentile of what is finite; its extremes where these are equal.

    Args:
        values: (..., C) float.
        each_channel: whether of each channel by itself.

    Returns:
        Two arrays, (C,) or (1,).
    """
    groups = values.reshape(-1, values.shape[-1]).T if each_channel else values.reshape(1, -1)
    pairs = []
    for group in groups:
        finite = group[np.isfinite(group)]
        low, high = np.percentile(finite, (0.1, 99.9)) if finite.size else (0.0, 0.0)
        pairs.append((finite.min(), finite.max()) if low == high and finite.size else (low, high))
    low, high = np.array(pairs).T
    return low, high


def between(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Float values as uint8: `low` and less become 0, `high` and more 255, NaN 0."""
    levels = (values - low) * (255.0 / np.maximum(high - low, 1e-30)) + 0.5
    return np.nan_to_num(np.clip(levels, 0, 255)).astype(np.uint8)
