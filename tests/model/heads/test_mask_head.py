"""Laws of the mask head."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from keras import ops
from references import losses as loss_reference
from references import mask_targets as mask_reference
from references import samples
from small_network import FRAME
from tensors import compute

from maskrcnn.config.model import MaskHeadConfig, RoiAlignConfig
from maskrcnn.model.heads.mask_head import MaskHead
from maskrcnn.model.necks.fpn import STRIDES
from maskrcnn.ops import losses as loss_ops
from maskrcnn.ops.native import KERNELS, PORTABLE, Kernels
from maskrcnn.structures import PaddedDetections, RoiTargets

CHANNELS = 4


@functools.cache
def make_head(num_classes: int = 3, **changes) -> MaskHead:
    config = MaskHeadConfig(**{"channels": 5, "num_convs": 1, **changes})
    head = MaskHead(config, RoiAlignConfig(canonical_size=56.0), num_classes=num_classes, channels=CHANNELS)
    head.build(None)
    head.built = True
    rng = np.random.default_rng(0)
    head.set_weights([rng.normal(0, 0.4, weight.shape) for weight in head.get_weights()])
    return head


def features_of() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(2, -(-FRAME[0] // s), -(-FRAME[1] // s), CHANNELS)).astype(np.float32) for s in STRIDES]


def rois_of(count: int = 4) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([samples.boxes(rng, count, side=60) for _ in range(2)])


@pytest.mark.parametrize(("mask_size", "num_deconvs"), [(28, 1), (56, 2), (112, 3)])
def test_masks_are_as_large_as_the_config_says(mask_size, num_deconvs):
    head = make_head(num_classes=1, mask_size=mask_size)
    assert len(head.deconvs) == num_deconvs
    logits = compute(head, features_of(), rois_of(1), np.zeros((2, 1), np.int32))
    assert logits.shape == (2, 1, mask_size, mask_size)
    assert logits.std() > 0


def test_each_row_gets_the_mask_of_its_own_class():
    head, rois = make_head(), rois_of()
    of_class = [compute(head, features_of(), rois, np.full((2, 4), label, np.int32)) for label in range(3)]
    labels = np.array([[0, 1, 2, 1], [2, 2, 0, 1]], np.int32)
    mixed = compute(head, features_of(), rois, labels)
    for image, row in np.ndindex(2, 4):
        np.testing.assert_allclose(mixed[image, row], of_class[labels[image, row]][image, row], atol=1e-5)
    assert not np.allclose(of_class[0], of_class[1], atol=1e-2)


def test_one_mask_for_all_classes_does_not_ask_for_the_class():
    """And is the head of a single class."""
    head, alone, rois = make_head(class_agnostic=True), make_head(num_classes=1), rois_of()
    labels = np.array([[0, 1, 2, 1], [2, 2, 0, 1]], np.int32)
    found = compute(head, features_of(), rois, labels)
    np.testing.assert_array_equal(found, compute(alone, features_of(), rois, np.zeros_like(labels)))
    assert head.class_kernel.path.endswith("/shared_kernel") and head.class_kernel.shape == (1, 5)


def test_a_class_is_drawn_by_its_own_row_of_the_kernel_alone():
    """Linear in the last 1 × 1 convolution: without a kernel, the bias is all that is left."""
    head = make_head.__wrapped__()  # its weights change
    kernel, bias = (np.array(weight) for weight in (head.class_kernel, head.class_bias))
    head.class_kernel.assign(kernel * np.array([[1], [0], [1]]))
    logits = compute(head.call, features_of(), rois_of(), np.tile([0, 1, 2, 1], (2, 1)).astype(np.int32))
    np.testing.assert_allclose(logits[:, [1, 3]], bias[1], rtol=1e-6)
    assert logits[:, [0, 2]].std() > 0.1


def test_detections_get_probabilities_of_their_class():
    head, rois = make_head(), rois_of()
    labels, valid = np.array([[0, 1, 2, 1], [2, 2, 0, 1]], np.int32), np.ones((2, 4), bool)
    logits = compute(head, features_of(), rois, labels)
    whole = compute(
        lambda features, boxes, labels, valid: head.add_masks(features, PaddedDetections(boxes, valid, labels, None, valid)),
        features_of(),
        rois,
        labels,
        valid,
    )
    np.testing.assert_allclose(whole.masks, 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_rows_behind_the_last_valid_one_are_not_computed_where_shapes_may_vary():
    rois, labels = rois_of(5), np.zeros((2, 5), np.int32)
    valid = np.array([[True, False, True, False, False], [True, False, False, False, False]])
    head = make_head()

    def masks(features, boxes, labels, valid, *, kernels: Kernels):
        return head.add_masks(features, PaddedDetections(boxes, None, labels, None, valid), kernels).masks

    ways = (KERNELS, PORTABLE)
    cut, full = (compute(functools.partial(masks, kernels=way), features_of(), rois, labels, valid) for way in ways)
    assert cut.shape == full.shape == (2, 5, 28, 28)
    np.testing.assert_allclose(cut[:, :3], full[:, :3], atol=1e-6)
    if KERNELS.num_used is not PORTABLE.num_used:
        assert not cut[:, 3:].any()
    assert full[:, 3:].all()


def test_the_loss_is_the_mean_over_the_positives_of_the_true_class():
    head, num_rows = make_head(), 4
    boxes = np.tile(np.array([[10, 10, 40, 40], [20, 5, 60, 50]], np.float32), (2, 1, 1))
    masks = np.zeros((2, 2, 8, 8), np.uint8)
    masks[:, 0, 2:6], masks[:, 1, :, :5] = 1, 1
    rois = boxes[:, [0, 1, 1, 0]] + np.random.default_rng(0).normal(0, 3, (2, 4, 4)).astype(np.float32)
    matched, classes = np.array([[0, 1, 1, 0]] * 2, np.int32), np.array([[1, 3, 2, 1], [2, 2, 0, 0]], np.int32)
    positive = classes > 0
    targets = RoiTargets(rois, classes, rois * 0, matched, positive, np.ones((2, 4), bool))
    truth = {"masks": masks, "boxes": boxes}

    def loss_of(features, targets, truth):
        mean = lambda target, logits: ops.mean(loss_ops.binary_crossentropy(target, logits), axis=(2, 3))  # noqa: E731
        return head.losses_of(features, targets, truth, num_rows, mean, training=False)["mask_loss"]

    answer = compute(loss_of, features_of(), targets, truth)
    logits = compute(head, features_of(), rois, np.maximum(classes - 1, 0))
    expected = []
    for image, row in np.argwhere(positive):
        covered = mask_reference.coverage(
            masks[image, matched[image, row]], boxes[image, matched[image, row]], rois[image, row], 28
        )
        terms = [
            loss_reference.binary_crossentropy(float(covered[cell] >= 0.5), float(logits[image, row][cell]))
            for cell in np.ndindex(28, 28)
        ]
        expected.append(np.mean(terms))
    np.testing.assert_allclose(answer, np.mean(expected), rtol=1e-4)
    nothing = targets._replace(positive=np.zeros((2, 4), bool), classes=np.zeros((2, 4), np.int32))
    assert compute(loss_of, features_of(), nothing, truth) == 0.0
