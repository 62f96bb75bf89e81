"""A converted torchvision model answers as the original does, stage by stage and in the end.

Relative error: the largest absolute difference of an array over its largest absolute value.

Two programs round differently, so what chooses (a score before another, a pixel above 0.5, an edge cut to a whole pixel) is
asked twice: with torchvision's own numbers, where the answer must be torchvision's, and at the end of the whole chain, where
rows may change places only if torchvision's scores of both differ by less than twice the deviation measured of the scores.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from parity import images
from parity.stages import Losses, Stages, frame_of

from maskrcnn.api import MaskRCNN
from maskrcnn.config import fields
from maskrcnn.data.batch import make_batch
from maskrcnn.structures import Detections
from maskrcnn.weights.projects.torchvision import to_torchvision

FEATURES = 1e-4  # relative error of everything up to the logits
BOXES = 0.01  # pixels
MASK_IOU = 0.999
TIE = 1e-6  # with torchvision's own numbers: rows whose scores differ by less may change places
LOSSES = {
    "rpn_objectness_loss": "loss_objectness",
    "rpn_box_loss": "loss_rpn_box_reg",
    "class_loss": "loss_classifier",
    "box_loss": "loss_box_reg",
    "mask_loss": "loss_mask",
}


@pytest.fixture(scope="module")
def models(reference) -> dict[str, MaskRCNN]:
    return {version: MaskRCNN.from_checkpoint(reference / f"{version}.pth", log=lambda line: None) for version in ("v1", "v2")}


class Answers:
    """Both sides' answers to one case."""

    def __init__(self, case: dict[str, Any], reference, model: MaskRCNN):
        self.name = case["name"]
        self.theirs = dict(np.load(reference / f"{self.name}.npz"))
        image = np.load(reference / "images" / f"{case['image']}.npy")
        sized(model, case)
        given = {
            "proposals": self.theirs["proposals"][None],
            "boxes": self.theirs["boxes_in_frame"][None],
            "labels": self.theirs["labels"][None].astype(np.int32),
            "scores": self.theirs["proposal_scores"][None],
            **{name: self.theirs[name][None] for name in ("rpn_logits", "rpn_deltas", "class_logits", "box_deltas")},
        }
        ours = Stages(model).predict_on_batch(frame_of(image, model) | given)
        self.ours: dict[str, np.ndarray] = {name: values[0] for name, values in ours.items()}
        self.detections: Detections = model.detect(image)[0]
        error = np.abs(softmax(self.ours["class_logits"]) - softmax(self.theirs["class_logits"])).max()
        self.rounding_of_scores = max(TIE, 2 * error)
        error = np.abs(sigmoid(self.ours["rpn_logits"]) - sigmoid(self.theirs["rpn_logits"])).max()
        self.rounding_of_proposals = max(TIE, 2 * error)

    def detections_in_their_order(self) -> tuple[Detections, np.ndarray]:
        ours, theirs = self.detections, self.theirs
        places = np.column_stack([ours.boxes, ours.labels]), np.column_stack([theirs["boxes"], theirs["labels"]])
        order = in_their_order(*places, theirs["scores"], self.rounding_of_scores)
        return ours[order], order


@pytest.fixture(scope="module", params=images.CASES, ids=lambda case: case["name"])
def answers(request, reference, models) -> Answers:
    return Answers(request.param, reference, models[request.param["model"]])


def sized(model: MaskRCNN, case: dict[str, Any]) -> None:
    sides = {f"image__{name}": case[name] for name in ("short_side", "long_side")}
    model.config = fields.replace(model.config, **sides)


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def in_their_order(ours: np.ndarray, theirs: np.ndarray, scores: np.ndarray, tie: float) -> np.ndarray:
    """For each of torchvision's rows the row of ours that should be the same: its own, or one whose score ties with it."""
    order = np.arange(len(theirs))
    for row in np.flatnonzero(np.abs(ours - theirs).max(axis=1) > BOXES):
        tied = np.flatnonzero(np.abs(scores - scores[row]) < tie)
        order[row] = tied[np.abs(ours[tied] - theirs[row]).max(axis=1).argmin()]
    assert len(set(order)) == len(order)
    return order


def out_of_place(order: np.ndarray) -> int:
    return int(np.sum(order != np.arange(len(order))))


STAGES = {
    "image": "image, resized and normalised",
    **{f"p{level}": f"P{level}" for level in range(2, 7)},
    "rpn_logits": "RPN logits",
    "rpn_deltas": "RPN deltas",
    "anchors": "anchors",
    "box_features": "RoIAlign 7 × 7",
    "class_logits": "class logits",
    "box_deltas": "box deltas",
    "mask_features": "RoIAlign 14 × 14",
    "small_masks": "masks 28 × 28",
}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_agrees(answers, stage, worst):
    error = relative_error(answers.ours[stage], answers.theirs[stage])
    assert worst(f"{STAGES[stage]}, relative error", error, answers.name) <= FEATURES


def test_their_logits_give_their_proposals_in_their_order(answers, worst):
    theirs = answers.theirs["proposals"]
    ours = answers.ours["proposals_of_theirs"][: len(theirs)]
    ours = ours[in_their_order(ours, theirs, answers.theirs["proposal_scores"], TIE)]
    assert worst("proposals of their logits, pixels of the frame", np.abs(ours - theirs).max(), answers.name) <= BOXES


def test_the_same_proposals_in_the_same_order(answers, worst):
    ours, theirs = answers.ours["proposals"], answers.theirs["proposals"]
    assert answers.ours["proposals_valid"].sum() == len(theirs)
    ours = ours[: len(theirs)]
    order = in_their_order(ours, theirs, answers.theirs["proposal_scores"], answers.rounding_of_proposals)
    worst("proposals that change places", out_of_place(order), answers.name)
    assert worst("proposals, pixels of the frame", np.abs(ours[order] - theirs).max(), answers.name) <= BOXES


def test_their_logits_give_their_detections_in_their_order(answers, worst):
    theirs = np.column_stack([answers.theirs["boxes_in_frame"], answers.theirs["labels"]])
    assert answers.ours["valid_of_theirs"].sum() == len(theirs)
    ours = np.column_stack([answers.ours["boxes_of_theirs"], answers.ours["labels_of_theirs"]])[: len(theirs)]
    ours = ours[in_their_order(ours, theirs, answers.theirs["scores"], TIE)]
    np.testing.assert_array_equal(ours[:, 4], theirs[:, 4])
    assert worst("boxes of their logits, pixels of the frame", np.abs(ours - theirs).max(), answers.name) <= BOXES


def test_the_same_detections_in_the_same_order(answers, worst):
    theirs = answers.theirs
    assert len(answers.detections) == len(theirs["scores"])
    ours, order = answers.detections_in_their_order()
    worst("detections that change places", out_of_place(order), answers.name)
    np.testing.assert_array_equal(ours.labels, theirs["labels"])
    worst("scores", np.abs(ours.scores - theirs["scores"]).max(), answers.name)
    assert worst("boxes, pixels of the original", np.abs(ours.boxes - theirs["boxes"]).max(), answers.name) <= BOXES


def test_their_small_masks_give_their_masks_in_the_original(answers, worst):
    theirs = answers.theirs
    ours = replace(answers.detections, boxes=theirs["boxes"], small_masks=theirs["small_masks"])
    iou = mask_iou(ours.masks, theirs["pasted"])
    assert worst("their small masks in the original, 1 − IoU", 1 - iou.min(), answers.name) <= 1 - MASK_IOU


def test_the_same_masks_in_the_original(answers, worst):
    """But for pixels whose probability is 0.5 within 0.001, and masks a pixel off because edges are cut to whole pixels."""
    ours, theirs = answers.detections_in_their_order()[0], answers.theirs
    masks, decided = ours.masks, ~theirs["undecided"]
    iou = mask_iou(masks, theirs["pasted"])
    worst("masks in the original of which some pixel differs", np.sum(iou < 1), answers.name)
    worst("masks in the original with an IoU below 0.999", np.sum(iou < MASK_IOU), answers.name)
    iou = mask_iou(masks & decided, theirs["pasted"] & decided)
    cut = np.flatnonzero(iou < MASK_IOU)
    if len(cut):
        at_their_boxes = replace(ours, boxes=theirs["boxes"]).masks
        iou[cut] = mask_iou(at_their_boxes & decided, theirs["pasted"] & decided)[cut]
    worst("masks that an edge near a whole pixel moves", len(cut), answers.name)
    assert worst("masks in the original, decided pixels, 1 − IoU", 1 - iou.min(), answers.name) <= 1 - MASK_IOU


def mask_iou(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    shared, union = (how(ours, theirs).sum(axis=(1, 2)) for how in (np.logical_and, np.logical_or))
    return np.where(union > 0, shared / np.maximum(union, 1), 1.0)


def test_the_calibrated_models_find_many_things(answers):
    """Else the tests above would say little."""
    scores = answers.theirs["scores"]
    assert len(scores) >= 50
    assert len(set(answers.theirs["labels"])) >= 15
    assert scores.max() > 1.5 * scores.min()


def test_key_names_of_2019_give_the_same_model(reference, models):
    old = MaskRCNN.from_checkpoint(reference / "v1_2019.pth", log=lambda line: None)
    assert fields.replace(old.config, image=models["v1"].config.image, origin="") == fields.replace(
        models["v1"].config, origin=""
    )
    for one, other in zip(old.weights, models["v1"].weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one.numpy()), np.asarray(other.numpy()))


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_torchvision_answers_the_same_after_its_weights_went_there_and_back(version, reference, models, ask_torchvision):
    model = models[version]
    tensors = to_torchvision(model, model.config, epsilon=model.config.backbone.epsilon)
    np.savez(reference / f"back_{version}.npz", **tensors)
    ask_torchvision("load", reference, f"back_{version}", version)
    before, after = (np.load(reference / name) for name in (f"{images.BACK[version]}.npz", f"back_{version}_answer.npz"))
    np.testing.assert_array_equal(after["labels"], before["labels"])
    np.testing.assert_allclose(after["scores"], before["scores"], atol=1e-6)
    np.testing.assert_allclose(after["boxes"], before["boxes"], atol=1e-3)
    assert np.mean(after["pasted"] != before["pasted"]) < 1e-6


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_five_losses_of_the_same_samples_agree(version, reference, models, shared_data_or_none, worst):
    model, theirs = models[version], dict(np.load(reference / f"{version}_training.npz"))
    sized(model, {"short_side": 320, "long_side": 533})
    samples = images.training_samples(shared_data_or_none)
    batch = make_batch(samples, model.config)._asdict()
    assert worst("training images", relative_error(normalised(model, batch), theirs["images"]), version) <= FEATURES
    for row in range(2):
        boxes = theirs[f"truth_boxes_{row}"]
        assert worst("true boxes, pixels", np.abs(batch["boxes"][row, : len(boxes)] - boxes).max(), version) <= BOXES
    targets = {name: batch[name] for name in ("images", "sizes", "boxes", "masks")} | samples_of(theirs)
    ours = {name: float(loss[0]) for name, loss in Losses(model).predict_on_batch(targets).items()}
    for name, their_name in LOSSES.items():
        error = abs(ours[name] - theirs[their_name]) / theirs[their_name]
        worst(f"{name}, relative error", error, version)
        assert error <= FEATURES, name
    difference = abs(ours["mask_loss_of_own_targets"] - theirs["loss_mask"]) / theirs["loss_mask"]
    worst("mask_loss with our own targets, relative difference (no goal)", difference, version)


def normalised(model: MaskRCNN, batch: dict[str, np.ndarray]) -> np.ndarray:
    image_config = model.config.image
    pixels = (batch["images"].astype(np.float64) - image_config.mean) / image_config.std
    for image, (height, width) in zip(pixels, batch["sizes"], strict=True):
        image[height:], image[:, width:] = 0, 0
    return pixels


def samples_of(theirs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What torchvision sampled in its two images, as fixed rows."""
    stacked = {
        name: padded([theirs[f"{name}_{row}"] for row in range(2)])
        for name in (
            "anchor_indices",
            "anchor_positive",
            "anchor_deltas",
            "rois",
            "roi_matched",
            "roi_classes",
            "roi_deltas",
            "mask_targets",
        )
    }
    counts = [[len(theirs[f"{name}_{row}"]) for row in range(2)] for name in ("anchor_indices", "rois")]
    anchor_valid, roi_valid = (np.arange(max(count)) < np.array(count)[:, None] for count in counts)
    positive = stacked["roi_classes"] > 0
    positive_deltas = stacked["anchor_positive"][..., None] * stacked["anchor_deltas"]
    return {
        "anchor_indices": stacked["anchor_indices"].astype(np.int32),
        "anchor_positive": stacked["anchor_positive"],
        "anchor_valid": anchor_valid,
        "anchor_deltas": positive_deltas,
        "roi_rois": stacked["rois"],
        "roi_classes": stacked["roi_classes"].astype(np.int32),
        "roi_deltas": stacked["roi_deltas"] * positive[..., None],
        "roi_matched": stacked["roi_matched"].astype(np.int32),
        "roi_positive": positive,
        "roi_valid": roi_valid,
        "mask_targets": stacked["mask_targets"],
    }


def padded(arrays: list[np.ndarray]) -> np.ndarray:
    rows = max(len(array) for array in arrays)
    return np.stack([np.pad(array, [(0, rows - len(array))] + [(0, 0)] * (array.ndim - 1)) for array in arrays])
