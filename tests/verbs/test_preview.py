"""Laws of the sheet of augmented images."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from small_data import read_samples

from maskrcnn.config.model import Category, ImageConfig
from maskrcnn.data.dataset import Dataset
from maskrcnn.verbs.preview import CELL, GAP, GROUND, preview

CATEGORIES = (Category(1, "cat"), Category(2, "dog"))


def dataset(counts=(3, 0, 5)):
    samples = read_samples(np.random.default_rng(0), [(200, 300)] * len(counts), list(counts))
    return Dataset([sample.replace(image=sample.image // 4) for sample in samples], CATEGORIES, name="small")


def sheet(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_sheet_has_a_cell_for_each_image(tmp_path):
    path = preview(dataset(), tmp_path / "sheet.png", num_images=5, columns=3)
    pixels = sheet(path)
    assert pixels.shape == (2 * (CELL + GAP) + GAP, 3 * (CELL + GAP) + GAP, 3)
    used = [(pixels[GAP + row * (CELL + GAP) + 5, GAP + column * (CELL + GAP) + 5] != GROUND).any()
            for row in range(2) for column in range(3)]  # fmt: skip
    assert used == [True] * 5 + [False]
    assert [file.name for file in tmp_path.iterdir()] == ["sheet.png"]


def test_the_same_seed_draws_the_same_sheet(tmp_path):
    config = ImageConfig(short_side=96, long_side=160)
    one, same, other = (
        sheet(preview(dataset(), tmp_path / f"{k}.png", augment="photos", image_config=config, num_images=3, seed=seed))
        for k, seed in enumerate((1, 1, 2))
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_images_of_two_channels_are_shown_in_false_colours(tmp_path):
    samples = read_samples(np.random.default_rng(0), [(200, 300)], [0], channels=2)
    config = ImageConfig(96, 160, channels=2, mean=(9.0, 9.0), std=(9.0, 9.0))
    data = Dataset(samples, CATEGORIES, name="small")
    pixels = sheet(preview(data, tmp_path / "sheet.png", augment="none", image_config=config, num_images=1))
    inside = pixels[2 * GAP : CELL // 2, 2 * GAP : CELL // 2]
    assert (inside[..., 0] == inside[..., 2]).all() and (inside[..., 0] != inside[..., 1]).any()
    with pytest.raises(ValueError, match="the model takes 3 channels"):
        preview(data, tmp_path / "other.png", augment="none", num_images=1)


def test_objects_are_drawn_and_crowds_hatched(tmp_path):
    data = dataset((1,))
    empty = dataset((0,))
    empty.samples[0] = data.samples[0].replace(
        boxes=np.zeros((0, 4), np.float32), labels=np.zeros(0, np.int32), crowd=np.zeros(0, bool), rles=[]
    )
    bare = sheet(preview(empty, tmp_path / "bare.png", augment="none", num_images=1))
    drawn = sheet(preview(data, tmp_path / "drawn.png", augment="none", num_images=1))
    assert (bare != drawn).any() and not (drawn == 255).all(axis=2).any()
    data.samples[0] = data.samples[0].replace(crowd=np.ones(1, bool))
    assert (sheet(preview(data, tmp_path / "crowd.png", augment="none", num_images=1)) == 255).all(axis=2).any()


def test_settings_that_make_no_sheet_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 1; received 0 and 4"):
        preview(dataset(), tmp_path / "sheet.png", num_images=0)
    with pytest.raises(ValueError, match="small holds no image"):
        preview(Dataset([], CATEGORIES, name="small"), tmp_path / "sheet.png")
    with pytest.raises(ValueError, match="Unknown augmentation"):
        preview(dataset(), tmp_path / "sheet.png", augment="x")
    assert not any(tmp_path.iterdir())
