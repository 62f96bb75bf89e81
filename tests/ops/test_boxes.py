"""Laws of boxes and deltas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from references import boxes as reference
from references import samples
from tensors import compute

from maskrcnn.ops import boxes as box_ops

WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def some_boxes(seed: int, count: int = 12) -> np.ndarray:
    return np.concatenate([samples.boxes(np.random.default_rng(seed), count), samples.DEGENERATE])


@pytest.mark.parametrize("name", ["iou", "covered"])
def test_overlaps_are_those_of_the_definition_also_for_degenerate_boxes(name):
    first, second = some_boxes(0), some_boxes(1, 7)
    answer = compute(getattr(box_ops, name), first, second)
    np.testing.assert_allclose(answer, getattr(reference, name)(first, second), rtol=1e-5, atol=1e-6)


def test_overlaps_broadcast_over_leading_axes():
    first, second = some_boxes(0)[None], np.stack([some_boxes(1), some_boxes(2)])
    for name in ("iou", "covered", "intersection"):
        function = getattr(box_ops, name)
        answer = compute(function, first, second)
        for image in range(2):
            np.testing.assert_allclose(answer[image], compute(function, first[0], second[image]), rtol=1e-6)


def test_iou_is_symmetric_and_1_with_itself():
    boxes = samples.boxes(np.random.default_rng(3), 20)
    iou = compute(box_ops.iou, boxes, boxes)
    np.testing.assert_allclose(iou, iou.T, rtol=1e-6)
    np.testing.assert_allclose(np.diag(iou), 1.0, rtol=1e-5)
    assert iou.min() >= 0.0
    assert iou.max() <= 1.0 + 1e-5


def test_iou_of_known_boxes():
    first = np.array([[0, 0, 10, 10]], np.float32)
    second = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 4, 4], [0, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(compute(box_ops.iou, first, second), [[1, 1 / 3, 0, 0.04, 0]], rtol=1e-6)
    np.testing.assert_allclose(compute(box_ops.covered, second, first)[:, 0], [1, 0.5, 0, 1, 0], rtol=1e-6)


def test_iou_of_boxes_far_smaller_than_a_pixel():
    tiny = 0.01 * np.array([[0, 0, 1, 1], [0.5, 0, 1.5, 1]], np.float32)
    np.testing.assert_allclose(compute(box_ops.iou, tiny, tiny), [[1, 1 / 3], [1 / 3, 1]], rtol=1e-4)
    np.testing.assert_allclose(compute(box_ops.covered, tiny, tiny), [[1, 0.5], [0.5, 1]], rtol=1e-4)


def test_boxes_turned_inside_out_have_no_area():
    areas = compute(box_ops.area, samples.DEGENERATE)
    np.testing.assert_allclose(areas, [reference.area(box) for box in samples.DEGENERATE])


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), WEIGHTS])
def test_encode_and_decode_are_those_of_the_paper(weights):
    rng = np.random.default_rng(4)
    boxes, anchors = samples.boxes(rng, 30), samples.boxes(rng, 30)
    deltas = rng.normal(0, 1, (30, 4)).astype(np.float32) * np.array([1, 1, 0.5, 5], np.float32) * np.array(weights, np.float32)
    encoded = compute(box_ops.encode, boxes, anchors, weights=weights)
    decoded = compute(box_ops.decode, deltas, anchors, weights=weights)
    np.testing.assert_allclose(encoded, reference.encode(boxes, anchors, weights), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(decoded, reference.decode(deltas, anchors, weights), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), WEIGHTS])
def test_decode_undoes_encode(weights):
    rng = np.random.default_rng(5)
    boxes, anchors = samples.boxes(rng, 30), samples.boxes(rng, 30)
    encoded = compute(box_ops.encode, boxes, anchors, weights=weights)
    back = compute(box_ops.decode, encoded, anchors, weights=weights)
    np.testing.assert_allclose(back, boxes, atol=1e-3)


def test_deltas_of_zero_change_nothing():
    boxes = samples.boxes(np.random.default_rng(6), 10)
    np.testing.assert_allclose(compute(box_ops.decode, np.zeros_like(boxes), boxes), boxes, atol=1e-5)


def test_encode_is_finite_for_boxes_without_area():
    boxes, anchors = np.broadcast_arrays(samples.DEGENERATE[:, None], samples.DEGENERATE[None])
    for weights in ((1.0, 1.0, 1.0, 1.0), WEIGHTS):
        assert np.isfinite(compute(box_ops.encode, boxes, anchors, weights=weights)).all()


def test_decode_never_enlarges_by_more_than_the_clamp():
    anchors = np.array([[10, 10, 26, 42]], np.float32).repeat(4, axis=0)
    deltas = np.array([[0, 0, 1e9, 1e9], [0, 0, np.inf, np.inf], [0, 0, 100, 5], [0, 0, -1e9, -np.inf]], np.float32)
    boxes = compute(box_ops.decode, deltas, anchors)
    sides = np.stack([boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]], axis=1)
    np.testing.assert_allclose(sides, [[1000, 2000], [1000, 2000], [1000, 2000], [0, 0]], rtol=1e-5, atol=1e-5)


def test_decode_leaves_the_least_part_where_there_is_one():
    anchors = np.array([[10, 10, 26, 42]], np.float32).repeat(3, axis=0)
    deltas = np.array([[0, 0, -1e9, -np.inf], [0, 0, -4.2, -1], [0, 0, 1e9, 0]], np.float32)
    boxes = compute(box_ops.decode, deltas, anchors, min_scale=16 / 1000)
    sides = np.stack([boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]], axis=1)
    np.testing.assert_allclose(sides, [[0.256, 0.512], [0.256, 32 / math.e], [1000, 32]], rtol=1e-4)


def test_clip_cuts_every_image_at_its_own_size():
    boxes = np.stack([some_boxes(7), some_boxes(8)])
    sizes = np.array([[40, 64], [33, 17]], np.int32)
    regions = np.concatenate([np.zeros_like(sizes), sizes[:, ::-1]], axis=1)
    clipped = compute(box_ops.clip, boxes, regions)
    for image in range(2):
        np.testing.assert_array_equal(clipped[image], reference.clip(boxes[image], sizes[image]).astype(np.float32))
    np.testing.assert_array_equal(compute(box_ops.clip, clipped, regions), clipped)


def test_coder_equals_torchvision(golden):
    encoded = compute(box_ops.encode, golden["coder_boxes"], golden["coder_reference"], weights=WEIGHTS)
    decoded = compute(box_ops.decode, golden["coder_deltas"], golden["coder_reference"], weights=WEIGHTS)
    np.testing.assert_allclose(encoded, golden["coder_encoded"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(decoded, golden["coder_decoded"], rtol=1e-5, atol=1e-4)
