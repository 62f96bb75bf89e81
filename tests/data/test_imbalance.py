"""Laws of class weights and repeat factors."""

from __future__ import annotations

import numpy as np
import pytest
from small_data import dataset_of

from maskrcnn.data.imbalance import MOST, class_weights, count_images, count_objects, repeat_factors

LABELS = [[0] * 6, [0, 0, 1], [], [1, 2]]  # of the objects of each image: 8, 2, 1 and none of four classes


def on_average(dataset, weights):
    counts = count_objects(dataset)
    return counts @ weights / counts.sum()


def test_crowds_are_neither_objects_nor_in_images():
    crowded = dataset_of(LABELS, num_classes=4, crowds=[[3, 1, 1], [], [3], []])
    np.testing.assert_array_equal(count_objects(crowded), [8, 2, 1, 0])
    np.testing.assert_array_equal(count_images(crowded), [2, 2, 1, 0])
    for of in (lambda data: class_weights(data, "balanced"), lambda data: repeat_factors(data, 0.9)):
        np.testing.assert_array_equal(of(crowded), of(dataset_of(LABELS, num_classes=4)))


def test_balanced_weights_make_each_class_count_the_same():
    dataset = dataset_of(LABELS, num_classes=4)
    weights = np.array(class_weights(dataset, "balanced"))
    np.testing.assert_allclose((count_objects(dataset) * weights)[:3], 11 / 3)
    assert weights[3] == 1


@pytest.mark.parametrize("how", ["balanced", "effective"])
def test_weights_are_1_on_average_over_objects_and_differ_by_a_limit(how):
    dataset = dataset_of([[0] * 5000, [1] * 30, [2]], num_classes=3)
    weights = class_weights(dataset, how)
    np.testing.assert_allclose(on_average(dataset, weights), 1)
    np.testing.assert_allclose(max(weights) / min(weights), MOST)
    assert weights[0] < weights[1] <= weights[2]


def test_effective_numbers_are_those_of_the_paper():
    """Beta 0.5: 1, 2 and 3 objects are worth 1, 1.5 and 1.75. Towards 0 all classes weigh alike, towards 1 inversely."""
    dataset = dataset_of([[0, 0, 0, 1, 1, 2]], num_classes=3)
    weights = np.array(class_weights(dataset, "effective", beta=0.5))
    np.testing.assert_allclose(weights[2] / weights, [1.75, 1.5, 1])
    np.testing.assert_allclose(class_weights(dataset, "effective", beta=0.0), 1)
    inverse = class_weights(dataset, "balanced")
    np.testing.assert_allclose(class_weights(dataset, "effective", beta=1 - 1e-7), inverse, rtol=1e-5)


def test_even_classes_weigh_1():
    np.testing.assert_allclose(class_weights(dataset_of([[0, 1], [1, 0]], num_classes=2), "balanced"), 1)


def test_no_objects_weigh_1():
    assert class_weights(dataset_of([[], []], num_classes=2), "effective") == (1.0, 1.0)


def test_weights_by_name_stand_where_their_class_does():
    dataset = dataset_of(LABELS, num_classes=4)
    assert class_weights(dataset, {"c2": 3, "c0": 0.5}) == (0.5, 1.0, 3.0, 1.0)


@pytest.mark.parametrize(
    ("how", "beta", "words"),
    [
        ({"cat": 2.0}, 0.9, "'cat'.* possible: c0, c1"),
        ({"c0": 0.0}, 0.9, "finite numbers above 0"),
        ({"c0": float("nan")}, 0.9, "finite numbers above 0"),
        ("inverse", 0.9, "'balanced', 'effective' or weights by class name; received 'inverse'"),
        ("effective", 1.0, "less than 1; received 1.0"),
    ],
)
def test_weights_that_cannot_be_are_refused_in_one_line(how, beta, words):
    with pytest.raises(ValueError, match=words) as error:
        class_weights(dataset_of(LABELS, num_classes=2 + 2), how, beta=beta)
    assert "\n" not in str(error.value)


def test_an_image_comes_as_often_as_its_rarest_class_asks_for():
    """Classes in 4, 2 and 1 of 4 images, wanted in all: 1, √2 and √4 times."""
    dataset = dataset_of([[0, 0, 1, 2], [0, 1], [0], [0]], num_classes=4)
    np.testing.assert_allclose(repeat_factors(dataset, 1.0), [2, np.sqrt(2), 1, 1])
    np.testing.assert_allclose(repeat_factors(dataset, 0.5), [np.sqrt(2), 1, 1, 1])
    np.testing.assert_array_equal(repeat_factors(dataset), 1)


def test_an_image_without_objects_comes_once():
    np.testing.assert_allclose(repeat_factors(dataset_of([[], [0], []], num_classes=1), 1.0), [1, np.sqrt(3), 1])


def test_a_threshold_is_a_part():
    with pytest.raises(ValueError, match="0 to 1; received 2"):
        repeat_factors(dataset_of([[0]], num_classes=1), 2)
