"""From the bytes of an upload to pixels, by the rules of the package's own readers.

Only formats whose first bytes are known here are looked at, and only after the size that the file declares was found small
enough. On Linux the readers are given a file that exists in memory alone, so that nothing touches the disk.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from maskrcnn.config.model import ImageConfig
from maskrcnn.images.images import read_image, read_size
from maskrcnn.serving.problems import ProblemError

FORMATS = "PNG, JPEG, WebP, TIFF, BMP or DICOM"
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (  # at which byte, which bytes, and the suffix of such files
    (0, b"\x89PNG\r\n\x1a\n", ".png"),
    (0, b"\xff\xd8\xff", ".jpg"),
    (8, b"WEBP", ".webp"),
    (0, b"II*\0", ".tif"),
    (0, b"MM\0*", ".tif"),
    (0, b"II+\0", ".tif"),  # BigTIFF
    (0, b"MM\0+", ".tif"),
    (0, b"BM", ".bmp"),
    (128, b"DICM", ".dcm"),
)


class Upload(NamedTuple):
    """A file that a client sent."""

    name: str  # its last part only, for people to read; never a path to anything
    data: bytes


def suffix_of(data: bytes) -> str | None:
    """The suffix of the format that the bytes begin as; None where it is none of `FORMATS`."""
    return next((suffix for start, mark, suffix in _SIGNATURES if data[start : start + len(mark)] == mark), None)


def decode(upload: Upload, image_config: ImageConfig, max_pixels: int) -> np.ndarray:
    """The image, as the model takes it.

    Returns:
        (H, W, C) uint8.

    Raises:
        ProblemError: as `checked`.
    """
    with checked(upload, max_pixels) as path:
        return read_image(path, channels=image_config.channels, scaling=image_config.scaling)


@contextmanager
def checked(upload: Upload, max_pixels: int) -> Iterator[Path]:
    """A path of an upload whose format and size were looked at. What a reader complains of in the block becomes a problem.

    Raises:
        ProblemError: 415 for other formats, 413 for too many pixels, 422 for what cannot be read.
    """
    suffix = suffix_of(upload.data)
    if suffix is None:
        raise ProblemError(415, f"{upload.name} is none of {FORMATS}; received {len(upload.data)} bytes of something else.")
    with in_memory(upload.data, suffix) as path:
        try:
            height, width = read_size(path)
            if height * width > max_pixels:
                raise ProblemError(
                    413, f"{upload.name} has {width}×{height} pixels; this server takes {max_pixels / 1e6:g} million at most."
                )
            yield path
        except (ValueError, MemoryError, ImportError) as error:
            status = 413 if isinstance(error.__context__, Image.DecompressionBombError) else 422
            raise ProblemError(status, _sentence(error, path, upload.name)) from None


@contextmanager
def in_memory(data: bytes, suffix: str) -> Iterator[Path]:
    """A path under which the bytes can be read while the block runs.

    Linux has files without a place on any disk. Elsewhere it is a temporary file, which is removed when the block ends.
    """
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("upload")
        try:
            with open(number, "wb", closefd=False) as file:
                file.write(data)
            yield Path(f"/proc/self/fd/{number}")
        finally:
            os.close(number)
        return
    with tempfile.TemporaryDirectory(prefix="maskrcnn-") as folder:
        path = Path(folder) / f"upload{suffix}"
        path.write_bytes(data)
        yield path


def _sentence(error: Exception, path: Path, name: str) -> str:
    return " ".join(str(error).replace(str(path), name).split()).rstrip(".") + "."
