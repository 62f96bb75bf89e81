"""Laws of changing a picture and its truth together."""

from __future__ import annotations

import numpy as np
from small_data import read_samples

from maskrcnn.data.augment import flip_horizontal, random_flip
from maskrcnn.geometry.masks import mask_to_box, rle_to_mask


def sample():
    return read_samples(np.random.default_rng(0), [(20, 31)], [5])[0]


def test_flipping_the_picture_flips_boxes_and_masks():
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


def test_a_picture_without_objects_is_flipped():
    (empty,) = read_samples(np.random.default_rng(0), [(4, 6)], [0])
    assert flip_horizontal(empty).boxes.shape == (0, 4)


def test_chance_flips_as_often_as_it_is_told():
    flips = [random_flip(sample(), np.random.default_rng(seed)).rles != sample().rles for seed in range(200)]
    assert 70 < sum(flips) < 130
    assert random_flip(sample(), np.random.default_rng(0), probability=0.0).rles == sample().rles
    assert random_flip(sample(), np.random.default_rng(0), probability=1.0).rles != sample().rles
