"""Laws of the drawn data set."""

from __future__ import annotations

import json

import numpy as np

from maskrcnn.data.dataset import load_dataset
from maskrcnn.data.shapes import draw_shapes, make_shapes
from maskrcnn.geometry.rle import rle_to_mask
from maskrcnn.images.images import read_image


def test_it_is_written_without_faults(tmp_path):
    train_json, val_json = make_shapes(tmp_path / "new" / "shapes", num_train=6, num_val=3, seed=1)
    train, val = load_dataset(train_json, strict=True), load_dataset(val_json, strict=True)
    assert (len(train), len(val)) == (6, 3)
    assert [category.name for category in train.categories] == ["circle", "square", "triangle"]
    assert all(sample.size == (128, 128) and len(sample.labels) for sample in train.samples + val.samples)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_the_same_seed_gives_the_same_images_and_another_others(tmp_path):
    one, again, other = (
        make_shapes(tmp_path / name, num_train=2, num_val=1, seed=seed)[0] for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    images = [[read_image(sample.path) for sample in load_dataset(path).samples] for path in (one, again, other)]
    assert json.loads(one.read_text()) == json.loads(again.read_text()) != json.loads(other.read_text())
    np.testing.assert_array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])


def test_training_and_validation_images_differ(tmp_path):
    train_json, val_json = make_shapes(tmp_path, num_train=1, num_val=1)
    train, val = (read_image(load_dataset(path).samples[0].path) for path in (train_json, val_json))
    assert not np.array_equal(train, val)


def test_masks_show_what_is_seen_and_never_overlap():
    for seed in range(20):
        image, shapes = draw_shapes(np.random.default_rng(seed), (96, 160))
        assert image.shape == (96, 160, 3) and image.dtype == np.uint8
        assert shapes and all(mask.sum() > 10 for _, mask in shapes)
        assert np.sum([mask for _, mask in shapes], axis=0).max() == 1


def test_the_file_holds_the_masks_that_were_drawn(tmp_path):
    train_json, _ = make_shapes(tmp_path, num_train=1, num_val=0, seed=4)
    _, shapes = draw_shapes(np.random.default_rng([4, 0, 1]), (128, 128))
    (sample,) = load_dataset(train_json, strict=True).samples
    for rle, (_, mask) in zip(sample.rles, shapes, strict=True):
        np.testing.assert_array_equal(rle_to_mask(rle), mask)
