"""JPEG XL: its size by its first bits, its pixels by imagecodecs."""

from __future__ import annotations

import numpy as np
import pytest

from maskrcnn.images import jpeg_xl
from maskrcnn.images.formats import open_file
from maskrcnn.images.images import read_image, read_size
from maskrcnn.images.jpeg_xl import size_of
from maskrcnn.images.opened import Display

imagecodecs = pytest.importorskip("imagecodecs", reason="the extra `large` is not installed")
RNG = np.random.default_rng(0)


def pixels(height: int, width: int, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return RNG.integers(0, np.iinfo(dtype).max, shape).astype(dtype)


def encoded(image: np.ndarray, **options) -> bytes:
    return imagecodecs.jpegxl_encode(image, lossless=True, **options)


@pytest.mark.parametrize(
    "size", [(1, 1), (40, 64), (64, 40), (37, 53), (100, 150), (90, 160), (30, 36), (700, 9), (256, 256), (50, 100)]
)
@pytest.mark.parametrize("container", [False, True])
def test_the_size_is_read_without_the_pixels(size, container, monkeypatch):
    content = encoded(pixels(*size), usecontainer=container)
    monkeypatch.setattr(imagecodecs, "jpegxl_decode", None)
    assert read_size(content) == size


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (3, np.uint8), (4, np.uint8), (3, np.uint16), (1, np.uint16)])
def test_pixels_come_in_their_own_depth_and_without_transparency(tmp_path, channels, dtype):
    image = pixels(20, 30, channels, dtype)
    (tmp_path / "a.png").write_bytes(encoded(image))  # the name does not matter
    with open_file(tmp_path / "a.png") as file:
        np.testing.assert_array_equal(file.first(), image[:, :, :3] if channels == 4 else image)
    shown = read_image(tmp_path / "a.png")
    assert (shown.shape, shown.dtype) == ((20, 30, 3), np.uint8)
    if channels == 4:
        with open_file(tmp_path / "a.png", Display(channels=4)) as file:
            np.testing.assert_array_equal(file.first(), image)


def bits(*fields: tuple[int, int]) -> bytes:
    """A codestream of (value, how many bits)."""
    value, place = 0, 0
    for number, count in fields:
        value |= number << place
        place += count
    return b"\xff\x0a" + value.to_bytes(32, "little")


def test_an_image_that_lies_on_its_side_is_counted_upright():
    sides = (0, 1), (0, 2), (19, 9), (0, 3), (0, 2), (29, 9)  # 20 rows, 30 columns
    assert size_of(bits(*sides, (1, 1))) == (20, 30)
    assert size_of(bits(*sides, (0, 1), (1, 1), (5, 3))) == (30, 20)
    assert size_of(bits(*sides, (0, 1), (1, 1), (2, 3))) == (20, 30)
    assert size_of(bits((1, 1), (4, 5), (7, 3), (1, 1))) == (40, 80)
    assert size_of(bits((0, 1), (3, 2), (2**30 - 1, 30), (1, 3), (1, 1))) == (2**30, 2**30)


@pytest.mark.parametrize("length", [1, 2, 3, 12, 40, 200])
@pytest.mark.parametrize("container", [False, True])
def test_what_is_cut_off_or_too_large_is_one_line(tmp_path, monkeypatch, length, container):
    content = encoded(pixels(100, 120), usecontainer=container)
    (tmp_path / "a.jxl").write_bytes(content[:length])
    with pytest.raises(ValueError, match="Cannot read .*a.jxl: ") as refusal:
        read_image(tmp_path / "a.jxl")
    assert "\n" not in str(refusal.value)
    (tmp_path / "b.jxl").write_bytes(bits((0, 1), (3, 2), (2**30 - 1, 30), (1, 3), (1, 1)))
    with pytest.raises(ValueError, match="more than 178 million pixels"):
        read_size(tmp_path / "b.jxl")


def test_without_imagecodecs_the_line_names_it(monkeypatch):
    import sys

    content = encoded(pixels(20, 30))
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ImportError, match=r"is JPEG XL: that needs imagecodecs.*maskrcnn\[large\]"):
        open_file(content)


def test_boxes_that_lead_nowhere_end():
    endless = jpeg_xl._CONTAINER + b"\0\0\0\x08free" * 5000
    for content in (endless, jpeg_xl._CONTAINER, jpeg_xl._CONTAINER + b"\0\0\0\x01jxlc"):
        with pytest.raises(ValueError, match="Cannot read"):
            open_file(content)
