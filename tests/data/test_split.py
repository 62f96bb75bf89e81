"""A data set in two."""

from __future__ import annotations

import numpy as np
import pytest
from small_data import dataset_of

from maskrcnn.data.split import named_groups, split


def counts(data) -> np.ndarray:
    return np.bincount(np.concatenate([sample.labels for sample in data.samples]), minlength=len(data.categories))


@pytest.fixture
def data():
    """100 images with one to three common objects; twelve of them, one after the other, with a rare one too."""
    rng = np.random.default_rng(3)
    return dataset_of([[0] * rng.integers(1, 4) + ([1] if 40 <= k < 52 else []) for k in range(100)], num_classes=3)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_every_class_is_shared_out_like_the_images(data, fraction):
    first, second = split(data, fraction, 0)
    assert sorted(sample.image_id for part in (first, second) for sample in part.samples) == list(range(100))
    assert len(second) == pytest.approx(100 * fraction, abs=2)
    for label in (0, 1):
        assert counts(second)[label] == pytest.approx(fraction * counts(data)[label], abs=2)


def test_the_seed_decides(data):
    ids = [[sample.image_id for sample in split(data, 0.2, seed)[1].samples] for seed in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2]
    assert ids[0] == sorted(ids[0])


def test_groups_stay_together(data):
    first, second = split(data, 0.3, 0, group_of=lambda sample: sample.image_id // 10)
    groups = [{sample.image_id // 10 for sample in part.samples} for part in (first, second)]
    assert not groups[0] & groups[1] and len(groups[1]) == 3


def test_each_part_has_an_image(data):
    two = dataset_of([[0], [0]], num_classes=1)
    assert [len(part) for part in split(two, 0.01, 0)] == [1, 1]
    empty = dataset_of([[], [], [], []], num_classes=1)
    assert [len(part) for part in split(empty, 0.25, 0)] == [3, 1]


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_what_cannot_be_split_is_an_error(data, fraction):
    with pytest.raises(ValueError, match="A fraction lies between 0 and 1"):
        split(data, fraction, 0)
    with pytest.raises(ValueError, match="it has 1"):
        split(data, 0.5, 0, group_of=lambda _: "one patient")


def test_groups_are_named_by_folder_or_by_a_pattern(data):
    files = ["a/p1_x.png", "a/p1_y.png", "b/p2_x.png", "b/other.png"]
    samples = [sample.replace(file_name=name, path=f"/data/{name}") for sample, name in zip(data.samples, files)]
    assert named_groups(samples, "folder") == ["/data/a", "/data/a", "/data/b", "/data/b"]
    assert named_groups(samples, r"p\d") == ["p1", "p1", "p2", None]
    assert named_groups(samples, r"/p\d_(.)") == ["x", "y", "x", None]
    with pytest.raises(ValueError, match="matches none of 4 file names, such as a/p1_x.png"):
        named_groups(samples, "patient")
    with pytest.raises(ValueError, match="is none: "):
        named_groups(samples, "(")
