"""Laws of resizing and padding."""

from __future__ import annotations

import numpy as np
import pytest

from maskrcnn.config import ImageConfig
from maskrcnn.data.resize import choose_frame, fit_to_frame, pad_to_frame

CONFIG = ImageConfig()  # 800, 1333


@pytest.mark.parametrize(
    ("size", "new_size"),
    [
        ((480, 640), (800, 1067)),
        ((640, 480), (1067, 800)),
        ((600, 600), (800, 800)),
        ((300, 1000), (400, 1333)),
        ((1040, 1388), (800, 1068)),  # 1067.69
        ((800, 1200), (800, 1200)),
        ((1, 5000), (1, 1333)),
        ((3, 2), (1200, 800)),
    ],
)
def test_the_short_side_fits_unless_the_long_side_is_too_long(size, new_size):
    resized, scale = fit_to_frame(np.zeros((*size, 3), np.uint8), CONFIG)
    assert resized.shape == (*new_size, 3) and resized.dtype == np.uint8
    assert scale == min(800 / min(size), 1333 / max(size))


def test_every_picture_fits_a_frame():
    rng = np.random.default_rng(0)
    for config in (CONFIG, ImageConfig(short_side=320, long_side=320), ImageConfig(short_side=250, long_side=417)):
        for size in rng.integers(1, 700, (30, 2)):
            resized, _ = fit_to_frame(np.zeros((*size, 3), np.uint8), config)
            frame = choose_frame([resized.shape[:2]], config.frames())
            assert pad_to_frame(resized, frame).shape == (*frame, 3)


def test_shrinking_averages_fine_texture():
    stripes = np.zeros((1600, 1600, 3), np.uint8)
    stripes[:, ::2] = 200
    resized, _ = fit_to_frame(stripes, ImageConfig(short_side=160, long_side=160))
    assert np.abs(resized[:, 2:-2].astype(int) - 100).max() <= 2


def test_resizing_an_even_picture_keeps_its_value():
    resized, _ = fit_to_frame(np.full((37, 53, 3), 77, np.uint8), CONFIG)
    assert (resized == 77).all()


def test_the_frame_of_the_least_area_that_holds_all_is_chosen():
    frames = [(800, 800), (800, 1344), (1344, 800), (1344, 1344)]
    assert choose_frame([(800, 800)], frames) == (800, 800)
    assert choose_frame([(800, 1067), (700, 900)], frames) == (800, 1344)
    assert choose_frame([(800, 1067), (1067, 800)], frames) == (1344, 1344)


def test_a_picture_that_no_frame_holds_is_an_error():
    with pytest.raises(ValueError, match="900×900"):
        choose_frame([(900, 900)], [(800, 1344)])


def test_padding_adds_zeros_at_the_bottom_and_right():
    image = np.random.default_rng(0).integers(1, 256, (5, 7, 3), np.uint8)
    padded = pad_to_frame(image, (8, 9))
    np.testing.assert_array_equal(padded[:5, :7], image)
    assert not padded[5:].any() and not padded[:, 7:].any() and padded.dtype == np.uint8
