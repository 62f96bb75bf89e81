"""Laws of matching and of balanced sampling."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from references import boxes as box_reference
from references import matching as reference
from references import samples
from tensors import compute

from maskrcnn.ops import matching

RPN = {"positive_iou": 0.7, "negative_iou": 0.3, "best_is_positive": True}
HEADS = {"positive_iou": 0.5, "negative_iou": 0.5, "best_is_positive": False}


def match(boxes, truth, valid, crowd, **options) -> matching.Match:
    return compute(matching.match, boxes, truth, valid, crowd, **options)


def scene(seed: int, num_boxes: int = 60, num_objects: int = 6):
    """(1, N, 4) boxes, some of them near the (2, M, 4) truth."""
    rng = np.random.default_rng(seed)
    truth = np.stack([samples.boxes(rng, num_objects, least=8) for _ in range(2)])
    near = truth[0].repeat(6, axis=0) + rng.normal(0, 2, (6 * num_objects, 4)).astype(np.float32)
    boxes = np.concatenate([near, samples.boxes(rng, num_boxes - len(near)), samples.DEGENERATE, truth[1]])[None]
    return boxes, truth, rng.random((2, num_objects)) < 0.8, rng.random((2, num_objects)) < 0.3


@pytest.mark.parametrize("options", [RPN, HEADS, {**HEADS, "crowd_overlap": 0.2}])
@pytest.mark.parametrize("seed", range(3))
def test_matching_is_that_of_the_papers(options, seed):
    boxes, truth, valid, crowd = scene(seed)
    answer = match(boxes, truth, valid, crowd, **options)
    for image in range(2):
        iou, rows, positive, negative = reference.match(boxes[0], truth[image], valid[image], crowd[image], **options)
        np.testing.assert_allclose(answer.iou[image], iou, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(answer.object[image][positive], rows[positive])
        np.testing.assert_array_equal(answer.positive[image], positive)
        np.testing.assert_array_equal(answer.negative[image], negative)


@pytest.mark.parametrize("options", [RPN, HEADS])
def test_no_box_is_positive_and_negative(options):
    answer = match(*scene(4), **options)
    assert not (answer.positive & answer.negative).any()
    assert answer.positive.any()
    assert answer.negative.any()


def test_every_object_that_any_anchor_touches_has_a_positive_anchor():
    boxes, truth, valid, crowd = scene(5)
    answer = match(boxes, truth, valid, crowd, **RPN)
    assert (valid & ~crowd).any()
    for image, row in np.argwhere(valid & ~crowd):
        iou = box_reference.iou(boxes[0], truth[image])[:, row]
        assert iou.max() == 0 or answer.positive[image, iou.argmax()]


def test_all_equally_near_anchors_of_an_object_are_positive():
    truth = np.array([[[10, 10, 30, 30]]], np.float32)
    boxes = np.array([[[0, 10, 20, 30], [20, 10, 40, 30], [0, 0, 9, 9]]], np.float32)
    answer = match(boxes, truth, np.array([[True]]), np.array([[False]]), **RPN)
    np.testing.assert_array_equal(answer.positive, [[True, True, False]])


def test_a_box_exactly_at_a_threshold_is_positive_and_no_negative():
    """Half of the object; half of it in the crowd."""
    truth = np.array([[[0, 0, 16, 16], [32, 0, 48, 16]]], np.float32)
    boxes = np.array([[[0, 0, 16, 8], [0, 0, 16, 7.9], [40, 0, 56, 16], [40.1, 0, 56.1, 16]]], np.float32)
    answer = match(boxes, truth, np.array([[True, True]]), np.array([[False, True]]), **HEADS)
    np.testing.assert_array_equal(answer.positive, [[True, False, False, False]])
    np.testing.assert_array_equal(answer.negative, [[False, True, False, True]])


def test_an_object_that_no_anchor_touches_makes_none_positive():
    truth = np.array([[[500, 500, 520, 520]]], np.float32)
    answer = match(scene(6)[0][:, :30], truth, np.array([[True]]), np.array([[False]]), **RPN)
    assert not answer.positive.any()
    assert answer.negative.all()


def test_crowds_are_never_positive_and_never_negative():
    boxes, truth, _, _ = scene(7)
    everything = np.ones(truth.shape[:2], bool)
    for options in (RPN, HEADS):
        answer = match(boxes, truth, everything, everything, **options)
        assert not answer.positive.any()
        for image in range(2):
            inside = box_reference.covered(boxes[0], truth[image]).max(axis=1) >= 0.5
            np.testing.assert_array_equal(answer.negative[image], ~inside)


def test_an_image_without_objects_has_negatives_only():
    boxes, truth, _, crowd = scene(8)
    answer = match(boxes, truth, np.zeros_like(crowd), crowd, **RPN)
    assert not answer.positive.any()
    assert answer.negative.all()
    np.testing.assert_array_equal(answer.iou, 0.0)


@pytest.mark.parametrize("filling", [np.nan, np.inf, 0.0, 1e30])
@pytest.mark.parametrize("options", [RPN, HEADS])
def test_padding_rows_change_nothing_whatever_they_hold(filling, options):
    boxes, truth, valid, crowd = scene(9)
    before = match(boxes, truth, valid, crowd, **options)
    filled = np.where(valid[..., None], truth, np.float32(filling))
    longer = [np.concatenate([array, array[:, :2]], axis=1) for array in (valid, crowd)]
    longer[0][:, -2:] = False
    padding = np.full((2, 2, 4), filling, np.float32)
    after = match(boxes, np.concatenate([filled, padding], axis=1), *longer, **options)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("options", [RPN, HEADS])
@pytest.mark.parametrize("num_objects", [15, 16, 17, 40])
def test_many_objects_are_matched_as_few_are(options, num_objects):
    """More than are looked at together, with rows that are not there before, between and after them."""
    boxes, truth, valid, crowd = scene(10, num_boxes=7 * num_objects, num_objects=num_objects)
    valid[0, : num_objects // 2] = False
    valid[1, num_objects // 2 :] = False
    answer = match(boxes, truth, valid, crowd, **options)
    for image in range(2):
        iou, rows, positive, negative = reference.match(boxes[0], truth[image], valid[image], crowd[image], **options)
        np.testing.assert_allclose(answer.iou[image], iou, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(answer.object[image][positive], rows[positive])
        np.testing.assert_array_equal(answer.positive[image], positive)
        np.testing.assert_array_equal(answer.negative[image], negative)


def test_of_equal_objects_the_first_is_matched_however_far_apart_they_stand():
    truth = np.tile(np.array([10, 10, 30, 30], np.float32), (1, 40, 1))
    valid = np.arange(40)[None] >= 3
    answer = match(truth[:, :1], truth, valid, np.zeros_like(valid), **RPN)
    np.testing.assert_array_equal(answer.object, [[3]])


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX tells what a compiled function is going to hold")
def test_memory_grows_with_the_boxes_and_not_with_boxes_times_objects():
    import jax

    def held(num_objects: int) -> int:
        boxes, truth = (jax.ShapeDtypeStruct(shape, "float32") for shape in ((1, 10_000, 4), (2, num_objects, 4)))
        rows = jax.ShapeDtypeStruct((2, num_objects), "bool")
        lowered = jax.jit(lambda *arrays: matching.match(*arrays, **RPN)).lower(boxes, truth, rows, rows)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    assert held(1000) < 1.1 * held(10)


def test_matching_equals_torchvision(golden):
    truth, expected = golden["matching_truth"][None], golden["matching_matches"]
    everything = np.ones((1, truth.shape[1]), bool)
    answer = match(golden["anchors"][None], truth, everything, ~everything, **RPN)
    np.testing.assert_array_equal(answer.positive[0], expected >= 0)
    np.testing.assert_array_equal(answer.negative[0], expected == -1)
    np.testing.assert_array_equal(answer.object[0][expected >= 0], expected[expected >= 0])


def balanced(positive, negative, num_sampled=16, positive_fraction=0.25, seed=0):
    priority = np.random.default_rng(seed).random(positive.shape).astype(np.float32)
    return compute(
        matching.sample_balanced,
        positive,
        negative,
        priority,
        num_sampled=num_sampled,
        positive_fraction=positive_fraction,
    )


@pytest.mark.parametrize("count", [4, 100])
@pytest.mark.parametrize(("part_positive", "part_negative"), [(0, 0), (0, 1), (1, 0), (0.03, 0.9), (0.4, 0.4), (0.9, 0.02)])
@pytest.mark.parametrize("positive_fraction", [0.25, 0.5])
def test_a_balanced_sample(count, part_positive, part_negative, positive_fraction):
    kind = np.random.default_rng(1).random((3, count))
    is_positive, is_negative = kind < part_positive, kind > 1 - part_negative
    indices, positive, valid = balanced(is_positive, is_negative, 16, positive_fraction)
    assert indices.shape == positive.shape == valid.shape == (3, 16)
    most = int(16 * positive_fraction)
    for image in range(3):
        chosen = indices[image][valid[image]]
        assert len(set(chosen)) == len(chosen), "no row twice"
        assert is_positive[image][indices[image][positive[image]]].all()
        assert is_negative[image][indices[image][valid[image] & ~positive[image]]].all()
        num_positive = min(most, is_positive[image].sum())
        assert positive[image].sum() == num_positive, "as many positives as there are, up to the fraction"
        assert valid[image].sum() == min(16, num_positive + is_negative[image].sum()), "filled up with negatives"
        assert positive[image][:num_positive].all(), "positives stand first"
        assert valid[image][: valid[image].sum()].all(), "rows that are not valid stand last"


def test_a_sample_is_drawn_by_priority():
    everything = np.ones((1, 400), bool)
    first, second = (balanced(~everything, everything, seed=seed)[0] for seed in (1, 2))
    again = balanced(~everything, everything, seed=1)[0]
    np.testing.assert_array_equal(first, again)
    assert len(np.intersect1d(first, second)) < 8
