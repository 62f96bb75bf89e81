"""Two thousand uploads that are damaged on purpose: none makes the server fail, none makes it grow."""

from __future__ import annotations

import io
import struct
from collections import Counter

import numpy as np
import psutil
import pytest
import tifffile
from PIL import Image
from small_server import BrightDetector
from starlette.testclient import TestClient

from maskrcnn.serving.app import create_app
from maskrcnn.serving.settings import ServerSettings

pytestmark = pytest.mark.slow
UPLOADS = 2000
GROWTH = 200e6  # bytes; the decoders' own caches are in it


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


def test_nothing_fails_and_nothing_grows() -> None:
    rng, codes, files = np.random.default_rng(1), Counter[int](), seeds()
    with TestClient(create_app(BrightDetector(), ServerSettings(timeout=30, max_pixels=4_000_000))) as client:
        for data in files:  # all sound files are read, and the decoders are loaded
            assert client.post("/v1/detect", content=data).status_code == 200
        for number in range(200):
            client.post("/v1/detect", content=damaged(files[number % len(files)], rng))
        before = psutil.Process().memory_info().rss
        for number in range(UPLOADS):
            answer = client.post("/v1/detect", content=damaged(files[number % len(files)], rng))
            codes[answer.status_code] += 1
            assert answer.status_code in (200, 413, 415, 422), answer.text
        assert client.app.state.service.admission.taken == 0
        assert psutil.Process().memory_info().rss - before < GROWTH
    assert sum(codes.values()) == UPLOADS
    assert codes[422] > UPLOADS / 10
    assert codes[200] > UPLOADS / 20
