"""Laws of the losses for many classes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from references import class_losses as reference
from references import gradients
from tensors import compute, gradient

from maskrcnn.ops import class_losses

K = 4
COUNTS = (1000.0, 30.0, 0.0, 5.0)


def rows(seed: int = 0):
    """Logits of background and object (2, 6, 2), of classes (2, 6, K), classes and valid (2, 6)."""
    rng = np.random.default_rng(seed)
    normal = lambda *shape: rng.normal(0, 2, shape).astype(np.float32)  # noqa: E731
    return normal(2, 6, 2), normal(2, 6, K), rng.integers(0, K + 1, (2, 6)).astype(np.int32), rng.random((2, 6)) < 0.7


def joined(objects: np.ndarray, of_classes: np.ndarray) -> np.ndarray:
    """(2, 6, K + 1), one softmax of both."""
    logits = np.concatenate([objects[..., :1], of_classes], axis=-1)
    return compute(class_losses.with_objectness, logits, objects[..., 1:])


@pytest.mark.parametrize("counts", [(), COUNTS])
def test_seesaw_loss_and_gradient_are_those_of_the_paper(counts):
    objects, of_classes, classes, valid = rows()
    found = compute(class_losses.seesaw_loss, joined(objects, of_classes), classes, valid, class_counts=counts)
    np.testing.assert_allclose(found, reference.seesaw_loss(objects, of_classes, classes, valid, counts), rtol=1e-5)
    if counts:
        return  # the compensation has no slope, so the gradient is that of a definition without it
    tensor, ones = keras.ops.convert_to_tensor, np.ones_like(of_classes)  # alike classes: nothing to compensate
    logits = np.concatenate([objects[..., :1], ones], axis=-1)
    slope = gradient(
        lambda x: class_losses.seesaw_loss(class_losses.with_objectness(tensor(logits), x), tensor(classes), tensor(valid)),
        objects[..., 1:].copy(),
    )
    expected = gradients.numeric(
        lambda x: reference.seesaw_loss(np.concatenate([objects[..., :1], x], -1), ones, classes, valid, ()),
        objects[..., 1:].copy(),
    )
    np.testing.assert_allclose(slope, expected, atol=1e-5)


def test_seesaw_scores_are_an_objects_times_its_classes():
    objects, of_classes, _, _ = rows()
    found = compute(class_losses.class_scores, joined(objects, of_classes), kind="seesaw")
    for place in np.ndindex(2, 6):
        expected = reference.softmax(objects[place])[1] * reference.softmax(of_classes[place])
        np.testing.assert_allclose(found[place], expected, rtol=1e-5)


def test_seesaw_spares_a_rare_class_and_not_a_common_one():
    """The slope that an object of one class has on the logit of another: by mitigation less where that one is rare."""
    logits = np.array([[[-50.0, 0.0, 0.0]]], np.float32)  # an object for sure
    tensor, valid = keras.ops.convert_to_tensor, np.ones((1, 1), bool)

    def slope(true: int, other: int) -> float:
        classes = np.array([[true]], np.int32)
        loss = lambda x: class_losses.seesaw_loss(x, tensor(classes), tensor(valid), (1000.0, 10.0))  # noqa: E731
        return float(gradient(loss, logits)[0, 0, other])

    common_on_rare, rare_on_common = slope(1, 2), slope(2, 1)
    assert 0 < common_on_rare < 0.2 * rare_on_common


def test_federated_loss_and_gradient_are_those_of_the_definition():
    objects, of_classes, classes, valid = rows(1)
    logits = np.concatenate([objects[..., :1], of_classes], axis=-1)
    counted = np.array([[True, False, False, True], [False, True, False, False]])
    found = compute(class_losses.federated_loss, logits, classes, valid, counted)
    np.testing.assert_allclose(found, reference.federated_loss(logits, classes, valid, counted), rtol=1e-5)
    tensor = keras.ops.convert_to_tensor
    answer = gradient(lambda x: class_losses.federated_loss(x, tensor(classes), tensor(valid), tensor(counted)), logits)
    expected = gradients.numeric(lambda x: reference.federated_loss(x, classes, valid, counted), logits)
    np.testing.assert_allclose(answer, expected, atol=1e-5)
    assert (answer[0, :, 2][classes[0] != 2] == 0).all()  # class 1 neither counts in the first image …
    assert (answer[0, :, 2][(classes[0] == 2) & valid[0]] < 0).all()  # … nor is it no longer learned


def test_classes_that_are_met_count_and_others_are_drawn_by_the_root_of_their_frequency():
    classes, valid = np.array([[0, 2, 2]], np.int32), np.array([[True, True, True]])
    chosen = []
    for seed in range(200):
        options = {"num_classes": 5, "num_sampled": 3, "seed": seed}
        chosen.append(
            keras.ops.convert_to_numpy(
                class_losses.federated_classes(
                    *map(keras.ops.convert_to_tensor, (classes, valid)), (100.0, 4.0, 1.0, 0.0, 400.0), **options
                )
            )
        )
    chosen = np.array(chosen)
    assert chosen[:, 1].all() and not chosen[:, 3].any()
    assert (chosen.sum(axis=1) == 2).all()  # of three places one is the background's
    shares = chosen.mean(axis=0)[[0, 2, 4]]
    np.testing.assert_allclose(shares, np.array([10, 1, 20]) / 31, atol=0.1)


def test_where_more_classes_are_met_than_places_all_of_them_count():
    classes = np.array([[1, 2, 3, 4]], np.int32)
    rows = map(keras.ops.convert_to_tensor, (classes, np.array([[True, True, True, False]])))
    found = class_losses.federated_classes(*rows, (), 5, num_sampled=2, seed=0)
    assert keras.ops.convert_to_numpy(found).tolist() == [True, True, True, False, False]


def test_what_an_image_was_searched_for_counts_there_and_what_is_incomplete_never():
    marks = np.array([[0, 1, 2], [0, 0, 0]], np.uint8)
    found = compute(class_losses.counted_classes, np.array([True, False, True]), marks)
    assert found.tolist() == [[True, True, False], [True, False, True]]


@pytest.mark.parametrize("kind", ["cross_entropy", "federated"])
def test_mean_logits_give_back_the_mean_of_the_scores(kind):
    rng = np.random.default_rng(0)
    every = [rng.normal(0, 3, (1, 5, 4)).astype(np.float32) for _ in range(3)]
    found = compute(class_losses.class_scores, compute(class_losses.mean_logits, every, kind=kind), kind=kind)
    expected = np.mean([compute(class_losses.class_scores, logits, kind=kind) for logits in every], axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_without_rois_both_losses_are_0():
    objects, of_classes, classes, valid = rows(2)
    logits, nothing = joined(objects, of_classes), np.zeros_like(valid)
    assert compute(class_losses.seesaw_loss, logits, classes, nothing) == 0.0
    assert compute(class_losses.federated_loss, logits, classes, nothing, np.ones((2, K), bool)) == 0.0
