"""The table of image formats, and `open_file`, which looks at a file once and gives one object that answers everything."""

from __future__ import annotations

from pathlib import Path

from maskrcnn.images import arrays, dicom, jpeg_xl, nifti, plain, tiff_file
from maskrcnn.images.content import Content, FileLike
from maskrcnn.images.opened import Display, Format, ImageFile

# A new format is a module with `recognise` and `read`, and a row here; the first that recognizes a file reads it.
FORMATS: tuple[Format, ...] = (arrays, nifti, dicom, tiff_file, jpeg_xl, plain)


def open_file(source: FileLike, display: Display | None = None) -> ImageFile:
    """Opens an image file of any kind, once; its header is read, its pixels are not.

    Args:
        source: a path, the bytes of a file, or a file that is open for reading and can be sought.
        display: how its planes are cut and shown; None: as `Display()`.

    Returns:
        The file: its sizes in `source`, its pixels by `first`, `values`, `planes` and `regions`. To be closed.

    Raises:
        ValueError: for a file that is missing, no image or broken; one line that names it.
        ImportError: what reads the format is not installed.
    """
    content = Content(source)
    try:
        module = next(module for module in FORMATS if module.recognise(content))
        return module.read(content, display or Display())
    except BaseException:
        content.close()
        raise


def is_known(path: str | Path) -> bool:
    """Whether a file is of a format that is known by its mark or name: any but those that are left to Pillow."""
    content = Content(path)
    try:
        return any(module.recognise(content) for module in FORMATS if module is not plain)
    finally:
        content.close()
