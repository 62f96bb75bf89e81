"""Laws of resizing and padding."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from references import resize as reference

from maskrcnn.config.model import ImageConfig
from maskrcnn.data.resize import (
    choose_frame,
    enlarge_region,
    fit_for_training,
    fit_to_frame,
    fitted_size,
    pad_to_frame,
    resize_region,
)

CONFIG = ImageConfig()  # 800, 1333
TORCHVISION = ImageConfig(resize="torchvision", frame="tight")
MMDET = ImageConfig(resize="mmdet", frame="tight")
MATTERPORT = ImageConfig(800, 1024, resize="matterport", frame="square", place="centre", stride=64)


def noise(*size: int, low: int = 0) -> np.ndarray:
    return np.random.default_rng(0).integers(low, 256, (*size, 3), np.uint8)


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


def test_every_image_fits_a_frame():
    rng = np.random.default_rng(0)
    small = (ImageConfig(short_side=320, long_side=320), ImageConfig(short_side=250, long_side=417))
    for config in (CONFIG, *small, TORCHVISION, MATTERPORT):
        for size in rng.integers(1, 700, (30, 2)):
            resized, _ = fit_to_frame(np.zeros((*size, 3), np.uint8), config)
            frame = choose_frame([resized.shape[:2]], config)
            assert pad_to_frame(resized, frame).shape == (*frame, 3)


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 16])
@pytest.mark.parametrize("config", [ImageConfig(60, 100), TORCHVISION, MMDET, MATTERPORT])
def test_every_channel_is_resized_as_if_it_were_alone(config, channels):
    image = np.random.default_rng(0).integers(0, 256, (90, 70, channels), np.uint8)
    resized, _ = fit_to_frame(image, config)
    for channel in range(channels):
        grey, _ = fit_to_frame(image[:, :, channel : channel + 1].repeat(3, axis=2), config)
        np.testing.assert_array_equal(resized[:, :, channel], grey[:, :, 0])
    assert pad_to_frame(resized, (1344, 1344)).shape == (1344, 1344, channels)


def test_shrinking_averages_fine_texture():
    stripes = np.zeros((1600, 1600, 3), np.uint8)
    stripes[:, ::2] = 200
    resized, _ = fit_to_frame(stripes, ImageConfig(short_side=160, long_side=160))
    assert np.abs(resized[:, 2:-2].astype(int) - 100).max() <= 2


@pytest.mark.parametrize("config", [CONFIG, TORCHVISION, MMDET, MATTERPORT])
def test_resizing_an_even_image_keeps_its_value(config):
    resized, _ = fit_to_frame(np.full((37, 53, 3), 77, np.uint8), config)
    np.testing.assert_allclose(resized, 77, rtol=1e-6)


@pytest.mark.parametrize(("short", "long"), [(800, 1333), (800, 1024), (417, 700), (640, 640)])
def test_each_source_gets_exactly_its_sides(short, long):
    rng = np.random.default_rng(short)
    sizes = np.concatenate([rng.integers(40, 6000, (300, 2)), rng.integers(150, 1100, (100, 1)) + rng.integers(0, 2, (100, 2))])
    sides = {
        "detectron2": reference.detectron2_size,
        "torchvision": reference.torchvision_size,
        "mmdet": reference.mmdet_size,
        "matterport": reference.matterport_size,
    }
    for way, side_of in sides.items():
        config = ImageConfig(short, long, resize=way)
        for height, width in sizes.tolist():
            expected = side_of(height, width, short, long)
            if 0 not in expected:  # the sources cannot do that
                assert fitted_size(height, width, config)[0] == expected, (way, height, width)


@pytest.mark.parametrize(
    ("size", "config", "new_size"),
    [
        ((480, 640), MATTERPORT, (768, 1024)),
        ((900, 1000), MATTERPORT, (900, 1000)),  # between the sides: as it is
        ((1500, 2000), MATTERPORT, (768, 1024)),
        ((100, 100), ImageConfig(0, 1024, resize="matterport"), (100, 100)),
        ((100, 100), ImageConfig(0, 1024, resize="matterport", min_scale=2.0), (200, 200)),
        ((101, 107), ImageConfig(0, 1024, resize="matterport", min_scale=1.5), (152, 160)),  # 151.5, 160.5: half to even
        ((203, 2494), CONFIG, (109, 1333)),  # detectron2's two steps and …
        ((203, 2494), MMDET, (108, 1333)),  # … MMDetection's one: 108.5 but for the last bit
        ((222, 372), CONFIG, (795, 1333)),
        ((222, 372), MMDET, (796, 1333)),
        ((480, 640), TORCHVISION, (800, 1066)),
        ((480, 640), MMDET, (800, 1067)),
    ],
)
def test_sides_by_example(size, config, new_size):
    assert fit_to_frame(np.zeros((*size, 3), np.uint8), config)[0].shape[:2] == new_size


@pytest.mark.parametrize("size", [(5, 9), (33, 47), (31, 12)])
def test_pixels_are_bilinear_samples_of_four(size):
    image = noise(*size)
    for short in (11, 20, 45):
        resized, _ = fit_to_frame(image, ImageConfig(short, 80, resize="torchvision"))
        assert resized.dtype == np.float32
        np.testing.assert_allclose(resized, reference.bilinear(image, resized.shape[:2], black_around=False), atol=2e-3)
        resized, _ = fit_to_frame(image, ImageConfig(0, short, resize="matterport", min_scale=9.0))
        assert resized.dtype == np.uint8 and max(resized.shape) == short
        exact = reference.bilinear(image, resized.shape[:2], black_around=True)
        np.testing.assert_array_less(np.abs(exact - 0.5 - resized), 0.5 + 1e-6)


def test_an_image_of_the_right_size_is_left_alone_but_for_torchvisions_floats():
    image = noise(800, 1000)
    assert fit_to_frame(image, MATTERPORT)[0] is image
    floats, _ = fit_to_frame(image, TORCHVISION)
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(floats, image)


def test_scikit_images_values():
    """Of scikit-image 0.26: `resize(image, (5, 7), order=1, mode="constant", preserve_range=True, anti_aliasing=False)`."""
    image = np.array([[0, 35, 55, 75], [95, 115, 135, 155], [175, 195, 215, 235]], np.uint8)
    resized, _ = fit_to_frame(image[:, :, None].repeat(3, axis=2), ImageConfig(0, 7, resize="matterport", min_scale=9.0))
    expected = [
        [0, 9, 25, 36, 45, 54, 47],
        [29, 48, 64, 77, 88, 99, 84],
        [74, 102, 113, 125, 136, 147, 121],
        [112, 150, 161, 173, 184, 195, 159],
        [110, 145, 154, 164, 173, 182, 147],
    ]
    np.testing.assert_array_equal(resized, np.repeat(np.array(expected)[:, :, None], 3, axis=2))


@pytest.mark.parametrize("low", [0, 30])  # 30: scikit-image lifts the dark border to the least of the image
@pytest.mark.parametrize("size", [(37, 53), (480, 640), (1200, 1600)])
def test_the_image_is_scikit_images(size, low):
    transform = pytest.importorskip("skimage.transform", reason="scikit-image is not installed")
    resized, _ = fit_to_frame(noise(*size, low=low), MATTERPORT)
    options = {"order": 1, "mode": "constant", "cval": 0, "preserve_range": True, "anti_aliasing": False}
    theirs = transform.resize(noise(*size, low=low), resized.shape[:2], **options).astype(np.uint8)
    np.testing.assert_allclose(resized.astype(int), theirs.astype(int), atol=1)
    assert (resized != theirs).mean() < 1e-3


@pytest.mark.parametrize("size", [(37, 53), (480, 640), (1200, 1600), (150, 700)])
def test_the_image_is_torchs(size):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    image = noise(*size)
    resized, scale = fit_to_frame(image, TORCHVISION)
    options = {"scale_factor": scale, "mode": "bilinear", "recompute_scale_factor": True, "align_corners": False}
    channels_first = torch.tensor(image).permute(2, 0, 1)[None].float()
    theirs = torch.nn.functional.interpolate(channels_first, **options)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(resized, theirs, atol=1e-2)  # 1e-4 where PyTorch multiplies and adds in one rounding
    assert math.sqrt(np.mean((resized - theirs) ** 2)) < 1e-3


def test_the_image_is_opencvs():
    image = noise(60, 80)
    resized, _ = fit_to_frame(image, MMDET)
    np.testing.assert_array_equal(resized, cv2.resize(image, (1067, 800), interpolation=cv2.INTER_LINEAR))


def test_the_frame_of_the_least_area_that_holds_all_is_chosen():
    assert choose_frame([(800, 800)], CONFIG) == (800, 800)
    assert choose_frame([(800, 1067), (700, 900)], CONFIG) == (800, 1088)
    assert choose_frame([(800, 1067), (1067, 800)], CONFIG) == (1088, 1088)
    assert choose_frame([(800, 1100), (800, 1067)], CONFIG) == (800, 1344)


def test_a_tight_frame_ends_at_the_next_multiple_of_the_stride():
    assert choose_frame([(800, 1066)], TORCHVISION) == (800, 1088)
    assert choose_frame([(800, 1066), (801, 60)], TORCHVISION) == (832, 1088)
    assert choose_frame([(64, 65)], ImageConfig(frame="tight", stride=64)) == (64, 128)


def test_a_square_frame_is_always_the_same():
    assert choose_frame([(768, 1024)], MATTERPORT) == choose_frame([(5, 7), (9, 2)], MATTERPORT) == (1024, 1024)


@pytest.mark.parametrize(("config", "size"), [(CONFIG, (900, 1400)), (MATTERPORT, (900, 1025))])
def test_an_image_that_no_frame_holds_is_an_error(config, size):
    with pytest.raises(ValueError, match=f"{size[0]}×{size[1]}"):
        choose_frame([size], config)


def test_a_centred_image_has_the_odd_row_and_column_of_zeros_behind_it():
    image = noise(5, 8, low=1)
    padded = pad_to_frame(image, (8, 11), "centre")
    np.testing.assert_array_equal(padded[1:6, 1:9], image)
    assert np.count_nonzero(padded) == image.size


def test_padding_adds_zeros_at_the_bottom_and_right():
    image = np.random.default_rng(0).integers(1, 256, (5, 7, 3), np.uint8)
    padded = pad_to_frame(image, (8, 9))
    np.testing.assert_array_equal(padded[:5, :7], image)
    assert not padded[5:].any() and not padded[:, 7:].any() and padded.dtype == np.uint8


@pytest.mark.parametrize("region", [(0, 0, 61, 43), (3.25, 1.5, 30.75, 21.0), (40.0, 20.0, 61.0, 43.0)])
def test_enlarging_by_opencv_is_pillows_but_for_rounding(region):
    image = np.random.default_rng(1).integers(0, 256, (43, 61, 3), np.uint8)
    ours, pillows = (resize(image, region, (67, 97)).astype(int) for resize in (enlarge_region, resize_region))
    assert np.abs(ours - pillows).max() == 1
    assert np.mean(ours != pillows) < 0.25


def test_what_training_sees_is_what_the_model_sees_but_for_rounding():
    rng = np.random.default_rng(2)
    for size in ((370, 530), (900, 1400), (800, 800)):
        image = rng.integers(0, 256, (*size, 3), np.uint8)
        shown = fit_to_frame(image, CONFIG)[0].astype(int)
        trained = fit_for_training(image, CONFIG).astype(int)
        assert trained.shape == shown.shape
        grows = shown.shape[0] > size[0]
        assert np.abs(trained - shown).max() <= 2 * grows
        assert (np.abs(trained - shown) > 1).mean() < 1e-3
