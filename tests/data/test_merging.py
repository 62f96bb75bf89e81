"""Several data sets as one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_data import dataset_of

from maskrcnn.config.model import Category
from maskrcnn.data.merging import merge, similar_names


def named(labels, *categories):
    return replace(dataset_of(labels, num_classes=len(categories)), categories=tuple(categories))


def names(data):
    return [[data.categories[label].name for label in sample.labels] for sample in data.samples]


def test_classes_of_one_name_are_one():
    whole = merge(
        [named([[0], [1, 0]], Category(1, "cat"), Category(2, "dog")), named([[0, 1]], Category(1, "dog"), Category(2, "owl"))]
    )
    assert [category.name for category in whole.categories] == ["cat", "dog", "owl"]
    assert [category.id for category in whole.categories] == [1, 2, 3]  # numbered anew, for the sets do not agree
    assert names(whole) == [["cat"], ["dog", "cat"], ["dog", "owl"]]


def test_ids_stay_where_they_can():
    first, second = named([[0]], Category(7, "cat")), named([[0]], Category(3, "dog"))
    second.samples[0] = second.samples[0].replace(image_id=40, annotation_ids=np.array([50]))
    whole = merge([first, second])
    assert [category.id for category in whole.categories] == [7, 3]
    assert [sample.image_id for sample in whole.samples] == [0, 40]
    assert [sample.annotation_ids.tolist() for sample in whole.samples] == [[0], [50]]


def test_ids_that_come_twice_are_numbered():
    part = named([[0, 0], [0]], Category(1, "cat"))
    whole = merge([part, part])
    assert [sample.image_id for sample in whole.samples] == [1, 2, 3, 4]
    assert [sample.annotation_ids.tolist() for sample in whole.samples] == [[1, 2], [3], [4, 5], [6]]


def test_names_are_mapped_and_joined():
    whole = merge(
        [named([[0, 1, 2]], Category(1, "cat"), Category(2, "kitten"), Category(3, "dog"))], {"kitten": "cat", "dog": "hound"}
    )
    assert names(whole) == [["cat", "cat", "hound"]]
    assert [category.name for category in whole.categories] == ["cat", "hound"]
    with pytest.raises(ValueError, match="No data set has a class 'owl'; they have 'cat'"):
        merge([named([[0]], Category(1, "cat"))], {"owl": "cat"})
    with pytest.raises(ValueError, match="received none"):
        merge([])


def test_names_that_may_be_one_are_told():
    categories = [Category(k, name) for k, name in enumerate(["Traffic light", "traffic_light", "cat", "cats"])]
    assert similar_names(categories) == [["Traffic light", "traffic_light"]]
