"""Laws of looking at one image's way through the network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_network import small_config, with_small_backbone

from maskrcnn.api import MaskRCNN
from maskrcnn.config import fields
from maskrcnn.geometry.boxes import box_iou
from maskrcnn.geometry.rle import mask_to_rle
from maskrcnn.inference.explanation import FITS
from maskrcnn.inference.inspection import Inspection
from maskrcnn.structures import Sample

SIZE = (50, 75)


@pytest.fixture(scope="module")
def model() -> Any:
    with with_small_backbone():
        config = fields.replace(small_config(), image__short_side=64, image__long_side=96, detect__score=0.0)
        return MaskRCNN(config, seed=0)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)


def truth_of(boxes: np.ndarray, labels: list[int], masks: list[np.ndarray] | None = None) -> Sample:
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    if masks is None:
        masks = []
        for left, top, right, bottom in np.rint(boxes).astype(int).tolist():
            mask = np.zeros(SIZE, bool)
            mask[max(top, 0) : bottom, max(left, 0) : right] = True
            masks.append(mask)
    return Sample(
        image_id=1,
        file_name="a.png",
        path="a.png",
        size=SIZE,
        boxes=boxes,
        labels=np.array(labels, np.int32),
        crowd=np.zeros(len(boxes), bool),
        rles=[mask_to_rle(mask) for mask in masks],
        areas=np.array([mask.sum() for mask in masks], np.float32),
        annotation_ids=np.arange(len(boxes)),
    )


@pytest.mark.backend
def test_its_answer_is_the_models_and_each_stage_leads_to_the_next(model: Any, image: np.ndarray) -> None:
    inspection = model.inspect(image)
    (expected,) = model.detect(image)
    assert len(expected) > 5
    np.testing.assert_allclose(inspection.detections.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(inspection.detections.scores, expected.scores, atol=1e-5)
    np.testing.assert_allclose(inspection.small_masks, expected.small_masks, atol=1e-5)
    proposals, before = inspection.proposals, inspection.before_nms
    assert 0 < len(proposals) <= len(before) <= len(inspection.anchors)
    # Every proposal is one of the boxes before NMS, with its score and its place.
    for box, score in zip(proposals.boxes[:10], proposals.scores[:10]):
        row = np.abs(before.boxes - box).max(axis=1).argmin()
        np.testing.assert_allclose(before.boxes[row], box, atol=1e-2)
        assert before.scores[row] == pytest.approx(float(score), abs=1e-5)
    assert set(proposals.levels) <= {2, 3, 4, 5}
    assert set(inspection.anchors.levels) == {2, 3, 4, 5, 6}
    np.testing.assert_allclose(inspection.class_scores.sum(axis=1), 1.0, atol=1e-4)
    # Every detection is a refined box of its class.
    best = int(expected.scores.argmax())
    overlaps = box_iou(inspection.refined.boxes, expected.boxes[best : best + 1])[:, 0]
    assert overlaps.max() > 0.99


@pytest.mark.backend
def test_with_ground_truth_it_shows_what_training_would_sample(model: Any, image: np.ndarray) -> None:
    inspection = model.inspect(image, truth_of([[10, 10, 30, 40], [40, 5, 60, 30]], [0, 2]))
    sampled = inspection.sampled
    assert len(sampled) > 10
    assert {-1, 0, 2} <= set(sampled.labels.tolist())
    overlaps = box_iou(sampled.boxes, inspection.objects().boxes)
    for row, label in enumerate(sampled.labels.tolist()):
        nearest = [0, 2][int(overlaps[row].argmax())]
        assert (overlaps[row].max() > 0.49) == (label >= 0)
        assert label in (-1, nearest)
    assert inspection.matching["proposals"].shape == (len(inspection.proposals), 2)
    assert inspection.matching["anchors"].shape == (len(inspection.anchors), 2)


def test_every_stage_is_drawn_on_the_image(model: Any, image: np.ndarray) -> None:
    inspection = model.inspect(image, truth_of([[10, 10, 30, 40]], [0]))
    stages = [getattr(inspection, name) for name in ("anchors", "before_nms", "proposals", "refined", "sampled")]
    for stage in stages:
        plot = stage.plot(most=5)
        assert isinstance(plot, Image.Image)
        assert plot.size == SIZE[::-1]
        assert (np.asarray(plot) != image).any()
        assert stage.name in repr(stage)
    assert inspection.plot().size == SIZE[::-1]
    assert "detections" in repr(inspection)


def test_what_needs_ground_truth_says_so(model: Any, image: np.ndarray) -> None:
    inspection = model.inspect(image)
    for ask in (lambda: inspection.explain(0), lambda: inspection.matching, lambda: inspection.sampled):
        with pytest.raises(ValueError, match="truth=sample"):
            ask()
    with pytest.raises(ValueError, match=r"\(9, 9\).*\(50, 75\)"):
        model.inspect(image, replace(truth_of([[1, 1, 5, 5]], [0]), size=(9, 9)))
    with pytest.raises(IndexError, match="0 to 0"):
        model.inspect(image, truth_of([[1, 1, 5, 5]], [0])).explain(3)


def lost_at(inspection: Inspection, truth: Sample, **changes: Any) -> str | None:
    """Where the first object is lost once parts of the trace say something else."""
    changed = replace(inspection, truth=truth, trace=inspection.trace._replace(**changes))
    explanation = changed.explain(0)
    assert [stage.passed for stage in explanation.stages[:-1]] == [True] * (len(explanation.stages) - 1)
    assert str(explanation).startswith("Object 0 (class ")
    return explanation.lost_at


def test_an_object_that_was_found_is_found_at_every_stage(model: Any, image: np.ndarray) -> None:
    inspection = model.inspect(image)
    found = inspection.detections
    fitting = next(
        k
        for k in range(len(found))
        if found.areas()[k] and box_iou(inspection.anchors_as_placed, found.boxes[k : k + 1]).max() > 0.3
    )
    truth = truth_of(found.boxes[[fitting]], [int(found.labels[fitting])], [found.masks[fitting]])
    assert lost_at(inspection, truth) is None
    explanation = replace(inspection, truth=truth).explain(0)
    assert [stage.name for stage in explanation.stages] == [
        "anchors",
        "rpn_score",
        "rpn_nms",
        "class_score",
        "box",
        "detection_nms",
        "mask",
    ]
    # Take away, stage by stage, what let it through.
    trace = inspection.trace
    box, label = truth.boxes, int(truth.labels[0])
    assert lost_at(inspection, truth, anchors=trace.anchors * 0) == "anchors"
    assert lost_at(inspection, truth, anchor_boxes=trace.anchor_boxes * 0) == "rpn_score"
    fits = box_iou(inspection.frame.to_original(trace.proposals.boxes[0]), box)[:, 0] >= FITS
    none = trace.proposals._replace(valid=trace.proposals.valid & ~fits[None])
    assert lost_at(inspection, truth, proposals=none) == "rpn_nms"
    background = np.zeros_like(trace.scores)
    background[:, :, 0] = 1.0
    assert lost_at(inspection, truth, scores=background) == "class_score"
    other = np.zeros_like(trace.scores)
    other[:, :, (label + 1) % 3 + 1] = 1.0
    assert lost_at(inspection, truth, scores=other) == "wrong_class"
    assert lost_at(inspection, truth, refined=trace.refined * 0) == "box"
    gone = replace(inspection, detections=inspection.detections[found.labels != label])
    assert lost_at(gone, truth) == "detection_nms"
    empty = truth_of(found.boxes[[fitting]], [label], [np.zeros(SIZE, bool)])
    assert lost_at(inspection, empty) == "mask"
