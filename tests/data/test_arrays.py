"""Data sets of arrays in memory."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import MASKS, SIZE, assert_scene, numbers

from maskrcnn.config.model import ImageConfig
from maskrcnn.data.dataset import Dataset
from maskrcnn.data.reading import read_sample

IMAGE = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
STACK = np.stack(list(MASKS.values()))


def test_stacks_of_masks_and_label_maps_are_the_same_data():
    data = Dataset.from_arrays([IMAGE, IMAGE[..., 0]], [STACK, numbers()], [list(MASKS), list(MASKS)])
    for image in (0, 1):
        assert_scene(data, image)
    assert [category.name for category in data.categories] == ["cat", "dog", "tree"]
    np.testing.assert_array_equal(read_sample(data.samples[0], ImageConfig()).image, IMAGE)
    assert data.samples[1].image.shape == (*SIZE, 3)
    data.check_trainable()


def test_labels_may_be_numbers_or_missing():
    data = Dataset.from_arrays([IMAGE], [STACK], [[1, 0, 2]], classes=["tree", "cat", "dog", "bird"])
    assert_scene(data)
    assert len(data.categories) == 4
    assert_scene(Dataset.from_arrays([IMAGE], [STACK]), named=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([IMAGE], []), "received 1 images, 0 masks"),
        (([IMAGE], [STACK], []), "0 lists of labels"),
        (([IMAGE], [STACK], [["cat"]]), "3 objects and 1 labels"),
        (([IMAGE], [STACK[:, 1:]]), r"as image 1 is; received \(3, 39, 60\)"),
        (([IMAGE / 255], [STACK]), r"uint8; received float64"),
        (([IMAGE], [STACK * 0]), r"at \[0, 1, 2\] have none"),
        (([IMAGE], [numbers() / 2]), "whole numbers"),
        (([IMAGE], [STACK], [[0, 1, 2]]), "received numbers alone"),
    ],
)
def test_what_does_not_belong_together_is_an_error(arguments, words):
    with pytest.raises(ValueError, match=words):
        Dataset.from_arrays(*arguments)


def test_a_label_that_no_class_has_is_an_error():
    with pytest.raises(ValueError, match="label 'fox'; classes are cat, dog"):
        Dataset.from_arrays([IMAGE], [STACK], [["cat", "dog", "fox"]], classes=["cat", "dog"])
