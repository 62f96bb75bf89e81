"""Laws of the losses."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from references import gradients
from references import losses as reference
from tensors import compute, gradient

from maskrcnn.ops import losses as loss_ops

BETAS = [1.0, 1 / 9, 0.0]


def rows(seed: int = 0):
    """Logits (2, 6), deltas (2, 6, 4), their target, class logits (2, 6, 4), classes, positive, valid (2, 6)."""
    rng = np.random.default_rng(seed)
    normal = lambda *shape: rng.normal(0, 2, shape).astype(np.float32)  # noqa: E731
    positive, valid = rng.random((2, 6)) < 0.5, rng.random((2, 6)) < 0.7
    return normal(2, 6), normal(2, 6, 4), normal(2, 6, 4), normal(2, 6, 4), rng.integers(0, 4, (2, 6)), positive, valid


@pytest.mark.parametrize("beta", BETAS)
def test_losses_are_those_of_the_papers(beta):
    logits, deltas, target, class_logits, classes, positive, valid = rows()
    classes = classes.astype(np.int32)
    objectness = compute(loss_ops.objectness_loss, logits, positive, valid)
    np.testing.assert_allclose(objectness, reference.objectness_loss(logits, positive, valid), rtol=1e-5)
    box = compute(loss_ops.box_loss, deltas, target, positive, valid, beta=beta)
    np.testing.assert_allclose(box, reference.box_loss(deltas, target, positive, valid, beta), rtol=1e-5)
    of_class = compute(loss_ops.class_loss, class_logits, classes, valid)
    np.testing.assert_allclose(of_class, reference.class_loss(class_logits, classes, valid), rtol=1e-5)


def test_gradients_are_the_numeric_ones_of_the_definition():
    logits, deltas, target, class_logits, classes, positive, valid = rows(1)
    tensor = keras.ops.convert_to_tensor
    answer = gradient(lambda x: loss_ops.objectness_loss(x, tensor(positive), tensor(valid)), logits)
    expected = gradients.numeric(lambda x: reference.objectness_loss(x, positive, valid), logits)
    np.testing.assert_allclose(answer, expected, atol=1e-5)
    for beta in BETAS:
        answer = gradient(lambda x: loss_ops.box_loss(x, tensor(target), tensor(positive), tensor(valid), beta), deltas)  # noqa: B023
        expected = gradients.numeric(lambda x: reference.box_loss(x, target, positive, valid, beta), deltas)  # noqa: B023
        np.testing.assert_allclose(answer, expected, atol=1e-5)
    answer = gradient(lambda x: loss_ops.class_loss(x, tensor(classes.astype(np.int32)), tensor(valid)), class_logits)
    expected = gradients.numeric(lambda x: reference.class_loss(x, classes, valid), class_logits)
    np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_where_nothing_counts_the_loss_and_its_gradient_are_0():
    logits, deltas, target, class_logits, classes, positive, _ = rows(2)
    nothing, classes = np.zeros((2, 6), bool), classes.astype(np.int32)
    tensor = keras.ops.convert_to_tensor
    for function, values in (
        (lambda x: loss_ops.objectness_loss(x, tensor(positive), tensor(nothing)), logits),
        (lambda x: loss_ops.box_loss(x, tensor(target), tensor(positive), tensor(nothing), 0.1), deltas),
        (lambda x: loss_ops.box_loss(x, tensor(target), tensor(nothing), tensor(~nothing), 0.1), deltas),
        (lambda x: loss_ops.class_loss(x, tensor(classes), tensor(nothing)), class_logits),
        (lambda x: loss_ops.weighted_mean(x, tensor(nothing)), logits),
    ):
        assert compute(function, values) == 0.0
        np.testing.assert_array_equal(gradient(function, values), 0.0)


def test_losses_and_gradients_are_finite_for_any_logits():
    logits = np.array([-1e30, -1e4, -100, 0, 100, 1e4, 1e30], np.float32)
    for target in (np.zeros(7, np.float32), np.ones(7, np.float32)):
        values = compute(loss_ops.binary_crossentropy, target, logits)
        np.testing.assert_allclose(
            values, [reference.binary_crossentropy(t, x) for t, x in zip(target, logits.astype(float))], atol=1e-30
        )
        slope = gradient(lambda x: keras.ops.sum(loss_ops.binary_crossentropy(keras.ops.convert_to_tensor(target), x)), logits)  # noqa: B023
        assert np.isfinite(slope).all()
    valid, classes = np.ones((1, 2), bool), np.array([[0, 1]], np.int32)
    extreme = np.array([[[1e4, -1e4], [1e4, -1e4]]], np.float32)
    tensors = [keras.ops.convert_to_tensor(array) for array in (classes, valid)]
    assert compute(loss_ops.class_loss, extreme, classes, valid) == 1e4
    assert np.isfinite(gradient(lambda x: loss_ops.class_loss(x, *tensors), extreme)).all()


def test_smooth_l1_is_smooth_where_it_turns():
    for beta in (1.0, 1 / 9):
        around = np.array([-beta, np.nextafter(np.float32(beta), 0), beta], np.float32)
        np.testing.assert_allclose(compute(loss_ops.smooth_l1, around, beta=beta), beta / 2, rtol=1e-6)
        slope = gradient(lambda x: keras.ops.sum(loss_ops.smooth_l1(x, beta)), around)  # noqa: B023
        np.testing.assert_allclose(slope, [-1, 1, 1], rtol=1e-6)
    at_the_corner = gradient(lambda x: keras.ops.sum(loss_ops.smooth_l1(x, 0.0)), np.zeros(1, np.float32))
    assert -1.0 <= at_the_corner <= 1.0  # backends choose different subgradients of |x| at 0


def test_a_certain_and_right_answer_costs_nothing():
    logits = np.array([[[50, 0, 0], [0, 50, 0]]], np.float32)
    assert compute(loss_ops.class_loss, logits, np.array([[0, 1]], np.int32), np.ones((1, 2), bool)) < 1e-6
    sure = np.array([[50, -50]], np.float32)
    assert compute(loss_ops.objectness_loss, sure, np.array([[True, False]]), np.ones((1, 2), bool)) < 1e-6


def test_a_box_weighs_the_same_beside_many_objects_and_few():
    """Halving the positives halves the sum, because the samples' number stays."""
    deltas, target, valid = np.ones((1, 8, 4), np.float32), np.zeros((1, 8, 4), np.float32), np.ones((1, 8), bool)
    few, many = (np.arange(8)[None] < count for count in (2, 4))
    loss = lambda positive: compute(loss_ops.box_loss, deltas, target, positive, valid, beta=1.0)  # noqa: E731
    np.testing.assert_allclose(2 * loss(few), loss(many), rtol=1e-6)
    np.testing.assert_allclose(loss(few), 2 * 4 * 0.5 / 8, rtol=1e-6)


def test_losses_equal_torch(golden):
    logits, target = golden["loss_logits"], golden["loss_target"]
    smooth = compute(loss_ops.smooth_l1, logits - target, beta=1 / 9)
    np.testing.assert_allclose(smooth, golden["loss_smooth_l1"], rtol=1e-5, atol=1e-6)
    binary = compute(loss_ops.binary_crossentropy, (target > 0).astype(np.float32), logits)
    np.testing.assert_allclose(binary, golden["loss_binary"], rtol=1e-5, atol=1e-6)
    of_class = compute(loss_ops.class_loss, logits, golden["loss_classes"], np.ones(logits.shape[:2], bool))
    np.testing.assert_allclose(of_class, golden["loss_class"], rtol=1e-5)
