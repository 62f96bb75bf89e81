"""Laws of the cascade of box heads."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import pytest
from exports import KINDS, answers_agree
from model.heads.test_box_head import features_of, make_head, rois_of
from references import boxes as box_reference
from references import losses as loss_reference
from references import matching as matching_reference
from small_network import images_of, make_batch, small_config, with_small_backbone
from tensors import compute

from maskrcnn.api import MaskRCNN, load_model
from maskrcnn.config import presets
from maskrcnn.config.model import BoxHeadConfig, CascadeConfig, MaskHeadConfig, RoiAlignConfig, RoiSamplerConfig
from maskrcnn.model.heads.cascade import Cascade, MaskCascade
from maskrcnn.structures import PaddedDetections, RoiTargets

CHANNELS = 4
MASKS = MaskHeadConfig(channels=5, num_convs=1)
REGIONS = np.array([[0, 0, 90, 50], [0, 0, 60, 64]], np.float32)


@functools.cache
def make_cascade(stages: int = 3, *, mean: str = "scores", class_agnostic: bool = True) -> Cascade:
    """Random weights, the first stage's those of `make_head`."""
    cascade = CascadeConfig(presets.CASCADE.positive_ious[: stages - 1], presets.CASCADE.delta_weights[: stages - 1], mean)
    config = BoxHeadConfig(hidden=8, conv_channels=6, pool_size=3, class_agnostic=class_agnostic)
    align, sampler = RoiAlignConfig(canonical_size=56.0), RoiSamplerConfig()
    head = Cascade(config, align, cascade, sampler, num_classes=3, channels=CHANNELS, name="box_head")
    head.build(None)
    head.built = True
    rng = np.random.default_rng(0)
    head.set_weights([rng.normal(0, 0.3, weight.shape) for weight in head.get_weights()])
    return head


def truth_of() -> dict[str, np.ndarray]:
    batch = make_batch((4, 3), num_rows=16, num_crowds=1)
    return {name: batch[name] for name in ("boxes", "labels", "valid", "crowd")}


def targets_of(truth: dict[str, np.ndarray]) -> RoiTargets:
    """RoIs near objects, one of them padding."""
    rng = np.random.default_rng(3)
    rois = np.concatenate([truth["boxes"][:, :3] + rng.normal(0, 1.5, (2, 3, 4)), rois_of(4)], axis=1).astype(np.float32)
    classes = rng.integers(0, 4, (2, 7)).astype(np.int32)
    deltas = (rng.normal(size=(2, 7, 4)) * (classes > 0)[..., None]).astype(np.float32)
    valid = np.arange(7)[None] < np.array([[7], [6]])
    return RoiTargets(rois, classes, deltas, np.zeros((2, 7), np.int32), (classes > 0) & valid, valid)


def refine(head: Any, features: Any, rois: Any) -> Any:
    return compute(head.refine, features, rois, REGIONS)


def losses_on(head: Any, targets: RoiTargets, truth: dict[str, np.ndarray]) -> dict[str, float]:
    call = functools.partial(head.losses_on, training=False)
    return {name: float(loss) for name, loss in compute(call, features_of(), targets, truth, REGIONS).items()}


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def step_by_step(head: Cascade, rois: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Boxes, logits and deltas of every stage, by the heads' own answers and the slow twins of boxes."""
    steps = []
    for stage in (head, *head.later):
        logits, deltas = compute(stage, features_of(), rois)
        steps.append((rois, logits, deltas))
        label = 0 if head.config.class_agnostic else logits[..., 1:].argmax(axis=-1)
        chosen = deltas[np.arange(2)[:, None], np.arange(rois.shape[1]), label]
        moved = np.stack(
            [box_reference.decode(row, box, stage.config.delta_weights) for row, box in zip(chosen, rois, strict=True)]
        )
        low, high = np.tile(REGIONS[:, None, :2], 2), np.tile(REGIONS[:, None, 2:], 2)
        rois = np.clip(moved, low, high).astype(np.float32)
    return steps


def test_a_cascade_of_one_stage_is_the_plain_head():
    alone, plain = make_cascade(1), make_head(class_agnostic=True)
    assert [weight.shape for weight in alone.get_weights()] == [weight.shape for weight in plain.get_weights()]
    for one, other in zip(refine(alone, features_of(), rois_of()), refine(plain, features_of(), rois_of()), strict=True):
        np.testing.assert_array_equal(one, other)
    truth = truth_of()
    assert losses_on(alone, targets_of(truth), truth) == losses_on(plain, targets_of(truth), truth)


@pytest.mark.parametrize("class_agnostic", [True, False])
def test_each_stage_looks_at_the_boxes_of_the_one_before(class_agnostic):
    head = make_cascade(class_agnostic=class_agnostic)
    boxes, logits, deltas = refine(head, features_of(), rois_of())
    steps = step_by_step(head, rois_of())
    assert len(steps) == 3 and np.abs(steps[2][0] - steps[0][0]).max() > 1
    np.testing.assert_allclose(boxes, steps[2][0], atol=1e-3)
    np.testing.assert_allclose(deltas, steps[2][2], atol=1e-4)
    np.testing.assert_allclose(softmax(logits), np.mean([softmax(step[1]) for step in steps], axis=0), atol=1e-5)


def test_mmdetection_means_the_logits():
    head = make_cascade(mean="logits")
    logits = refine(head, features_of(), rois_of())[1]
    np.testing.assert_allclose(logits, np.mean([step[1] for step in step_by_step(head, rois_of())], axis=0), atol=1e-5)


def test_boxes_stay_inside_the_image():
    boxes = refine(make_cascade(), features_of(), rois_of())[0]
    assert (boxes[..., :2] >= 0).all() and (boxes <= np.tile(REGIONS[:, None, 2:], 2)).all()


def test_losses_are_the_sums_of_the_stages_with_their_own_ious_and_weights():
    """Beside the slow twins of matching, encoding and the losses."""
    head, truth = make_cascade(), truth_of()
    targets = targets_of(truth)
    expected = {"class_loss": 0.0, "box_loss": 0.0}
    num_positive = []
    for number, (rois, logits, deltas) in enumerate(step_by_step(head, targets.rois)):
        classes, wanted, positive, valid = targets.classes, targets.deltas, targets.positive, targets.valid
        if number:
            stage, iou = head.later[number - 1], head.cascade.positive_ious[number - 1]
            classes, wanted, positive, valid = label(rois, targets.valid, truth, iou, stage.config.delta_weights)
        num_positive.append(int(positive.sum()))
        expected["class_loss"] += loss_reference.class_loss(logits, classes, valid)
        expected["box_loss"] += loss_reference.box_loss(deltas[:, :, 0], wanted, positive, valid, 1.0)
    assert num_positive[1] > 0, "else nothing is compared"
    found = losses_on(head, targets, truth)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4)


def label(rois, valid, truth, iou, weights):
    """What moved RoIs are: classes, deltas, positives and valid rows."""
    answers = []
    for image in range(len(rois)):
        rows = [truth[name][image] for name in ("boxes", "valid", "crowd")]
        _, matched, positive, negative = matching_reference.match(
            rois[image], *rows, positive_iou=iou, negative_iou=iou, best_is_positive=False
        )
        there = valid[image] & ((rois[image, :, 2:] - rois[image, :, :2]) > 0).all(axis=1)
        positive = positive & there
        classes = np.where(positive, truth["labels"][image][matched] + 1, 0)
        deltas = np.zeros((len(there), 4))
        deltas[positive] = box_reference.encode(truth["boxes"][image][matched[positive]], rois[image][positive], weights)
        answers.append((classes, deltas, positive, positive | (negative & there)))
    return (np.stack(values) for values in zip(*answers, strict=True))


def test_the_pyramid_learns_the_mean_of_the_stages_and_the_heads_their_own():
    """Of one stage whose gradient is whole, and of the same stage as the first of three."""
    if keras.backend.backend() != "torch":
        pytest.skip("gradients of many tensors at once; scale_gradient itself is differentiated on every backend")
    import torch

    truth = truth_of()
    targets = keras.tree.map_structure(keras.ops.convert_to_tensor, targets_of(truth))
    gradients = []
    for head in (make_cascade(1), make_cascade(3)):
        features = [torch.tensor(level, requires_grad=True) for level in features_of()]
        logits, deltas = head(features, targets.rois, training=True)
        sum(head.losses_of(logits, deltas, targets).values()).backward()
        weight = head.hidden[0].kernel.value
        gradients.append(([level.grad.numpy() for level in features[:3] if level.grad is not None], weight.grad.numpy().copy()))
        weight.grad = None
    (whole, own), (part, same) = gradients
    assert len(whole) > 0 and max(np.abs(level).max() for level in whole) > 1e-4
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_allclose(other, one / 3, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(own, same, rtol=1e-4, atol=1e-7)


def test_a_mask_is_the_mean_of_all_mask_heads():
    head = MaskCascade(MASKS, RoiAlignConfig(), num_heads=3, num_classes=3, channels=CHANNELS, name="mask_head")
    head.build(None)
    head.built = True
    rng = np.random.default_rng(0)
    head.set_weights([rng.normal(0, 0.4, weight.shape) for weight in head.get_weights()])
    labels, features = np.array([[0, 1], [2, 1]], np.int32), features_of()
    masks = compute(head.masks, features, rois_of(2), labels)
    of_each = [1 / (1 + np.exp(-compute(one, features, rois_of(2), labels))) for one in (head, *head.later)]
    assert len(of_each) == 3 and np.abs(of_each[0] - of_each[1]).max() > 0.1
    np.testing.assert_allclose(masks, np.mean(of_each, axis=0), atol=1e-5)


@pytest.mark.slow  # JAX compiles the step for it
def test_a_network_with_a_cascade_learns_is_saved_and_answers_the_same(tmp_path):
    with with_small_backbone():
        model, batch = MaskRCNN(small_config(**KINDS["a cascade"])), make_batch()
    names = [name for name in model.named_layers() if name.startswith("box_head/")]
    assert {"box_head/fc1", "box_head/stage2/fc1", "box_head/stage3/fc1"} <= set(names)
    model.compile(keras.optimizers.SGD(0.01))
    before = {weight.path: keras.ops.convert_to_numpy(weight).copy() for weight in model.box_head.weights}
    losses = model.train_on_batch(batch, return_dict=True)
    assert np.isfinite(losses["loss"]) and losses["box_loss"] > 0
    for weight in model.box_head.weights:
        assert (keras.ops.convert_to_numpy(weight) != before[weight.path]).any(), weight.path
    model.save(tmp_path / "cascade.keras")
    with with_small_backbone():
        opened = load_model(tmp_path / "cascade.keras")
    assert opened.config == model.config
    answers_agree(PaddedDetections(*model.predict_on_batch(images_of(batch))), opened.predict_on_batch(images_of(batch)))


def test_entries_for_stages_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="an entry for each stage behind the first; received 1 and 0"):
        CascadeConfig((0.6,))
    with pytest.raises(ValueError, match="four numbers for each stage"):
        CascadeConfig((0.6,), ((20.0, 20.0, 10.0),))
    with pytest.raises(ValueError, match="at most 8 further stages; received 9"):
        CascadeConfig((0.6,) * 9, ((20.0, 20.0, 10.0, 10.0),) * 9)
