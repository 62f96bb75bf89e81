"""Uploads that are damaged on purpose, for a test of the server and for `bench/serve.py`."""

from __future__ import annotations

import io
import struct

import numpy as np
import tifffile
from PIL import Image


def seeds() -> list[bytes]:
    """Sound files of every kind that is taken, of a few kilobytes."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 255, (40, 56, 3)).astype(np.uint8)
    deep = rng.integers(0, 65535, (40, 56)).astype(np.uint16)
    files = []
    for form, options in (
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ):
        file = io.BytesIO()
        Image.fromarray(colours).save(file, form, **options)
        files.append(file.getvalue())
    for image, form in ((deep, "PNG"), (deep, "TIFF")):
        file = io.BytesIO()
        Image.fromarray(image).save(file, form)
        files.append(file.getvalue())
    for options in ({"bigtiff": True}, {"tile": (16, 16)}, {"imagej": True}):
        file = io.BytesIO()
        tifffile.imwrite(file, deep, **options)
        files.append(file.getvalue())
    try:
        from pydicom.data import get_testdata_file
    except ImportError:
        return files
    with open(get_testdata_file("CT_small.dcm"), "rb") as dicom:
        return [*files, dicom.read()]


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes changed, cut off, repeated, or numbers that say too much; the first bytes stay, so that a reader is chosen."""
    changed = bytearray(data)
    kind = rng.integers(5)
    if kind == 0:
        return bytes(changed[: rng.integers(16, len(changed))])
    for _ in range(int(rng.integers(1, 12))):
        place = int(rng.integers(8, max(9, min(len(changed) - 4, 400 if kind < 4 else len(changed)))))
        if kind == 1:
            changed[place] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            changed[place : place + 4] = struct.pack(
                "<I" if rng.integers(2) else ">I", int(rng.choice([2**31, 2**32 - 1, 65536, 0]))
            )
        elif kind == 3:
            changed[place:place] = changed[8 : 8 + int(rng.integers(1, 64))]
        else:
            changed[place] = int(rng.integers(256))
    return bytes(changed)
