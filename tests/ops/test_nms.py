"""Laws of non-maximum suppression."""

from __future__ import annotations

import numpy as np
import pytest
from references import boxes as box_reference
from references import nms as reference
from references import samples
from tensors import compute

from maskrcnn.ops.nms import nms, soft_nms


def suppress(boxes, valid=None, threshold=0.5, labels=None) -> np.ndarray:
    valid = np.ones(boxes.shape[:2], bool) if valid is None else valid
    return compute(nms, boxes, valid, iou_threshold=threshold, labels=labels)


def crowded(seed: int, images: int = 2, count: int = 50) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([samples.boxes(rng, count, side=40, least=10, most=30) for _ in range(images)])


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("with_labels", [False, True])
def test_nms_is_the_greedy_loop(threshold, with_labels):
    rng = np.random.default_rng(0)
    boxes, valid = crowded(1), rng.random((2, 50)) < 0.8
    labels = rng.integers(0, 3, (2, 50)).astype(np.int32) if with_labels else None
    keep = suppress(boxes, valid, threshold, labels)
    for image in range(2):
        own = None if labels is None else labels[image]
        np.testing.assert_array_equal(keep[image], reference.nms(boxes[image], valid[image], threshold, own))


def test_nms_is_the_greedy_loop_for_degenerate_boxes():
    boxes = np.concatenate([samples.DEGENERATE, samples.DEGENERATE, samples.boxes(np.random.default_rng(2), 10)])[None]
    expected = reference.nms(boxes[0], np.ones(boxes.shape[1], bool), 0.5)
    np.testing.assert_array_equal(suppress(boxes)[0], expected)


def test_nms_is_idempotent():
    boxes = crowded(3)
    keep = suppress(boxes)
    np.testing.assert_array_equal(suppress(boxes, keep), keep)


def test_kept_boxes_do_not_overlap_and_every_removed_one_overlaps_a_better_kept_one():
    boxes = crowded(4)
    keep = suppress(boxes, threshold=0.4)
    for image in range(2):
        iou = box_reference.iou(boxes[image], boxes[image])
        kept = np.flatnonzero(keep[image])
        assert (iou[np.ix_(kept, kept)] - np.eye(len(kept))).max() <= 0.4
        for row in np.flatnonzero(~keep[image]):
            assert (iou[row, kept[kept < row]] > 0.4).any()


def test_a_removed_box_removes_nothing():
    """The first removes the second, so the third, which overlaps the second alone, stays."""
    boxes = np.array([[[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]]], np.float32)
    np.testing.assert_array_equal(suppress(boxes, threshold=0.3), [[True, False, True]])


def test_a_chain_is_followed_to_its_end():
    """Every box overlaps the next one: every second one stays, and it takes as many rounds as there are boxes to know."""
    left = 4.0 * np.arange(60, dtype=np.float32)
    boxes = np.stack([left, 0 * left, left + 10, 0 * left + 10], axis=1)[None]
    np.testing.assert_array_equal(suppress(boxes, threshold=0.3)[0], np.arange(60) % 2 == 0)


def test_of_equal_boxes_the_first_valid_one_stays():
    boxes = np.tile(np.array([3, 4, 20, 30], np.float32), (2, 9, 1))
    valid = np.ones((2, 9), bool)
    valid[1, :4] = False
    keep = suppress(boxes, valid)
    np.testing.assert_array_equal(np.argwhere(keep), [[0, 0], [1, 4]])


def test_no_valid_row_leaves_none():
    assert not suppress(crowded(5), np.zeros((2, 50), bool)).any()


@pytest.mark.parametrize("filling", [np.nan, np.inf, -np.inf, 0.0, 1e30])
def test_rows_that_are_not_valid_change_nothing_whatever_they_hold(filling):
    boxes, valid = crowded(6), np.arange(50)[None].repeat(2, axis=0) % 3 > 0
    filled = np.where(valid[..., None], boxes, np.float32(filling))
    np.testing.assert_array_equal(suppress(filled, valid), suppress(boxes, valid))


def test_one_box_survives():
    assert suppress(np.array([[[0, 0, 5, 5]]], np.float32)).all()


def test_one_image_does_not_touch_the_other():
    boxes = crowded(7)
    np.testing.assert_array_equal(suppress(boxes)[1], suppress(boxes[1:])[0])


def test_per_class_is_each_class_by_itself():
    boxes, labels = crowded(8), np.random.default_rng(8).integers(0, 4, (2, 50)).astype(np.int32)
    keep = suppress(boxes, labels=labels)
    for label in range(4):
        of_class = labels == label
        np.testing.assert_array_equal(keep & of_class, suppress(boxes, of_class))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_nms_equals_torchvision(golden, threshold):
    boxes, labels, name = golden["nms_boxes"][None], golden["nms_labels"][None], f"{threshold:.1f}".replace(".", "")
    np.testing.assert_array_equal(np.flatnonzero(suppress(boxes, threshold=threshold)), golden[f"nms_{name}"])
    per_class = suppress(boxes, threshold=threshold, labels=labels)
    np.testing.assert_array_equal(np.flatnonzero(per_class), golden[f"nms_labels_{name}"])


SOFT = {"num": 20, "iou_threshold": 0.3, "sigma": 0.5}


def random_scores(seed: int, images: int = 2, count: int = 50) -> np.ndarray:
    scores = np.random.default_rng(seed).uniform(0.05, 1, (images, count)).astype(np.float32)
    scores[:, ::7] = -np.inf
    return scores


@pytest.mark.parametrize("kind", ["linear", "gaussian"])
@pytest.mark.parametrize("with_labels", [False, True])
def test_soft_nms_is_the_papers_loop(kind, with_labels):
    boxes, scores = crowded(1), random_scores(2)
    labels = np.random.default_rng(3).integers(0, 3, (2, 50)).astype(np.int32) if with_labels else None
    found = compute(soft_nms, boxes, scores, labels=labels, kind=kind, **SOFT)
    for image in range(2):
        own = None if labels is None else labels[image]
        want = reference.soft_nms(boxes[image], scores[image], own, kind=kind, **SOFT)
        assert np.isfinite(want).sum() == 20
        np.testing.assert_allclose(found[image], want, rtol=1e-4)


def test_of_boxes_apart_soft_nms_takes_the_best_as_they_are():
    boxes = np.array([[[10 * k, 0, 10 * k + 5, 5] for k in range(6)]], np.float32)
    scores = np.array([[0.3, 0.9, 0.5, 0.1, 0.7, -np.inf]], np.float32)
    found = compute(soft_nms, boxes, scores, kind="linear", num=3, iou_threshold=0.5, sigma=0.5)
    np.testing.assert_array_equal(found, np.array([[-np.inf, 0.9, 0.5, -np.inf, 0.7, -np.inf]], np.float32))


def test_the_same_box_twice_keeps_no_score_and_never_becomes_nan():
    boxes = np.tile(np.array([[[0, 0, 8, 8]]], np.float32), (1, 4, 1))
    scores = np.array([[0.9, 0.8, 0.7, -np.inf]], np.float32)
    found = compute(soft_nms, boxes, scores, kind="linear", num=4, iou_threshold=0.5, sigma=0.5)
    np.testing.assert_allclose(found, [[0.9, 0, 0, -np.inf]], atol=1e-6)
