"""Less of a data set."""

from __future__ import annotations

import numpy as np
import pytest
from small_data import dataset_of, read_samples

from maskrcnn.config.model import Category
from maskrcnn.data.dataset import Dataset
from maskrcnn.data.selection import Selection, choose_images, select
from maskrcnn.geometry.rle import rle_area


@pytest.fixture
def data() -> Dataset:
    """Five images with rectangles of the classes a and b by turns, one of them a crowd; class c has none."""
    samples = read_samples(np.random.default_rng(0), [(40, 50)] * 5, [4, 0, 3, 1, 6])
    samples[0] = samples[0].replace(crowd=np.array([True, False, False, False]))
    samples = [sample.replace(file_name=f"site{k % 2}/{k}.png") for k, sample in enumerate(samples)]
    return Dataset(samples, (Category(5, "a"), Category(9, "b"), Category(7, "c")), name="small")


def names(data: Dataset) -> list[list[str]]:
    return [[data.categories[label].name for label in sample.labels] for sample in data.samples]


def test_classes_are_chosen_and_keep_their_ids(data):
    part = select(data, Selection(classes=["b"]))
    assert part.categories == (Category(9, "b"),)
    assert names(part) == [["b"] * 2, [], ["b"], [], ["b"] * 3]
    assert list(part.samples[0].annotation_ids) == [1001, 1003]
    assert names(select(data, Selection(without=["b", "c"]))) == [["a"] * 2, [], ["a"] * 2, ["a"], ["a"] * 3]


def test_sizes_are_those_of_the_masks(data):
    samples = [sample.replace(areas=np.zeros(len(sample.labels), np.float32)) for sample in data.samples]
    areas = sorted(rle_area(rle) for sample in samples for rle, crowd in zip(sample.rles, sample.crowd) if not crowd)
    low, high = areas[3], areas[-3]
    part = select(Dataset(samples, data.categories), Selection(min_area=low, max_area=high))
    kept = [rle_area(rle) for sample in part.samples for rle, crowd in zip(sample.rles, sample.crowd) if not crowd]
    assert sorted(kept) == [area for area in areas if low <= area <= high] != areas
    assert part.samples[0].crowd[0]  # whatever its size


def test_the_rest_may_become_crowds(data):
    part = select(data, Selection(classes=["b"], rest_as_crowds=True))
    assert [len(sample.labels) for sample in part.samples] == [4, 0, 3, 1, 6]
    assert [int((~sample.crowd).sum()) for sample in part.samples] == [2, 0, 1, 0, 3]
    assert {name for own in names(part) for name in own} == {"b"}


def test_images_are_chosen_by_name_with_and_without_folders(data):
    assert [s.file_name for s in select(data, Selection(images=["site1/*"])).samples] == ["site1/1.png", "site1/3.png"]
    assert [s.file_name for s in select(data, Selection(images=["2.png", "4.*"])).samples] == ["site0/2.png", "site0/4.png"]


def test_what_is_empty_may_go(data):
    part = select(data, Selection(without=["a"], drop_empty_images=True, drop_empty_classes=True))
    assert names(part) == [["b"] * 2, ["b"], ["b"] * 3]
    assert part.categories == (Category(9, "b"),)


def test_nothing_left_and_unknown_classes_are_errors(data):
    with pytest.raises(ValueError, match="small has no class 'd'; it has 'a', 'b', 'c'"):
        select(data, Selection(classes=["a", "d"]))
    with pytest.raises(ValueError, match="Nothing of small is left: 0 images"):
        select(data, Selection(images=["nowhere/*"]))
    assert len(data) == 5 and len(data.samples[0].labels) == 4  # unchanged


def test_a_copy_has_every_class():
    labels = [[0]] * 50
    labels[13], labels[31], labels[40] = [1], [2], [1, 3]
    data = dataset_of(labels, num_classes=5)
    for seed in range(5):
        part = choose_images(data, 3, seed)
        assert {int(label) for sample in part.samples for label in sample.labels} == {0, 1, 2, 3}
        assert [sample.image_id for sample in part.samples] == sorted(sample.image_id for sample in part.samples)


def test_a_copy_is_of_the_size_that_was_asked_for():
    data = dataset_of([[k] for k in range(12)], num_classes=12)
    assert [len(choose_images(data, count, 0)) for count in (1, 5, 12, 40)] == [1, 5, 12, 12]
    ids = [[sample.image_id for sample in choose_images(data, 5, seed).samples] for seed in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2]
    with pytest.raises(ValueError, match="at least one image; received 0"):
        choose_images(data, 0, 0)
