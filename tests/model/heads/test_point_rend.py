"""Laws of PointRend's mask head, alone and in a network."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops
from small_network import FRAME, evaluate, images_of, make_batch, predict, small_network, train, with_small_backbone
from tensors import compute

from maskrcnn.config.fields import replace
from maskrcnn.config.model import Category, MaskHeadConfig, ModelConfig, PointRendConfig
from maskrcnn.model.heads.point_rend import PointRendHead
from maskrcnn.model.mask_rcnn import LOSSES
from maskrcnn.model.necks.fpn import STRIDES
from maskrcnn.ops import losses as loss_ops
from maskrcnn.ops.native import KERNELS, PORTABLE
from maskrcnn.ops.points import read_at
from maskrcnn.structures import PaddedDetections, RoiTargets
from maskrcnn.weights import models
from maskrcnn.weights.class_rows import carry

BOXES = np.array([[[2, 3, 30, 40], [10, 10, 50, 22]], [[0, 0, 9, 9], [20, 5, 60, 50]]], np.float32)
LABELS = np.array([[0, 2], [1, 1]], np.int32)
SMALL = {
    "mask_head__kind": "point_rend",
    "mask_head__mask_size": 56,
    "mask_head__pool_size": 4,
    "point_rend__hidden": 16,
    "point_rend__channels": 8,
    "point_rend__num_points": 20,
    "point_rend__subdivision_points": 100,
    "roi_sampler__num_sampled": 64,
}


def make_head(num_classes: int = 3, mask_size: int = 32, **changes) -> PointRendHead:
    numbers = {"hidden": 6, "channels": 5, "first_size": 8, "subdivision_points": 64, "coarse_size": 3, "num_points": 12}
    config = MaskHeadConfig(kind="point_rend", mask_size=mask_size, channels=4, pool_size=6)
    head = PointRendHead(config, PointRendConfig(**(numbers | changes)), num_classes=num_classes, channels=4)
    head.build(None)
    head.built = True
    rng = np.random.default_rng(0)
    head.set_weights([rng.normal(0, 0.5, weight.shape) for weight in head.get_weights()])
    return head


def features_of() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(2, -(-FRAME[0] // s), -(-FRAME[1] // s), 4)).astype(np.float32) for s in STRIDES]


def everywhere(head: PointRendHead, side: int) -> np.ndarray:
    """(2, 2, side, side) what the point head says of every point, one after the other."""
    y, x = np.mgrid[:side, :side]
    points = ((np.stack([x, y], axis=-1) + 0.5) / side).reshape(1, -1, 2).repeat(4, axis=0).astype(np.float32)

    def logits(features, boxes, points, labels):
        return head.point_logits(features, boxes, head.coarse_masks(features, boxes), points, labels)

    return compute(logits, features_of(), BOXES, points, LABELS.ravel()).reshape(2, 2, side, side)


def test_where_every_point_is_looked_at_the_mask_is_the_point_heads():
    head = make_head(subdivision_points=32 * 32)
    np.testing.assert_allclose(compute(head, features_of(), BOXES, LABELS), everywhere(head, 32), atol=2e-4)


def test_without_subdivision_the_mask_is_the_point_heads_on_the_first_grid():
    head = make_head(mask_size=8)
    np.testing.assert_allclose(compute(head, features_of(), BOXES, LABELS), everywhere(head, 8), atol=2e-4)


def test_subdivision_looks_at_borders_and_leaves_the_rest_as_it_grew():
    head = make_head(mask_size=16, subdivision_points=40)
    found, first, fine = compute(head, features_of(), BOXES, LABELS), everywhere(head, 8), everywhere(head, 16)
    grown = np.stack([_double(mask) for mask in first.reshape(4, 8, 8)]).reshape(2, 2, 16, 16)
    for index in np.ndindex(2, 2):
        order = np.argsort(np.abs(grown[index]).ravel(), kind="stable")
        np.testing.assert_allclose(found[index].ravel()[order[:38]], fine[index].ravel()[order[:38]], atol=2e-4)
        np.testing.assert_allclose(found[index].ravel()[order[42:]], grown[index].ravel()[order[42:]], atol=2e-4)


def _double(mask: np.ndarray) -> np.ndarray:
    places = np.clip((np.arange(16) + 0.5) / 2 - 0.5, 0, 7)
    weights = np.maximum(1 - np.abs(places[:, None] - np.arange(8)), 0)
    return weights @ mask @ weights.T


def test_rows_do_not_know_each_other_and_each_has_the_mask_of_its_class():
    head = make_head()
    found = compute(head, features_of(), BOXES, LABELS)
    np.testing.assert_allclose(
        compute(head, features_of(), BOXES[:, ::-1].copy(), LABELS[:, ::-1].copy()), found[:, ::-1], atol=1e-4
    )
    other = compute(head, features_of(), BOXES, (LABELS + 1) % 3)
    assert np.abs(found - other).max() > 0.1


def test_used_rows_have_the_same_masks_whichever_kernels_look():
    head, valid = make_head(), np.array([[True, False], [True, False]])

    def masks(features, boxes, labels, valid, kernels):
        return head.add_masks(features, PaddedDetections(boxes, None, labels, None, valid), kernels).masks

    one, other = (
        compute(lambda *given, k=kernels: masks(*given, k), features_of(), BOXES, LABELS, valid)
        for kernels in (KERNELS, PORTABLE)
    )
    assert one.shape == other.shape == (2, 2, 32, 32)
    np.testing.assert_allclose(one[valid], other[valid], atol=1e-4)


def test_losses_are_of_positives_alone_and_points_lie_near_borders():
    head = make_head(oversampling=20, num_points=40)
    masks = np.zeros((2, 2, 28, 28), np.uint8)
    masks[:, :, :14] = 1
    truth = {"masks": masks, "boxes": BOXES}
    positive = np.array([[True, False], [True, True]])

    def losses(features, boxes, labels, positive, truth):
        zero = ops.zeros_like(labels)
        targets = RoiTargets(
            boxes, labels + 1, None, ops.broadcast_to(ops.arange(2, dtype="int32"), (2, 2)) + zero, positive, positive
        )
        mean = lambda target, logits: ops.mean(loss_ops.binary_crossentropy(target, logits), axis=(2, 3))  # noqa: E731
        return head.losses_of(features, targets, truth, 2, mean, PORTABLE, training=True, seed=3)

    found = compute(losses, features_of(), BOXES, LABELS, positive, truth)
    assert found["mask_loss"] > 0 and found["point_loss"] > 0
    nothing = compute(losses, features_of(), BOXES, LABELS, np.zeros_like(positive), truth)
    assert nothing["mask_loss"] == nothing["point_loss"] == 0

    own = np.random.default_rng(0).normal(size=(6, 3, 3, 1)).astype(np.float32)
    points = compute(lambda own: head._training_points(own, 3), own)
    assert points.shape == (6, 40, 2) and (points >= 0).all() and (points <= 1).all()
    values = np.abs(compute(lambda own, points: read_at(own, points * 3), own, points))[..., 0]
    assert values[:, :30].mean() < 0.5 * values[:, 30:].mean()  # three quarters where the coarse mask is least certain


@pytest.mark.slow  # JAX compiles the step for it
def test_a_network_learns_saves_and_draws(tmp_path):
    network, batch = small_network(**SMALL), make_batch(num_rows=16)
    network.compile(keras.optimizers.Adam(0.003))
    history = train(network, batch, steps=3)
    assert set(history) == {*LOSSES, "point_loss", "loss"}
    assert np.isfinite(history["loss"]).all() and history["point_loss"][-1] < history["point_loss"][0]
    found = predict(network, batch)
    assert found.masks.shape == (2, 20, 56, 56) and np.asarray(found.valid).any()
    losses = evaluate(network, batch)
    models.save(network, tmp_path / "model.keras")
    with with_small_backbone():
        opened = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"Network": type(network)})
    np.testing.assert_allclose(predict(opened, images_of(batch)).masks, found.masks, atol=1e-4)
    np.testing.assert_allclose(evaluate(opened, batch)["point_loss"], losses["point_loss"], rtol=1e-4)


def test_mask_sizes_are_doublings_of_the_first():
    config = ModelConfig((Category(1, "cat"),))
    assert replace(config, mask_head__kind="point_rend", mask_head__mask_size=224).mask_head.mask_size == 224
    with pytest.raises(ValueError, match="one of 28, 56, 112, 224; received 100"):
        replace(config, mask_head__kind="point_rend", mask_head__mask_size=100)
    with pytest.raises(ValueError, match="28, 56 or 112; received 224"):
        replace(config, mask_head__mask_size=224)


def test_what_classes_take_of_each_other_is_carried_by_rows_and_columns():
    found, fresh = np.arange(9.0).reshape(3, 3), np.full((2, 2), -1.0)
    carried = carry("mask_head/class_to_class", found, fresh, ["a", "b", "c"], ["c", "new"])
    np.testing.assert_array_equal(carried, [[8, 0], [-1, -1]])
