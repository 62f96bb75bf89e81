"""Image files by name: suffixes, kinds, folders, and errors in one line."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

PLAIN_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".tif", ".tiff", ".bmp", ".dib", ".webp", ".gif", ".avif", ".heic",
    ".heif", ".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".qoi", ".jxl", ".npy",
)  # fmt: skip
DICOM_SUFFIXES = (".dcm", ".dicom")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
ALL_SUFFIXES = (*PLAIN_SUFFIXES, *DICOM_SUFFIXES, *NIFTI_SUFFIXES)
MAX_PIXELS = 178_956_970  # Pillow refuses what is larger: twice its MAX_IMAGE_PIXELS


class Found(NamedTuple):
    """What files, folders and globs stand for.

    Attributes:
        images: each once, in the order of the inputs, sorted within each.
        others: files of the folders and globs that are no images by their names.
    """

    images: list[Path]
    others: list[Path]

    def said_of_others(self) -> str | None:
        """A line that counts the other files by suffix; None where there are none."""
        if not self.others:
            return None
        suffixes = Counter(path.suffix.lower() or "no suffix" for path in self.others).most_common()
        listed = ", ".join(f"{count} {suffix}" for suffix, count in suffixes[:5]) + (", …" if len(suffixes) > 5 else "")
        return f"{len(self.others)} other file{'s' * (len(self.others) > 1)} left out, no images by name: {listed}"


def find_images(inputs: Iterable[str | Path], *, is_slide: Callable[[Path], bool] = lambda _: False) -> list[Path]:
    """The images that files, folders and globs stand for; see `search_images`."""
    return search_images(inputs, is_slide=is_slide).images


def search_images(inputs: Iterable[str | Path], *, is_slide: Callable[[Path], bool] = lambda _: False) -> Found:
    """The images that files, folders and globs stand for, and the other files of those folders.

    A folder gives the images directly in it; `**` in a glob reaches deeper. A named file is taken whatever its suffix, and
    DICOM files, whose names often say nothing, are known by their content.

    Args:
        inputs: files, folders and globs.
        is_slide: tells of other files, and of folders, that they are images; what lies in such a folder is none.

    Raises:
        ValueError: for a file that does not exist, and for a folder or a glob without images.
    """
    found: list[Path] = []
    others: list[Path] = []
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
        files = [path for path in candidates if path.is_file() and folders.isdisjoint(path.parents)]
        named = [path for path in files if _is_image(path) or is_slide(path)]
        images = sorted((*(path for path in folders if folders.isdisjoint(path.parents)), *named))
        if not images:
            raise ValueError(f"There are no images in {given}; wanted are files that end with {', '.join(ALL_SUFFIXES)}.")
        found += images
        others += sorted(set(files) - set(named))
    return Found(list(dict.fromkeys(found)), list(dict.fromkeys(others)))


def check_size(height: int, width: int) -> None:
    """Refuses, before its pixels are read, what Pillow would refuse."""
    if height * width > MAX_PIXELS:
        raise Image.DecompressionBombError


def _is_image(file: Path) -> bool:
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
    """Turns whatever goes wrong inside into a ValueError of one line that names the image."""
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"Cannot read {path}: there is no such file.") from None
    except UnidentifiedImageError:
        raise ValueError(f"Cannot read {path}: it is no image of a known kind.") from None
    except Image.DecompressionBombError:
        raise ValueError(f"Cannot read {path}: it has more than {MAX_PIXELS // 10**6} million pixels.") from None
    except Exception as error:  # broken files make the decoders raise nearly everything: OSError, SyntaxError, struct.error, …
        if str(error).startswith(f"Cannot read {path}: "):  # said by a reader further inside
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"Cannot read {path}: {reason.rstrip('.')}.") from error
