"""Laws of changing an image and its truth together."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from small_data import read_samples

from maskrcnn.config.augment import AUGMENTATIONS, AugmentConfig
from maskrcnn.config.fields import replace
from maskrcnn.config.model import ImageConfig
from maskrcnn.data.augment import (
    AlbumentationsAugmentation,
    Augmentation,
    change_colours,
    flip_horizontal,
    make_augment,
    random_flip,
)
from maskrcnn.geometry.masks import mask_to_box
from maskrcnn.geometry.rle import rle_to_mask

IMAGE = ImageConfig(short_side=36, long_side=60)


def sample():
    return read_samples(np.random.default_rng(0), [(20, 31)], [5])[0]


def test_flipping_the_image_flips_boxes_and_masks():
    before, after = sample(), flip_horizontal(sample())
    np.testing.assert_array_equal(after.image, before.image[:, ::-1])
    for box, rle, old in zip(after.boxes, after.rles, before.rles, strict=True):
        np.testing.assert_array_equal(rle_to_mask(rle), rle_to_mask(old)[:, ::-1])
        np.testing.assert_array_equal(box, mask_to_box(rle_to_mask(rle)))


def test_flipping_twice_changes_nothing():
    before = sample()
    after = flip_horizontal(flip_horizontal(before))
    np.testing.assert_array_equal(after.image, before.image)
    np.testing.assert_array_equal(after.boxes, before.boxes)
    assert after.rles == before.rles


def test_flipping_leaves_its_argument():
    before, untouched = sample(), sample()
    flip_horizontal(before)
    np.testing.assert_array_equal(before.image, untouched.image)
    np.testing.assert_array_equal(before.boxes, untouched.boxes)
    assert before.rles == untouched.rles


def test_an_image_without_objects_is_flipped():
    (empty,) = read_samples(np.random.default_rng(0), [(4, 6)], [0])
    assert flip_horizontal(empty).boxes.shape == (0, 4)


def test_chance_flips_as_often_as_it_is_told():
    flips = [random_flip(sample(), np.random.default_rng(seed)).rles != sample().rles for seed in range(200)]
    assert 70 < sum(flips) < 130
    assert random_flip(sample(), np.random.default_rng(0), probability=0.0).rles == sample().rles
    assert random_flip(sample(), np.random.default_rng(0), probability=1.0).rles != sample().rles


def test_none_changes_nothing_and_flip_is_a_mirror_alone():
    assert make_augment(None, IMAGE) is make_augment("none", IMAGE) is None
    assert make_augment("flip", IMAGE) is random_flip
    always = make_augment(replace(AUGMENTATIONS["flip"], horizontal_flip=1.0), IMAGE)
    after = always(sample(), np.random.default_rng(0))
    np.testing.assert_array_equal(after.image, flip_horizontal(sample()).image)
    assert after.rles == flip_horizontal(sample()).rles and not after.fitted


@pytest.mark.parametrize("name", ["photos", "microscopy"])
def test_a_preset_gives_the_same_sample_for_the_same_rng_in_a_process_of_its_own(name):
    change = make_augment(name, IMAGE, [sample()])
    copied = pickle.loads(pickle.dumps(change))
    one, two, other = (f(sample(), np.random.default_rng(seed)) for f, seed in ((change, 1), (copied, 1), (change, 2)))
    np.testing.assert_array_equal(one.image, two.image)
    assert one.rles == two.rles and one.fitted and max(one.size) <= IMAGE.short_side
    assert one.size != other.size or not np.array_equal(one.image, other.image)


def test_copy_paste_takes_objects_of_the_data_set():
    (other,) = read_samples(np.random.default_rng(4), [(20, 31)], [8])
    other = other.replace(annotation_ids=other.annotation_ids + 500)
    config = AugmentConfig(copy_paste=1.0, min_area=1.0)
    change = make_augment(config, IMAGE, [other])
    found = [change(sample(), np.random.default_rng(seed)).annotation_ids for seed in range(5)]
    assert any((ids >= 1500).any() for ids in found) and any((ids < 1500).any() for ids in found)
    assert make_augment(replace(config, copy_paste=0.0), IMAGE, [other]).samples == ()  # nothing to send to processes
    half = make_augment(replace(config, copy_paste=0.5), IMAGE, [other])
    share = np.mean([(half(sample(), np.random.default_rng(seed)).annotation_ids >= 1500).any() for seed in range(100)])
    assert 0.3 < share < 0.6


def test_a_function_of_sample_and_rng_is_taken_as_it_is():
    assert make_augment(random_flip, IMAGE) is random_flip


def test_what_is_no_augmentation_is_named():
    with pytest.raises(ValueError, match="'fotos'; possible: none, flip, photos, microscopy"):
        make_augment("fotos", IMAGE)
    with pytest.raises(ValueError, match="received int"):
        make_augment(7, IMAGE)
    with pytest.raises(ValueError, match="long side, 60; received 61"):
        make_augment(AugmentConfig(jitter=(0.5, 2.0), crop=61), IMAGE)
    with pytest.raises(ValueError, match="long side, 60; received 64"):
        make_augment(AugmentConfig(short_sides=(32, 64)), IMAGE)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"jitter": (2.0, 1.0)}, "jitter"),
        ({"jitter": (0.5,)}, "jitter"),
        ({"jitter": (0.5, 1.0), "short_sides": (40,)}, "both"),
        ({"turns": 1.5}, "turns is from 0 to 1; received 1.5"),
        ({"min_visible": -0.1}, "min_visible"),
        ({"elastic_spacing": 0}, "elastic_spacing"),
    ],
)
def test_a_number_that_means_nothing_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        AugmentConfig(**fields)


# ── colors ──


def photo(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (24, 30, 3), np.uint8)


def test_colours_stay_where_nothing_varies():
    image = photo()
    assert change_colours(image, AugmentConfig(), np.random.default_rng(0)) is image


@pytest.mark.parametrize(
    "fields",
    [
        {"brightness": 0.3}, {"contrast": 0.5}, {"gamma": 0.5}, {"saturation": 0.5}, {"hue": 30.0}, {"channels": 0.3},
        {"invert": 1.0}, {"blur": 1.0}, {"noise": 1.0},
    ],
)  # fmt: skip
def test_each_number_varies_colours_by_rng_and_leaves_its_argument(fields):
    image, untouched = photo(), photo()
    one, same, other = (change_colours(image, AugmentConfig(**fields), np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(image, untouched)
    assert one.shape == image.shape and one.dtype == np.uint8 and not np.array_equal(one, image)
    assert "invert" in fields or not np.array_equal(one, other)


def test_grey_images_stay_grey():
    image = photo()[..., :1].repeat(3, axis=2)
    for seed in range(10):
        after = change_colours(image, AUGMENTATIONS["microscopy"], np.random.default_rng(seed))
        assert (after == after[..., :1]).all()


def test_inverting_is_the_negative():
    np.testing.assert_array_equal(change_colours(photo(), AugmentConfig(invert=1.0), np.random.default_rng(0)), 255 - photo())


def test_hue_and_saturation_keep_greys_and_turn_colours():
    greys = np.full((1, 2, 3), 90, np.uint8)
    greys[0, 1] = (120, 80, 80)  # one pixel of color, or the image counts as gray
    for seed in range(10):
        after = change_colours(greys, AugmentConfig(hue=90.0, saturation=0.9), np.random.default_rng(seed))
        np.testing.assert_array_equal(after[0, 0], greys[0, 0])
        assert after[0, 1].tolist() != greys[0, 1].tolist()


def test_brightness_adds_and_contrast_keeps_the_mean():
    image = np.full((20, 20, 3), 100, np.uint8)
    image[:10] = 140
    for seed in range(10):
        bright = change_colours(image, AugmentConfig(brightness=0.1), np.random.default_rng(seed)).astype(int) - image
        assert np.ptp(bright) <= 1 and abs(bright).max() <= 26
        contrast = change_colours(image, AugmentConfig(contrast=0.5), np.random.default_rng(seed))
        assert abs(contrast.mean() - 120) <= 1 and 19 <= np.ptp(contrast) <= 61


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_channels_that_are_no_colours_keep_to_themselves(channels):
    """A black channel next to others stays one value, and what is asked of colours is not asked of them."""
    image = np.random.default_rng(0).integers(0, 256, (24, 30, channels), np.uint8)
    image[:, :, -1] = 40
    for field in ({"blur": 1.0}, {"gamma": 0.5}, {"contrast": 0.5}, {"brightness": 0.3}, {"invert": 1.0}):
        after = change_colours(image, AugmentConfig(**field), np.random.default_rng(0))
        assert after.shape == image.shape and np.ptp(after[:, :, -1]) == 0
        assert channels == 1 or not np.array_equal(after, image)
    of_colours = AugmentConfig(saturation=0.5, hue=30.0, channels=0.3)
    np.testing.assert_array_equal(change_colours(image, of_colours, np.random.default_rng(0)), image)
    noise = change_colours(image, AugmentConfig(noise=1.0), np.random.default_rng(0)).astype(int) - image
    assert channels == 1 or not np.array_equal(noise[:, :, 0], noise[:, :, -1])  # each was taken for itself


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("name", ["flip", "photos", "microscopy"])
def test_images_of_any_channels_are_augmented_and_pasted(name, channels):
    one, other = read_samples(np.random.default_rng(0), [(40, 62), (50, 40)], [5, 4], channels=channels)
    mean = (100.0,) * channels
    config = replace(AUGMENTATIONS[name], copy_paste=1.0, elastic=1.0, rotation=20.0)
    change = make_augment(config, ImageConfig(36, 60, channels=channels, mean=mean, std=mean), [other])
    found = [change(one, np.random.default_rng(seed)) for seed in range(4)]
    assert all(after.image.dtype == np.uint8 and after.image.shape == (*after.size, channels) for after in found)


def test_an_image_of_other_channels_than_the_models_is_not_pasted():
    one, other = (read_samples(np.random.default_rng(0), [(20, 31)], [5], channels=channels)[0] for channels in (3, 2))
    change = make_augment(AugmentConfig(copy_paste=1.0), IMAGE, [other])
    with pytest.raises(ValueError, match=r"1.png brings an image of shape \(20, 31, 2\); the model takes 3 channels"):
        change(one, np.random.default_rng(0))


# ── Albumentations ──


class Pipeline:
    """As Albumentations are called: mirrors, with a random seed of its own."""

    seed: int | None = None

    def to_dict(self):
        return {}

    def set_random_seed(self, seed):
        self.seed = seed

    def __call__(self, *, image, masks=()):
        assert self.seed is not None and all(mask.dtype == np.uint8 and mask.max() == 1 for mask in masks)
        step = -1 if self.seed % 2 else 1
        return {"image": image[::step], "masks": [mask[::step] for mask in masks]}


Pipeline.__module__ = "albumentations.core.composition"


def test_albumentations_change_images_and_masks_by_the_rng():
    pipeline = Pipeline()
    change = make_augment(pipeline, IMAGE)
    before = sample().replace(crowd=np.array([True, False, False, False, False]))
    upside = set()
    for seed in range(12):
        after = change(before, np.random.default_rng(seed))
        same = change(before, np.random.default_rng(seed))
        np.testing.assert_array_equal(after.image, same.image)
        step = 1 if np.array_equal(after.image, before.image) else -1
        np.testing.assert_array_equal(after.image, before.image[::step])
        for box, new, old in zip(after.boxes, after.rles, before.rles, strict=True):
            np.testing.assert_array_equal(rle_to_mask(new), rle_to_mask(old)[::step])
            np.testing.assert_array_equal(box, mask_to_box(rle_to_mask(new)))
        np.testing.assert_array_equal(after.crowd, before.crowd)
        upside.add(step)
    assert upside == {1, -1} and pipeline.seed is None  # threads share the pipeline: each call has a copy
    (empty,) = read_samples(np.random.default_rng(0), [(4, 6)], [0])
    assert change(empty, np.random.default_rng(0)).boxes.shape == (0, 4)


def test_albumentations_that_take_no_seed_or_give_no_bytes_are_refused(monkeypatch):
    monkeypatch.setattr(Pipeline, "__call__", lambda self, image, masks=(): {"image": image / 255.0, "masks": masks})
    with pytest.raises(ValueError, match="uint8; received ndarray .* float64. Leave out Normalize"):
        make_augment(Pipeline(), IMAGE)(sample(), np.random.default_rng(0))
    monkeypatch.setattr(Pipeline, "processors", {"bboxes": None}, raising=False)
    with pytest.raises(ValueError, match="leave out bbox_params"):
        make_augment(Pipeline(), IMAGE)
    monkeypatch.delattr(Pipeline, "set_random_seed")
    with pytest.raises(ValueError, match="from version 2 on"):
        make_augment(Pipeline(), IMAGE)


def test_the_real_albumentations(monkeypatch):
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")  # else it asks the network for a newer one
    albumentations = pytest.importorskip("albumentations")
    pipeline = albumentations.Compose(
        [albumentations.D4(p=1.0), albumentations.RandomCrop(height=16, width=16), albumentations.RandomBrightnessContrast()]
    )
    before = sample().replace(crowd=np.array([True, False, False, False, False]))
    change = pickle.loads(pickle.dumps(make_augment(pipeline, IMAGE)))
    found = set()
    for seed in range(8):
        after, same = (change(before, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(after.image, same.image)
        assert after.size == (16, 16) and after.rles == same.rles
        rows = after.annotation_ids - 1000
        np.testing.assert_array_equal(after.crowd, before.crowd[rows])
        found.add(after.image.tobytes())
    assert len(found) > 4
    boxes = albumentations.BboxParams("coco", label_fields=["labels"])
    with pytest.raises(ValueError, match="leave out bbox_params"):
        make_augment(albumentations.Compose([albumentations.HorizontalFlip()], bbox_params=boxes), IMAGE)
    mirror = make_augment(albumentations.HorizontalFlip(p=1.0), IMAGE)(before, np.random.default_rng(0))
    np.testing.assert_array_equal(mirror.image, flip_horizontal(before).image)
    assert mirror.rles == flip_horizontal(before).rles
    (empty,) = read_samples(np.random.default_rng(0), [(20, 20)], [0])
    assert change(empty, np.random.default_rng(0)).boxes.shape == (0, 4)


def with_keypoints(seed=0):
    found = read_samples(np.random.default_rng(seed), [(20, 31)], [5])[0]
    keypoints = np.random.default_rng(seed).uniform(1, 19, (5, 3, 3)).astype(np.float32)
    keypoints[..., 2] = 2
    return found.replace(keypoints=keypoints, mirror=(0, 2, 1))


def test_flipping_swaps_left_and_right_keypoints_and_twice_changes_nothing():
    sample = with_keypoints()
    flipped = flip_horizontal(sample)
    np.testing.assert_allclose(flipped.keypoints[:, 1, 0], sample.size[1] - sample.keypoints[:, 2, 0], atol=1e-4)
    np.testing.assert_array_equal(flipped.keypoints[:, 1, 1], sample.keypoints[:, 2, 1])
    np.testing.assert_allclose(flip_horizontal(flipped).keypoints, sample.keypoints, atol=1e-4)


def test_pasted_objects_bring_their_keypoints_and_hide_others():
    samples = [with_keypoints(0), with_keypoints(1)]
    config = AugmentConfig(horizontal_flip=0.0, copy_paste=1.0, min_area=1.0, min_visible=0.0)
    hidden = 0
    for seed in range(10):
        changed = Augmentation(config, IMAGE, tuple(samples))(samples[0], np.random.default_rng(seed))
        assert changed.keypoints.shape == (len(changed.labels), 3, 3)
        hidden += int((changed.keypoints[..., 2] == 1).sum())
    assert hidden


def test_albumentations_refuse_keypoints_which_they_are_not_given(monkeypatch):
    pipeline = type("Pipeline", (), {"set_random_seed": lambda self, seed: None})()
    with pytest.raises(ValueError, match="would leave keypoints behind"):
        AlbumentationsAugmentation(pipeline)(with_keypoints(), np.random.default_rng(0))
