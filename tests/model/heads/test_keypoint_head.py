"""Laws of the keypoint head, alone and in a network."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from references import keypoints as reference
from small_network import FRAME, evaluate, images_of, make_batch, predict, small_network, train, with_small_backbone
from tensors import compute

from maskrcnn.config.fields import replace
from maskrcnn.config.model import Category, KeypointHeadConfig, ModelConfig, RoiAlignConfig
from maskrcnn.geometry.keypoints import peaks
from maskrcnn.inference.whole import original
from maskrcnn.model.heads.keypoint_head import KeypointHead
from maskrcnn.model.mask_rcnn import LOSSES
from maskrcnn.model.necks.fpn import STRIDES
from maskrcnn.ops.native import KERNELS, PORTABLE
from maskrcnn.structures import PaddedDetections, RoiTargets
from maskrcnn.weights import models

SMALL = {
    "keypoint_head__num_keypoints": 3,
    "keypoint_head__num_convs": 1,
    "keypoint_head__channels": 8,
    "keypoint_head__pool_size": 4,
    "roi_sampler__num_sampled": 64,
}


def make_head() -> KeypointHead:
    config = KeypointHeadConfig(num_keypoints=3, num_convs=2, channels=5, pool_size=7)
    head = KeypointHead(config, RoiAlignConfig(canonical_size=56.0), channels=4)
    head.build(None)
    head.built = True
    rng = np.random.default_rng(0)
    head.set_weights([rng.normal(0, 0.3, weight.shape) for weight in head.get_weights()])
    return head


def features_of() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(2, -(-FRAME[0] // s), -(-FRAME[1] // s), 4)).astype(np.float32) for s in STRIDES]


def keypoint_batch(counts=(3, 5)) -> dict:
    """Objects with three keypoints: the box's middle, its upper left quarter, and its lower right one, unmarked."""
    batch = make_batch(counts, num_rows=16)
    corner, end = batch["boxes"][..., :2], batch["boxes"][..., 2:]
    points = [corner + part * (end - corner) for part in (0.5, 0.25, 0.75)]
    keypoints = np.concatenate([np.stack(points, axis=2), np.full((2, 16, 3, 1), 2, np.float32)], axis=-1)
    keypoints[:, :, 2, 2] = 0
    return {**batch, "keypoints": (keypoints * batch["valid"][..., None, None]).astype(np.float32)}


def test_heat_maps_are_four_times_the_pooled_side_and_rows_do_not_know_each_other():
    head, boxes = make_head(), np.array([[[2, 3, 30, 40], [10, 10, 50, 22]]] * 2, np.float32)
    maps = compute(head, features_of(), boxes)
    assert maps.shape == (2, 2, 3, 28, 28) and maps.std() > 0
    np.testing.assert_allclose(compute(head, features_of(), boxes[:, ::-1].copy()), maps[:, ::-1], atol=1e-4)


def test_the_loss_is_the_twins_of_the_positives_alone():
    head, rng = make_head(), np.random.default_rng(1)
    rois = np.array([[[2, 3, 30, 40], [10, 10, 50, 22], [0, 0, 20, 20]]] * 2, np.float32)
    truth = {"keypoints": rng.uniform(0, 40, (2, 4, 3, 3)).astype(np.float32)}
    truth["keypoints"][..., 2] = rng.integers(0, 3, (2, 4, 3))
    matched, positive = rng.integers(0, 4, (2, 3)).astype(np.int32), np.array([[True, True, False], [True, False, False]])
    targets = RoiTargets(rois, None, None, matched, positive, positive)

    def loss(features, rois, matched, positive, keypoints):
        given = targets._replace(rois=rois, matched=matched, positive=positive)
        return head.losses_of(features, given, {"keypoints": keypoints}, 3)["keypoint_loss"]

    maps = compute(head, features_of(), rois)
    places, counted = np.zeros((2, 3, 3), int), np.zeros((2, 3, 3), bool)
    for image, row, number in np.ndindex(2, 3, 3):
        place = reference.keypoint_place(truth["keypoints"][image, matched[image, row], number], rois[image, row], 28)
        if place is not None and positive[image, row]:
            places[image, row, number], counted[image, row, number] = place, True
    assert counted.sum() > 2
    found = compute(loss, features_of(), rois, matched, positive, truth["keypoints"])
    np.testing.assert_allclose(found, reference.keypoint_loss(maps, places, counted), rtol=1e-4)


def test_used_rows_have_the_same_maps_whichever_kernels_look():
    head, boxes = make_head(), np.array([[[2, 3, 30, 40], [10, 10, 50, 22], [0, 0, 9, 9]]] * 2, np.float32)
    valid = np.array([[True, True, False], [True, False, False]])

    def maps(features, boxes, valid, kernels):
        found = PaddedDetections(boxes, None, boxes[..., 0], None, valid)
        return head.add_heat_maps(features, found, kernels).heat_maps

    one, other = (
        compute(lambda *given, k=kernels: maps(*given, k), features_of(), boxes, valid) for kernels in (KERNELS, PORTABLE)
    )
    assert one.shape == other.shape == (2, 3, 3, 28, 28)
    np.testing.assert_allclose(one[valid], other[valid], atol=1e-4)


@pytest.mark.slow  # JAX compiles the step for it
def test_a_network_learns_saves_and_finds_keypoints(tmp_path):
    network, batch = small_network(**SMALL), keypoint_batch()
    network.compile(keras.optimizers.Adam(0.003))
    history = train(network, batch, steps=3)
    assert set(history) == {*LOSSES, "keypoint_loss", "loss"}
    assert history["keypoint_loss"][-1] < history["keypoint_loss"][0]
    found = predict(network, batch)
    assert found.heat_maps.shape == (2, 20, 3, 16, 16) and np.asarray(found.valid).any()
    detections = original(found, 0, batch["sizes"][0], FRAME, (112, 180), network.config)
    assert detections.keypoints.shape == (len(detections), 3, 3) and detections.keypoint_names == (
        "keypoint 1",
        "keypoint 2",
        "keypoint 3",
    )
    kept = np.asarray(found.valid[0])
    in_frame = peaks(found.heat_maps[0][kept], found.boxes[0][kept])
    stretch = np.array([180, 112]) / batch["sizes"][0][::-1]
    np.testing.assert_allclose(detections.keypoints[..., :2], in_frame[..., :2] * stretch, rtol=1e-4)
    losses = evaluate(network, batch)
    models.save(network, tmp_path / "model.keras")
    with with_small_backbone():
        opened = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"Network": type(network)})
    np.testing.assert_allclose(predict(opened, images_of(batch)).heat_maps, found.heat_maps, atol=1e-4)
    np.testing.assert_allclose(evaluate(opened, batch)["keypoint_loss"], losses["keypoint_loss"], rtol=1e-4)


@pytest.mark.slow  # JAX compiles the step for it
def test_a_network_without_masks_has_boxes_as_masks_and_no_mask_loss():
    network, batch = small_network(mask_head__kind="none", **SMALL), keypoint_batch((2, 1))
    network.compile(keras.optimizers.SGD(0.01))
    assert not network.mask_head.weights
    losses = evaluate(network, batch)
    assert "mask_loss" not in losses and losses["keypoint_loss"] > 0
    found = predict(network, batch)
    assert found.masks.shape == (2, 20, 28, 28) and (found.masks == 1).all()
    with pytest.raises(ValueError, match="Unknown loss in loss_weights: 'mask_loss'"):
        network.compile(loss_weights={"mask_loss": 2.0})


def test_classes_name_as_many_keypoints_as_the_model_has():
    named = (Category(1, "cat", ("nose", "tail"), ((0, 1),)), Category(2, "dog"))
    config = replace(ModelConfig(named), keypoint_head__num_keypoints=2)
    assert (config.keypoint_names, config.skeleton) == (("nose", "tail"), ((0, 1),))
    assert ModelConfig(named).keypoint_names == ()
    with pytest.raises(ValueError, match="The model has 17 keypoints and its classes name 2"):
        replace(config, keypoint_head__num_keypoints=17)
    with pytest.raises(ValueError, match="2 lists"):
        replace(config, categories=(named[0], Category(2, "dog", ("nose", "paw"))))
