"""Laws of the head that scores masks."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from exports import answers_agree
from keras import ops
from small_network import FRAME, images_of, make_batch, small_config, with_small_backbone
from tensors import compute

from maskrcnn.api import MaskRCNN, load_model
from maskrcnn.config import fields
from maskrcnn.config.model import MaskHeadConfig, MaskScoringConfig, RoiAlignConfig
from maskrcnn.model.heads.mask_scoring import MaskScoringHead
from maskrcnn.model.necks.fpn import STRIDES
from maskrcnn.ops.native import KERNELS
from maskrcnn.structures import PaddedDetections, RoiTargets

SCORING = MaskScoringConfig(num_convs=2, channels=3, hidden=6)
OPTIONS = {"num_classes": 3, "channels": 4}


@functools.cache
def make_head() -> MaskScoringHead:
    config = MaskHeadConfig(kind="scoring", channels=5, num_convs=1)
    head = MaskScoringHead(config, RoiAlignConfig(canonical_size=56.0), scoring=SCORING, name="mask_head", **OPTIONS)
    head.build(None)
    head.built = True
    rng = np.random.default_rng(0)
    head.set_weights([rng.normal(0, 0.4, weight.shape) for weight in head.get_weights()])
    head.iou_bias.assign(np.full(3, 0.5, np.float32))
    return head


def features_of() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(2, -(-FRAME[0] // s), -(-FRAME[1] // s), 4)).astype(np.float32) for s in STRIDES]


def detections() -> PaddedDetections:
    boxes = np.tile(np.array([[3, 3, 40, 40], [20, 5, 60, 50], [5, 20, 30, 60], [0, 0, 0, 0]], np.float32), (2, 1, 1))
    scores, labels = np.array([[0.9, 0.8, 0.6, 0]] * 2, np.float32), np.array([[0, 2, 1, 0]] * 2, np.int32)
    return PaddedDetections(boxes, scores, labels, None, scores > 0)


def ious_of(features, boxes, labels):
    head = make_head()
    pooled = head.pool(features, boxes, KERNELS)
    return head.ious(pooled, ops.sigmoid(head.draw(pooled, labels)), labels)


def test_scores_are_multiplied_by_the_predicted_iou_and_detections_ordered_anew():
    found = detections()
    features = features_of()
    head = make_head()  # before JAX compiles what asks it

    def look(features, boxes, scores, labels, valid):
        return head.add_masks(features, PaddedDetections(boxes, scores, labels, None, valid))

    answer = compute(look, features, found.boxes, found.scores, found.labels, found.valid)
    ious = np.clip(compute(ious_of, features, found.boxes, found.labels), 0, 1)
    masks = compute(make_head().masks, features, found.boxes, found.labels)
    assert len(np.unique(ious[:, :3])) > 4 and (np.diff(found.scores * ious, axis=1) > 0).any()  # so the order changes
    for image in range(2):
        scores = np.where(found.valid[image], found.scores[image] * ious[image], -1)
        order = np.argsort(-scores, kind="stable")
        np.testing.assert_allclose(answer.scores[image, :3], scores[order][:3], rtol=1e-5)
        np.testing.assert_array_equal(answer.labels[image, :3], found.labels[image][order][:3])
        np.testing.assert_array_equal(answer.boxes[image, :3], found.boxes[image][order][:3])
        np.testing.assert_allclose(answer.masks[image, :3], masks[image][order][:3], atol=1e-5)
    assert answer.valid.tolist() == [[True, True, True, False]] * 2


def test_the_loss_is_half_the_squared_error_of_the_true_classes_iou():
    head, features, found = make_head(), features_of(), detections()
    rois, classes = found.boxes[:, :3], np.array([[1, 3, 0], [2, 0, 0]], np.int32)
    masks = np.zeros((2, 3, 8, 8), np.uint8)
    masks[:, :, 1:7, 2:] = 1  # of each RoI just its object, so that the share is 1
    targets = RoiTargets(rois, classes, rois * 0, np.array([[0, 1, 2]] * 2, np.int32), classes > 0, np.ones((2, 3), bool))
    truth = {"masks": masks, "boxes": rois}

    def loss(features, targets, truth):
        plain = lambda target, logits: ops.mean(target * 0 + logits * 0, axis=(2, 3))  # noqa: E731
        return head.losses_of(features, targets, truth, 3, plain, training=False)["mask_iou_loss"]

    labels = np.maximum(classes - 1, 0)
    ious, logits = (compute(ask, features, rois, labels) for ask in (ious_of, head))
    side = (np.arange(28) + 0.5) / 28 * 8
    covered = ((side > 1) & (side < 7))[:, None] & (side > 2)[None]
    errors = []
    for place in np.argwhere(classes > 0):
        drawn = logits[tuple(place)] > 0
        wanted = (drawn & covered).sum() / (drawn | covered).sum()
        errors += [(ious[tuple(place)] - wanted) ** 2] if wanted else []
    assert len(errors) == 2  # one mask does not touch its object
    np.testing.assert_allclose(compute(loss, features, targets, truth), 0.5 * np.mean(errors), rtol=0.02)
    nothing = targets._replace(positive=np.zeros((2, 3), bool))
    assert compute(loss, features, nothing, truth) == 0.0


@pytest.mark.slow  # JAX compiles the step for it
def test_a_network_that_scores_masks_learns_is_saved_and_answers_the_same(tmp_path):
    """Here with the federated loss, which has scores of another kind."""
    changes = {"mask_scoring__num_convs": 1, "mask_scoring__channels": 4, "mask_scoring__hidden": 8}
    changes |= {"box_head__class_loss": "federated", "box_head__class_counts": (9.0, 4.0, 1.0)}
    with with_small_backbone():
        model, batch = MaskRCNN(small_config(mask_head__kind="scoring", **changes)), make_batch((3, 5), num_rows=16)
    batch["class_marks"] = np.array([[1, 0, 2], [0, 0, 0]], np.uint8)
    model.compile(keras.optimizers.SGD(0.01))
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in model.mask_head.weights]
    losses = model.train_on_batch(batch, return_dict=True)
    assert np.isfinite(losses["loss"]) and losses["mask_iou_loss"] > 0
    for weight, old in zip(model.mask_head.weights, before, strict=True):
        assert (keras.ops.convert_to_numpy(weight) != old).any(), weight.path
    model.save(tmp_path / "scoring.keras")
    with with_small_backbone():
        opened = load_model(tmp_path / "scoring.keras")
    assert opened.config == model.config
    answer = PaddedDetections(*model.predict_on_batch(images_of(batch)))
    answers_agree(answer, opened.predict_on_batch(images_of(batch)))
    assert (np.diff(np.asarray(answer.scores), axis=1) <= 0).all()


def test_it_does_not_go_with_a_mask_head_for_each_stage():
    with pytest.raises(ValueError, match="does not go with cascade.mask_heads"):
        fields.replace(small_config(), mask_head__kind="scoring", cascade__mask_heads=True)
