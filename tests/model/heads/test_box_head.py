"""Laws of the box head."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from references import boxes as box_reference
from references import class_losses as class_loss_reference
from references import losses as loss_reference
from references import samples
from small_network import FRAME
from tensors import compute

from maskrcnn.config.model import BoxHeadConfig, RoiAlignConfig
from maskrcnn.model.heads.box_head import BoxHead
from maskrcnn.model.necks.fpn import STRIDES
from maskrcnn.ops.native import KERNELS
from maskrcnn.structures import INCOMPLETE, SAID_ABSENT, RoiTargets

CHANNELS = 4


@functools.cache
def make_head(num_classes: int = 3, **changes) -> BoxHead:
    config = BoxHeadConfig(**{"hidden": 8, "conv_channels": 6, "pool_size": 3, **changes})
    head = BoxHead(config, RoiAlignConfig(canonical_size=56.0), num_classes=num_classes, channels=CHANNELS)
    head.build(None)
    head.built = True
    rng = np.random.default_rng(0)
    head.set_weights([rng.normal(0, 0.3, weight.shape) for weight in head.get_weights()])
    return head


def features_of(seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(2, -(-FRAME[0] // s), -(-FRAME[1] // s), CHANNELS)).astype(np.float32) for s in STRIDES]


def rois_of(count: int = 6, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([samples.boxes(rng, count, side=60) for _ in range(2)])


@pytest.mark.parametrize("num_classes", [1, 80])
def test_every_roi_gets_a_logit_a_class_and_one_for_the_background_and_deltas_a_class(num_classes):
    logits, deltas = compute(make_head(num_classes), features_of(), rois_of())
    assert logits.shape == (2, 6, num_classes + 1)
    assert deltas.shape == (2, 6, num_classes, 4)
    assert logits.dtype == deltas.dtype == np.float32


def test_the_kinds_are_two_fully_connected_layers_or_four_convolutions_and_one():
    shapes = {kind: [weight.shape for weight in make_head(kind=kind).get_weights()] for kind in ("2fc", "4conv1fc")}
    assert shapes["2fc"][::2] == [(3 * 3 * 4, 8), (8, 8), (8, 4), (8, 12)]
    assert shapes["4conv1fc"][::2] == [(3, 3, 4, 6), (3, 3, 6, 6), (3, 3, 6, 6), (3, 3, 6, 6), (3 * 3 * 6, 8), (8, 4), (8, 12)]


@pytest.mark.parametrize("kind", ["2fc", "4conv1fc"])
def test_what_is_said_of_a_roi_depends_on_that_roi_alone(kind):
    head, features, rois = make_head(kind=kind), features_of(), rois_of()
    plain = compute(head, features, rois)
    other = rois.copy()
    other[:, 3:] = rois_of(seed=9)[:, 3:]
    changed = compute(head, features, other)
    reversed_rows = compute(head, features, rois[:, ::-1].copy())
    for one, two, three in zip(plain, changed, reversed_rows, strict=True):
        np.testing.assert_allclose(one[:, :3], two[:, :3], atol=1e-5)
        assert not np.allclose(one[:, 3:], two[:, 3:], atol=1e-3)
        np.testing.assert_allclose(one[:, ::-1], three, atol=1e-5)


def test_p6_is_for_the_rpn_alone():
    head, features = make_head(), features_of()
    plain = compute(head, features, rois_of())
    without = compute(head, [*features[:4], features[4] * np.nan], rois_of())
    assert len(plain) == 2
    for one, other in zip(plain, without, strict=True):
        np.testing.assert_array_equal(one, other)


def test_dropout_works_in_training_alone():
    head = make_head(dropout=0.5)
    features, rois = keras.tree.map_structure(keras.ops.convert_to_tensor, (features_of(), rois_of()))
    logits = lambda training: keras.ops.convert_to_numpy(head(features, rois, training=training)[0])  # noqa: E731
    np.testing.assert_array_equal(logits(False), logits(False))
    assert not np.allclose(logits(True), logits(True))
    np.testing.assert_allclose(logits(False), compute(make_head(), features_of(), rois_of())[0], atol=1e-5)


def targets_of(num_classes: int = 3, seed: int = 0) -> RoiTargets:
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, num_classes + 1, (2, 6)).astype(np.int32)
    valid = rng.random((2, 6)) < 0.8
    deltas = (rng.normal(size=(2, 6, 4)) * (classes > 0)[..., None]).astype(np.float32)
    return RoiTargets(rois_of(), classes, deltas, np.zeros((2, 6), np.int32), classes > 0, valid)


@pytest.mark.parametrize("num_classes", [1, 3])
def test_losses_take_the_deltas_of_the_true_class_alone(num_classes):
    head, targets = make_head(num_classes), targets_of(num_classes)
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(2, 6, num_classes + 1)).astype(np.float32)
    deltas = rng.normal(size=(2, 6, num_classes, 4)).astype(np.float32)
    losses = compute(head.losses_of, logits, deltas, targets)
    assert set(losses) == {"class_loss", "box_loss"}
    expected = loss_reference.class_loss(logits, targets.classes, targets.valid)
    np.testing.assert_allclose(losses["class_loss"], expected, rtol=1e-5)
    chosen = np.take_along_axis(deltas, np.maximum(targets.classes - 1, 0)[..., None, None], axis=2)[:, :, 0]
    expected = loss_reference.box_loss(chosen, targets.deltas, targets.positive, targets.valid, 1.0)
    np.testing.assert_allclose(losses["box_loss"], expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["giou", "diou", "ciou"])
def test_the_loss_of_boxes_may_compare_the_boxes_that_deltas_mean(kind):
    head, targets = make_head(box_loss=kind), targets_of()
    rng = np.random.default_rng(1)
    deltas = rng.normal(size=(2, 6, 3, 4)).astype(np.float32)
    found = compute(head.losses_of, np.zeros((2, 6, 4), np.float32), deltas, targets)["box_loss"]
    total = 0.0
    for at in zip(*np.nonzero(targets.positive & targets.valid)):
        moved = [
            box_reference.decode(each[None], targets.rois[at][None], head.config.delta_weights)[0]
            for each in (deltas[at][targets.classes[at] - 1], targets.deltas[at])
        ]
        total += loss_reference.iou_distance(*moved, kind)
    assert total > 0
    np.testing.assert_allclose(found, total / targets.valid.sum(), rtol=1e-3)


def test_the_class_loss_is_weighed_as_the_config_says():
    options = {"class_weights": (0.5, 4.0, 1.0), "focal_gamma": 2.0, "label_smoothing": 0.1}
    head, targets = make_head(**options), targets_of()
    logits = np.random.default_rng(1).normal(size=(2, 6, 4)).astype(np.float32)
    losses = compute(head.losses_of, logits, np.zeros((2, 6, 3, 4), np.float32), targets)
    expected = loss_reference.class_loss(logits, targets.classes, targets.valid, **options)
    np.testing.assert_allclose(losses["class_loss"], expected, rtol=1e-5)


def test_the_federated_loss_leaves_out_classes_that_an_image_is_incomplete_in():
    head, targets = make_head(class_loss="federated", federated_classes=1), targets_of()
    marks = np.full((2, 3), INCOMPLETE, np.uint8)
    marks[1] = SAID_ABSENT
    logits = np.random.default_rng(1).normal(size=(2, 6, 4)).astype(np.float32)

    def loss(logits, targets, marks):
        counted = head.counted(targets, {"class_marks": marks}, KERNELS, 0)
        return head.losses_of(logits, np.zeros((2, 6, 3, 4), np.float32), targets, counted=counted)["class_loss"]

    counted = marks == SAID_ABSENT
    expected = class_loss_reference.federated_loss(logits, targets.classes, targets.valid, counted)
    np.testing.assert_allclose(compute(loss, logits, targets, marks), expected, rtol=1e-5)


def test_seesaw_logits_are_scores_that_add_up_to_1_and_do_not_grow_with_the_features():
    head = make_head(class_loss="seesaw", cosine_temperature=20.0)
    rois, features = rois_of(), features_of()
    logits, _ = compute(head, features, rois)
    assert logits.shape == (2, 6, 4)
    np.testing.assert_allclose(np.exp(logits).sum(axis=-1), 1, rtol=1e-5)
    kernel, bias = (keras.ops.convert_to_numpy(weight) for weight in head.classes.weights)
    directions = kernel / np.linalg.norm(kernel, axis=0)
    x = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    cosines = x / np.linalg.norm(x, axis=1, keepdims=True) @ directions
    for factor in (1.0, 1000.0):
        np.testing.assert_allclose(compute(head.classes, factor * x), 20 * cosines + bias, atol=1e-4)


def test_losses_that_weigh_classes_do_not_go_together():
    with pytest.raises(ValueError, match="belong to class_loss='cross_entropy'; received class_loss='seesaw'"):
        BoxHeadConfig(class_loss="seesaw", focal_gamma=2.0)
