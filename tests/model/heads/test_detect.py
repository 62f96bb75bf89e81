"""Laws of the way from the box head's answers to detections."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from references import boxes as box_reference
from references import nms as nms_reference
from references import samples
from tensors import compute, windows_of

from maskrcnn.config.model import BoxHeadConfig, DetectConfig
from maskrcnn.model.heads.detect import Detect
from maskrcnn.structures import PaddedDetections, Proposals

WEIGHTS = BoxHeadConfig().delta_weights
SIZES = np.array([[64, 96], [50, 60]], np.int32)


def answers(num_classes: int = 3, count: int = 20, seed: int = 0):
    """Proposals, logits and deltas; every fifth proposal is padding."""
    rng = np.random.default_rng(seed)
    valid = np.tile(np.arange(count) % 5 > 0, (2, 1))
    boxes = np.stack([samples.boxes(rng, count, side=40, least=10) for _ in range(2)])
    logits = rng.normal(0, 2, (2, count, num_classes + 1)).astype(np.float32)
    deltas = rng.normal(0, 0.5, (2, count, num_classes, 4)).astype(np.float32)
    return Proposals(boxes, np.zeros((2, count), np.float32), valid), logits, deltas


def detect(config: DetectConfig, proposals, logits, deltas, sizes=SIZES) -> PaddedDetections:
    return compute(detector(config), proposals, logits, deltas, windows_of(sizes))


@functools.cache
def detector(config: DetectConfig) -> Detect:
    """One for each config, so that JAX compiles it once."""
    return Detect(config, BoxHeadConfig(delta_weights=WEIGHTS))


def slow_detections(config: DetectConfig, proposals, logits, deltas, image: int):
    """(score, label, box) of one image, best first."""
    rows = []
    for roi in range(logits.shape[1]):
        exponential = np.exp(logits[image, roi].astype(float))
        for label in range(logits.shape[2] - 1):
            score = exponential[label + 1] / exponential.sum()
            if proposals.valid[image, roi] and score > config.score:
                box = box_reference.decode(deltas[image, roi, label][None], proposals.boxes[image, roi][None], WEIGHTS)
                rows.append((score, label, box_reference.clip(box, SIZES[image])[0]))
    rows = sorted(rows, key=lambda row: -row[0])[: config.candidates]
    boxes, labels = np.array([row[2] for row in rows]).reshape(-1, 4), np.array([row[1] for row in rows])
    large = (boxes[:, 2] - boxes[:, 0] >= 1e-2) & (boxes[:, 3] - boxes[:, 1] >= 1e-2)
    keep = nms_reference.nms(boxes, large, config.nms_iou, labels if config.nms == "per_class" else None)
    return [row for row, kept in zip(rows, keep) if kept][: config.max_detections]


@pytest.mark.parametrize("nms", ["per_class", "class_agnostic"])
@pytest.mark.parametrize(
    "limits", [{}, {"max_detections": 7}, {"candidates": 12}, {"score": 0.5}, {"candidates": 5, "max_detections": 9}]
)
def test_detections_are_the_best_boxes_of_all_classes_without_doubles(nms, limits):
    config = DetectConfig(**{"max_detections": 30, "nms": nms, **limits})
    given = answers()
    found = detect(config, *given)
    assert found.boxes.shape == (2, config.max_detections, 4)
    assert found.masks is None
    for image in range(2):
        expected = slow_detections(config, *given, image)
        count = len(expected)
        assert found.valid[image].sum() == count
        np.testing.assert_allclose(found.scores[image, :count], [row[0] for row in expected], rtol=1e-4)
        np.testing.assert_array_equal(found.labels[image, :count], [row[1] for row in expected])
        np.testing.assert_allclose(found.boxes[image, :count], [row[2] for row in expected], atol=1e-3)


def test_classes_do_not_suppress_each_other_unless_nms_is_class_agnostic():
    """One proposal that could be two things."""
    proposals = Proposals(np.array([[[10, 10, 40, 40]]], np.float32), np.ones((1, 1), np.float32), np.ones((1, 1), bool))
    given = proposals, np.array([[[0, 2, 1.5, -9]]], np.float32), np.zeros((1, 1, 3, 4), np.float32), SIZES[:1]
    both, one = (detect(DetectConfig(nms=nms), *given) for nms in ("per_class", "class_agnostic"))
    np.testing.assert_array_equal(both.labels[both.valid], [0, 1])
    np.testing.assert_array_equal(one.labels[one.valid], [0])


@pytest.mark.parametrize("num_classes", [1, 80])
def test_detections_are_inside_the_image_sorted_and_at_most_so_many(num_classes):
    found = detect(DetectConfig(max_detections=15, score=0.001), *answers(num_classes, seed=1))
    assert found.boxes.shape == (2, 15, 4)
    assert (found.boxes >= 0).all()
    assert (found.boxes[..., 2:] <= SIZES[:, None, ::-1]).all()
    assert (np.diff(found.scores, axis=1) <= 0).all()
    assert ((found.labels >= 0) & (found.labels < num_classes)).all()
    assert found.valid.any(axis=1).all()


def test_rows_that_are_not_valid_are_zero():
    found = detect(DetectConfig(max_detections=100), *answers())
    assert not found.valid.all()
    assert not found.boxes[~found.valid].any()
    assert not found.scores[~found.valid].any()


def test_padding_proposals_are_never_detected_whatever_they_hold():
    proposals, logits, deltas = answers()
    plain = detect(DetectConfig(), proposals, logits, deltas)
    padding = ~proposals.valid
    boxes, logits, deltas = proposals.boxes.copy(), logits.copy(), deltas.copy()
    boxes[padding], logits[padding], deltas[padding] = np.nan, [0, 50, 0, 0], np.inf
    assert plain.valid.any()
    for one, other in zip(plain, detect(DetectConfig(), proposals._replace(boxes=boxes), logits, deltas), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_background_that_is_sure_everywhere_gives_no_detection():
    proposals, logits, deltas = answers()
    logits[..., 0] = 50
    found = detect(DetectConfig(), proposals, logits, deltas)
    assert not found.valid.any()
    assert not found.boxes.any()


def test_nothing_is_found_where_no_proposal_is():
    proposals, logits, deltas = answers()
    nothing = proposals._replace(valid=np.zeros_like(proposals.valid))
    assert not detect(DetectConfig(), nothing, logits, deltas).valid.any()


def test_boxes_that_lie_outside_of_the_image_are_no_detections():
    """Cut off at the edge, nothing is left of them."""
    proposals, logits, deltas = answers()
    outside = np.array([[100, 10, 130, 40], [10, 70, 40, 90], [-40, -40, -10, -10], [95.995, 10, 130, 40]], np.float32)
    boxes = np.tile(outside, (2, 5, 1))
    assert not detect(DetectConfig(), proposals._replace(boxes=boxes), logits, 0 * deltas).valid.any()


def test_numbers_that_are_none_are_no_detections():
    proposals, logits, deltas = answers()
    for one, other in ((logits * np.nan, deltas), (logits, deltas * np.nan), (logits, deltas + np.inf)):
        assert not detect(DetectConfig(), proposals, one, other).valid.any()


def test_the_best_class_alone_may_become_a_detection():
    proposals, logits, deltas = answers(num_classes=4, count=30)
    every = detect(DetectConfig(score=0.0, nms_iou=1.0, max_detections=200), proposals, logits, deltas)
    best = detect(DetectConfig(score=0.0, nms_iou=1.0, max_detections=200, classes="best"), proposals, logits, deltas)
    chosen = logits.argmax(-1)
    for image in range(2):
        expected = sum(chosen[image, row] > 0 and proposals.valid[image, row] for row in range(30))
        assert 0 < best.valid[image].sum() <= expected < every.valid[image].sum()
        labels = sorted(chosen[image][(chosen[image] > 0) & proposals.valid[image]] - 1)
        kept = sorted(best.labels[image][best.valid[image]])
        assert len(kept) == best.valid[image].sum()
        assert all(kept.count(label) <= labels.count(label) for label in set(kept))


def test_boxes_thinner_than_the_least_side_are_dropped():
    proposals, logits, deltas = answers(num_classes=2, count=30)
    options = {"score": 0.0, "nms_iou": 1.0, "max_detections": 200}
    for least in (0.0, 8.0):
        found = detect(DetectConfig(**options, min_side=least), proposals, logits, deltas)
        sides = np.concatenate([found.boxes[..., 2] - found.boxes[..., 0], found.boxes[..., 3] - found.boxes[..., 1]], axis=1)
        assert sides[np.tile(found.valid, 2)].min() >= least
    assert sides[np.tile(found.valid, 2)].min() < 12


def test_thin_boxes_dropped_at_the_end_leave_their_places_empty():
    """As in detectron2, where the best so many are chosen first; before NMS, others move up."""
    proposals, logits, deltas = answers(num_classes=2, count=30)
    options = {"score": 0.0, "nms_iou": 1.0, "max_detections": 20}
    every, first, last = (
        detect(DetectConfig(**options, **changes), proposals, logits, deltas)
        for changes in ({"min_side": 0.0}, {"min_side": 15.0}, {"min_side": 15.0, "drop_thin": "at_the_end"})
    )
    for image in range(2):
        sides = every.boxes[image, :, 2:] - every.boxes[image, :, :2]
        large = every.valid[image] & (sides >= 15.0).all(axis=1)
        assert 0 < large.sum() < every.valid[image].sum() == first.valid[image].sum() == 20
        np.testing.assert_array_equal(last.valid[image], np.arange(20) < large.sum())
        for name in ("boxes", "scores", "labels"):
            kept = getattr(last, name)[image][last.valid[image]]
            np.testing.assert_array_equal(kept, getattr(every, name)[image][large], err_msg=name)


@pytest.mark.parametrize("kind", ["linear", "gaussian"])
def test_under_soft_nms_doubles_keep_a_part_of_their_score(kind):
    config = DetectConfig(max_detections=30, candidates=40, soft_nms=kind, score=0.02)
    proposals, logits, deltas = answers()
    hard = detect(DetectConfig(max_detections=30, candidates=40, score=0.02), proposals, logits, deltas)
    soft = detect(config, proposals, logits, deltas)
    for image in range(2):
        rows = slow_detections(
            DetectConfig(max_detections=1000, candidates=40, score=0.02, nms_iou=1.0), proposals, logits, deltas, image
        )
        scores, labels, boxes = (np.array(column) for column in zip(*rows))
        taken = nms_reference.soft_nms(boxes, scores, labels, 30, kind, config.nms_iou, config.soft_nms_sigma)
        want = np.sort(taken[taken > 0.02])[::-1]
        assert soft.valid[image].sum() == len(want) >= hard.valid[image].sum()
        np.testing.assert_allclose(soft.scores[image][soft.valid[image]], want, rtol=1e-4)
