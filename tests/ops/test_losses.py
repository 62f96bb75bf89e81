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
AGAINST_IMBALANCE = [
    {"class_weights": (0.2, 3.0, 1.5)},
    {"focal_gamma": 2.0},
    {"focal_gamma": 0.5},
    {"label_smoothing": 0.1},
    {"class_weights": (0.2, 3.0, 1.5), "focal_gamma": 2.0, "label_smoothing": 0.1},
]


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


@pytest.mark.parametrize("options", AGAINST_IMBALANCE)
def test_class_loss_and_its_gradient_are_the_definition_s_with_every_option(options):
    _, _, _, logits, classes, _, valid = rows(3)
    classes = classes.astype(np.int32)
    answer = compute(loss_ops.class_loss, logits, classes, valid, **options)
    np.testing.assert_allclose(answer, reference.class_loss(logits, classes, valid, **options), rtol=1e-5)
    tensors = [keras.ops.convert_to_tensor(array) for array in (classes, valid)]
    answer = gradient(lambda x: loss_ops.class_loss(x, *tensors, **options), logits)
    expected = gradients.numeric(lambda x: reference.class_loss(x, classes, valid, **options), logits)
    np.testing.assert_allclose(answer, expected, atol=1e-5)


@pytest.mark.parametrize("options", AGAINST_IMBALANCE)
def test_with_every_option_an_empty_batch_gives_0_and_extreme_logits_a_finite_slope(options):
    logits, classes = np.array([[[1e4, -1e4, 0, 0], [1e4, -1e4, 0, 0]]], np.float32), np.array([[0, 1]], np.int32)
    for valid in (np.zeros((1, 2), bool), np.ones((1, 2), bool)):
        loss = lambda x: loss_ops.class_loss(x, *map(keras.ops.convert_to_tensor, (classes, valid)), **options)  # noqa: B023, E731
        value, slope = compute(loss, logits), gradient(loss, logits)
        assert np.isfinite(value) and np.isfinite(slope).all()
        assert valid.any() or (value == 0 and not slope.any())


def test_class_loss_worked_by_hand():
    """Scores 1/2, 1/4, 1/4 of a background and 1/4, 1/2, 1/4 of the second class: -log is 1 and 2 times log 2."""
    logits, classes = np.log(np.array([[[2, 1, 1], [1, 2, 1]]], np.float32)), np.array([[0, 2]], np.int32)
    loss = lambda **options: compute(loss_ops.class_loss, logits, classes, np.ones((1, 2), bool), **options) / np.log(2)  # noqa: E731
    weights, gamma, smoothing = {"class_weights": (9.0, 3.0)}, {"focal_gamma": 2.0}, {"label_smoothing": 0.3}
    np.testing.assert_allclose(loss(), (1 + 2) / 2, rtol=1e-6)
    np.testing.assert_allclose(loss(**weights), (1 * 1 + 3 * 2) / (1 + 3), rtol=1e-6)
    np.testing.assert_allclose(loss(**gamma), (1 / 4 * 1 + 9 / 16 * 2) / 2, rtol=1e-6)
    np.testing.assert_allclose(loss(**smoothing), 0.7 * 3 / 2 + 0.3 * 5 / 3, rtol=1e-6)
    both = (1 * 1 / 4 * (0.7 + 0.5) + 3 * 9 / 16 * (1.4 + 0.5)) / (1 + 3)
    np.testing.assert_allclose(loss(**weights, **gamma, **smoothing), both, rtol=1e-6)


def test_weights_of_one_gamma_0_and_no_smoothing_change_nothing():
    _, _, _, logits, classes, _, valid = rows(4)
    plain = compute(loss_ops.class_loss, logits, classes.astype(np.int32), valid)
    options = {"class_weights": (1.0, 1.0, 1.0), "focal_gamma": 0.0, "label_smoothing": 0.0}
    np.testing.assert_array_equal(compute(loss_ops.class_loss, logits, classes.astype(np.int32), valid, **options), plain)


def test_weights_count_relative_to_the_background_s():
    _, _, _, logits, classes, _, valid = rows(5)
    loss = lambda classes, weights: compute(  # noqa: E731
        loss_ops.class_loss, logits, classes.astype(np.int32), valid, class_weights=weights
    )
    objects = np.maximum(classes, 1)
    for factor in (0.01, 100.0):  # 0.01: the weights of all RoIs together are less than 1
        scaled = tuple(factor * weight for weight in (0.2, 3.0, 1.5))
        np.testing.assert_allclose(loss(objects, scaled), loss(objects, (0.2, 3.0, 1.5)), rtol=1e-5)
        assert not np.isclose(loss(classes, scaled), loss(classes, (0.2, 3.0, 1.5)), rtol=1e-2)


def test_focal_loss_takes_more_from_easy_rois_than_from_hard_ones():
    valid, classes = np.ones((1, 1), bool), np.array([[1]], np.int32)
    left = []
    for lead in (-3.0, 0.0, 3.0, 6.0):
        logits = np.array([[[0, lead]]], np.float32)
        plain, focal = (compute(loss_ops.class_loss, logits, classes, valid, focal_gamma=gamma) for gamma in (0.0, 2.0))
        left.append(focal / plain)
    assert 1 > left[0] > left[1] > left[2] > left[3] > 0
    np.testing.assert_allclose(left[1], 0.25, rtol=1e-5)


def test_smoothing_asks_for_no_more_than_its_target():
    """The least loss is at the smoothed target itself, so certainty costs."""
    classes, valid = np.array([[2]], np.int32), np.ones((1, 1), bool)
    logits = np.log(np.array([[[0.1, 0.1, 0.8]]], np.float32))
    options = {"label_smoothing": 0.3}
    tensors = [keras.ops.convert_to_tensor(array) for array in (classes, valid)]
    np.testing.assert_allclose(gradient(lambda x: loss_ops.class_loss(x, *tensors, **options), logits), 0, atol=1e-6)


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


def pairs_of_boxes(seed: int = 0, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """(2, count, 4) boxes and their targets; some touch, some do not."""
    rng = np.random.default_rng(seed)
    corner, side = rng.uniform(0, 40, (2, 2, count, 2)), rng.uniform(2, 30, (2, 2, count, 2))
    first, second = np.concatenate([corner, corner + side], axis=-1).astype(np.float32)
    return first, second


KINDS = ["giou", "diou", "ciou"]


@pytest.mark.parametrize("kind", KINDS)
def test_distances_of_boxes_are_those_of_the_papers(kind):
    boxes, target = pairs_of_boxes()
    found = compute(loss_ops.iou_distance, boxes, target, kind=kind)
    want = [[reference.iou_distance(*pair, kind) for pair in zip(*rows)] for rows in zip(boxes, target)]
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_boxes_have_no_distance_and_size_and_place_do_not_count(kind):
    boxes, target = pairs_of_boxes(1)
    np.testing.assert_allclose(compute(loss_ops.iou_distance, boxes, boxes, kind=kind), 0, atol=1e-5)
    found = compute(loss_ops.iou_distance, boxes, target, kind=kind)
    moved = compute(loss_ops.iou_distance, 3 * boxes + 50, 3 * target + 50, kind=kind)
    np.testing.assert_allclose(moved, found, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_that_do_not_touch_are_drawn_together_and_flat_ones_give_numbers(kind):
    target = np.array([[[50, 50, 60, 60], [50, 50, 60, 60]]], np.float32)
    boxes = np.array([[[0, 0, 10, 10], [0, 20, 0, 20]]], np.float32)  # apart; without area
    slope = gradient(lambda x: keras.ops.sum(loss_ops.iou_distance(x, keras.ops.convert_to_tensor(target), kind)), boxes)
    assert np.isfinite(slope).all()
    assert slope[0, 0, 2] < 0 and slope[0, 0, 3] < 0  # a step down the slope moves its right and lower edge to the target


def test_the_loss_of_boxes_counts_positives_and_divides_by_samples():
    boxes, target = pairs_of_boxes(2, count=6)
    _, _, _, _, _, positive, valid = rows()
    found = compute(loss_ops.iou_box_loss, boxes, target, positive, valid, kind="giou")
    each = [
        reference.iou_distance(boxes[at], target[at], "giou") for at in np.ndindex(valid.shape) if positive[at] and valid[at]
    ]
    assert each
    np.testing.assert_allclose(found, sum(each) / valid.sum(), rtol=1e-4)
