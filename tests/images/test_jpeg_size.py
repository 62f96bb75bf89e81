"""The size of a JPEG from its header: Pillow's, or none at all."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from maskrcnn.images.jpeg_size import plain_jpeg_size
from maskrcnn.images.sizes import measure_images

PIXELS = np.random.default_rng(0).integers(0, 256, (31, 47, 3), np.uint8)


@pytest.mark.parametrize(
    "options", [{}, {"quality": 5}, {"progressive": True}, {"optimize": True}, {"comment": "a"}, {"restart_marker_rows": 1}]
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_it_is_that_of_the_image(tmp_path, mode, options):
    path = tmp_path / "a.jpg"
    Image.fromarray(PIXELS).convert(mode).save(path, **options)
    assert plain_jpeg_size(path) == PIXELS.shape[:2] == measure_images([path], decode=False)[0]


def test_what_may_be_turned_is_left_to_pillow(tmp_path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(path, exif=exif)
    assert plain_jpeg_size(path) is None
    assert measure_images([path], decode=False) == [(47, 31)]


def test_damaged_files_and_others_have_none(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(PIXELS).save(path, quality=90)
    whole = path.read_bytes()
    scan = whole.index(b"\xff\xda")
    frame = whole.index(b"\xff\xc0")
    for damaged in (
        b"",
        b"\xff\xd8",
        whole[: frame + 6],
        whole[:scan],
        whole[: frame + 5] + b"\0\0" + whole[frame + 7 :],
        whole[: frame + 5] + b"\xff\xff\xff\xff" + whole[frame + 9 :],  # more pixels than the file can hold
        whole[: frame + 4] + b"\x0c" + whole[frame + 5 :],  # 12 bits
        b"\x89PNG" + whole,
    ):
        path.write_bytes(damaged)
        assert plain_jpeg_size(path) is None
    assert plain_jpeg_size(tmp_path / "gone.jpg") is None
