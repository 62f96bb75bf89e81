"""Laws of the choice of RoIs that the heads learn from."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from references import boxes as box_reference
from references import samples
from small_network import make_batch
from tensors import compute

from maskrcnn.config.model import BoxHeadConfig, RoiSamplerConfig
from maskrcnn.model.heads.roi_sampler import RoiSampler
from maskrcnn.structures import Proposals, RoiTargets

WEIGHTS = BoxHeadConfig().delta_weights


@functools.cache
def make_sampler(**changes) -> RoiSampler:
    return RoiSampler(RoiSamplerConfig(**changes), WEIGHTS)


def proposals_near(batch, count: int = 200, seed: int = 0) -> Proposals:
    """Half of them near the objects, half anywhere; every tenth row is padding, which holds zeros."""
    rng = np.random.default_rng(seed)
    boxes = np.stack([samples.boxes(rng, count, most=30) for _ in batch["boxes"]])
    for image, valid in enumerate(batch["valid"]):
        if valid.any():
            objects = batch["boxes"][image][rng.integers(0, valid.sum(), count // 2)]
            boxes[image, : count // 2] = objects + rng.normal(0, 2, (count // 2, 4))
    boxes[..., 2:] = np.maximum(boxes[..., 2:], boxes[..., :2] + 1)
    is_valid = np.tile(np.arange(count) % 10 > 0, (len(boxes), 1))
    return Proposals(boxes * is_valid[..., None], rng.random(is_valid.shape).astype(np.float32), is_valid)


def sample(sampler: RoiSampler, proposals: Proposals, batch, seed: int = 0) -> RoiTargets:
    truth = {name: batch[name] for name in ("boxes", "labels", "valid", "crowd", "sizes")}
    return compute(sampler.sample, proposals, truth, seed=seed)


def test_512_rois_of_which_a_quarter_is_positive():
    batch = make_batch((12, 2), num_rows=16)
    targets = sample(make_sampler(), proposals_near(batch, 1000), batch)
    assert make_sampler().num_positive == 128
    assert targets.rois.shape == (2, 512, 4)
    assert targets.valid.all()
    np.testing.assert_array_equal(targets.positive.sum(axis=1), 128)
    assert targets.positive[:, :128].all(), "positives stand first"


@pytest.mark.parametrize("seed", range(3))
def test_rois_stand_for_the_object_they_overlap_most(seed):
    batch = make_batch((6, 3), num_rows=16, seed=seed)
    targets = sample(make_sampler(num_sampled=64), proposals_near(batch, seed=seed), batch)
    assert targets.positive.any(axis=1).all()
    for image in range(2):
        objects = batch["boxes"][image][batch["valid"][image]]
        iou = box_reference.iou(targets.rois[image], objects)
        positive, valid = targets.positive[image], targets.valid[image]
        assert (iou.max(axis=1)[positive] >= 0.5).all()
        assert (iou.max(axis=1)[valid & ~positive] < 0.5).all()
        np.testing.assert_array_equal(targets.matched[image][positive], iou.argmax(axis=1)[positive])
        np.testing.assert_array_equal(
            targets.classes[image][positive], batch["labels"][image][iou.argmax(axis=1)][positive] + 1
        )
        np.testing.assert_array_equal(targets.classes[image][~positive], 0)
        boxes = box_reference.decode(targets.deltas[image], targets.rois[image], WEIGHTS)
        np.testing.assert_allclose(boxes[positive], objects[iou.argmax(axis=1)][positive], atol=1e-2)
        assert not targets.deltas[image][~positive].any()


def test_true_boxes_are_proposals_too():
    """Without any other proposal, the positives are the objects themselves, and there is no background."""
    batch = make_batch((6, 1), num_rows=16)
    batch["boxes"][0, 5], batch["crowd"][0, 5] = batch["boxes"][0, 0] + 0.5, True  # a crowd's box is none of them
    nothing = Proposals(np.zeros((2, 30, 4), np.float32), np.zeros((2, 30), np.float32), np.zeros((2, 30), bool))
    targets = sample(make_sampler(num_sampled=64), nothing, batch)
    np.testing.assert_array_equal(targets.valid, targets.positive)
    for image, count in enumerate((5, 1)):
        rois = targets.rois[image][targets.positive[image]]
        objects = batch["boxes"][image, :count]
        np.testing.assert_array_equal(rois[np.argsort(rois[:, 0])], objects[np.argsort(objects[:, 0])])
    np.testing.assert_allclose(targets.deltas, 0.0, atol=1e-5)


def test_rows_that_are_not_valid_are_never_sampled_and_change_nothing():
    batch = make_batch((3, 0), num_rows=16)
    proposals = proposals_near(batch)
    targets = sample(make_sampler(num_sampled=400), proposals, batch)
    assert targets.valid.sum() <= proposals.valid.sum() + 3
    assert not targets.rois[~targets.valid].any()
    for filling in (np.nan, np.inf, -1e30):
        boxes = np.where(batch["valid"][..., None], batch["boxes"], np.float32(filling))
        labels = np.where(batch["valid"], batch["labels"], 999).astype(np.int32)
        filled = sample(make_sampler(num_sampled=400), proposals, {**batch, "boxes": boxes, "labels": labels})
        for one, other in zip(targets, filled):
            np.testing.assert_array_equal(one, other)


def test_crowds_are_never_positive_and_their_inside_is_never_background():
    batch = make_batch((4, 2), num_rows=16, num_crowds=2)  # the second image holds crowds alone
    targets = sample(make_sampler(num_sampled=64), proposals_near(batch), batch)
    assert not targets.positive[1].any()
    for image in range(2):
        background = targets.rois[image][targets.valid[image] & ~targets.positive[image]]
        assert len(background)
        assert box_reference.covered(background, batch["boxes"][image, :2]).max() < 0.5
        assert not np.isin(targets.matched[image][targets.positive[image]], (0, 1)).any()


def test_an_empty_image_gives_background_alone():
    batch = make_batch((0, 0), num_rows=16)
    targets = sample(make_sampler(num_sampled=64), proposals_near(batch), batch)
    assert targets.valid.all()
    assert not targets.positive.any()
    np.testing.assert_array_equal(targets.classes, 0)
    np.testing.assert_array_equal(targets.deltas, 0.0)


def test_the_seed_decides_the_sample():
    batch = make_batch((2, 2), num_rows=16)
    proposals = proposals_near(batch)
    sampler = make_sampler(num_sampled=32)
    first, again, other = (sample(sampler, proposals, batch, seed=seed).rois for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_generator_of_seeds_draws_anew_each_time():
    batch = make_batch((2, 2), num_rows=16)
    proposals, truth = keras.tree.map_structure(keras.ops.convert_to_tensor, (proposals_near(batch, 40), batch))
    sampler, generator = make_sampler(num_sampled=16), keras.random.SeedGenerator(0)
    first, second = (keras.ops.convert_to_numpy(sampler.sample(proposals, truth, generator).rois) for _ in range(2))
    assert not np.array_equal(first, second)
