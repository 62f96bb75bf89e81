"""Laws of the region proposal network."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from references import anchors as anchor_reference
from references import boxes as box_reference
from references import nms as nms_reference
from small_network import FRAME, make_batch
from tensors import compute, windows_of

from maskrcnn.config.model import AnchorConfig, RpnConfig
from maskrcnn.model.necks.fpn import STRIDES
from maskrcnn.model.rpn import RPN, RpnOutput

CHANNELS = 4
SIZES = ((8,), (16,), (32,), (64,), (128,))
THREE_SCALES = tuple((size[0], size[0] * 2 ** (1 / 3), size[0] * 2 ** (2 / 3)) for size in SIZES)
PLACES = [(-(-FRAME[0] // stride), -(-FRAME[1] // stride)) for stride in STRIDES]
FEW = RpnConfig(train_top_k=40, train_proposals=50, top_k=30, proposals=25)


@functools.cache
def make_rpn(config: RpnConfig = FEW, sizes=SIZES) -> RPN:
    keras.utils.set_random_seed(0)  # of some heads so small no channel outlives its ReLU
    rpn = RPN(config, AnchorConfig(sizes=sizes), CHANNELS)
    rpn.build(None)
    rpn.built = True
    return rpn


@pytest.fixture
def rpn() -> RPN:
    return make_rpn()


def answer_of(seed: int = 0, num_anchors: int = 3, sizes=SIZES) -> RpnOutput:
    """What a head might say: one of two images is full of ties."""
    rng = np.random.default_rng(seed)
    output = RpnOutput([], [], [])
    for size, stride, (height, width) in zip(sizes, STRIDES, PLACES):
        count = height * width * num_anchors
        output.anchors.append(anchor_reference.level_anchors(size, (0.5, 1.0, 2.0), stride, height, width).astype(np.float32))
        logits = rng.normal(0, 3, (2, count)).astype(np.float32)
        logits[1] = np.round(logits[1]) + np.float32(0)
        output.logits.append(logits)
        output.deltas.append(rng.normal(0, 0.4, (2, count, 4)).astype(np.float32))
    return output


def test_its_weights_begin_with_numbers_of_their_own(rpn):
    kernels = [np.asarray(layer.kernel) for layer in (rpn.convs[0], rpn.objectness, rpn.deltas)]
    first = [tuple(kernel.ravel()[:8]) for kernel in kernels]
    assert len(set(first)) == 3


@pytest.mark.parametrize(("sizes", "num_anchors"), [(SIZES, 3), (THREE_SCALES, 9)])
def test_every_anchor_of_every_level_gets_a_logit_and_deltas(sizes, num_anchors):
    rng = np.random.default_rng(0)
    rpn = make_rpn(sizes=sizes)
    output = compute(rpn, [rng.normal(size=(2, *places, CHANNELS)).astype(np.float32) for places in PLACES])
    for level, (height, width) in enumerate(PLACES):
        count = height * width * num_anchors
        assert output.logits[level].shape == (2, count)
        assert output.deltas[level].shape == (2, count, 4)
        expected = anchor_reference.level_anchors(sizes[level], (0.5, 1.0, 2.0), STRIDES[level], height, width)
        np.testing.assert_allclose(output.anchors[level], expected, atol=1e-4)


def test_the_same_head_looks_at_every_place(rpn):
    """A map of one value gives every place, away from the edge, the same answer, which lies in the order of the anchors."""
    features = [np.ones((1, *places, CHANNELS), np.float32) for places in PLACES]
    output = compute(rpn, features)
    logits = output.logits[0].reshape(*PLACES[0], 3)[1:-1, 1:-1]
    deltas = output.deltas[0].reshape(*PLACES[0], 3, 4)[1:-1, 1:-1]
    np.testing.assert_allclose(logits, np.broadcast_to(logits[:1, :1], logits.shape), atol=1e-6)
    np.testing.assert_allclose(deltas, np.broadcast_to(deltas[:1, :1], deltas.shape), atol=1e-6)
    assert len(np.unique(logits[0, 0].round(5))) == 3, "each of a place's anchors has an answer of its own"


def slow_proposals(output: RpnOutput, image: int, size, top_k: int, num_proposals: int) -> list[tuple[float, np.ndarray]]:
    found = []
    for anchors, logits, deltas in zip(*output):
        best = sorted(range(len(anchors)), key=lambda row: -logits[image, row])[:top_k]
        boxes = box_reference.clip(box_reference.decode(deltas[image][best], anchors[best]), size)
        large = np.array([x2 - x1 >= 1e-3 and y2 - y1 >= 1e-3 for x1, y1, x2, y2 in boxes])
        keep = nms_reference.nms(boxes, large, 0.7)
        found += [(float(logits[image, row]), box) for row, box, kept in zip(best, boxes, keep) if kept]
    return sorted(found, key=lambda row: -row[0])[:num_proposals]


@pytest.mark.parametrize("training", [True, False])
def test_proposals_are_the_best_boxes_of_every_level_without_doubles(rpn, training):
    output, sizes = answer_of(), np.array([[64, 96], [50, 70]], np.int32)
    proposals = compute(rpn.propose, output, windows_of(sizes), training=training)
    top_k, count = (40, 50) if training else (30, 25)
    assert proposals.boxes.shape == (2, count, 4)
    for image in range(2):
        expected = slow_proposals(output, image, sizes[image], top_k, count)
        assert proposals.valid[image].sum() == len(expected)
        np.testing.assert_allclose(proposals.boxes[image][: len(expected)], [box for _, box in expected], atol=1e-3)
        logits = np.array([logit for logit, _ in expected])
        np.testing.assert_allclose(proposals.scores[image][: len(expected)], 1 / (1 + np.exp(-logits)), atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_proposals_are_sorted_and_inside_the_image(rpn, seed):
    sizes = np.array([[64, 96], [33, 41]], np.int32)
    proposals = compute(rpn.propose, answer_of(seed), windows_of(sizes), training=False)
    assert (np.diff(proposals.scores, axis=1) <= 0).all()
    assert (np.diff(proposals.valid.astype(int), axis=1) <= 0).all(), "rows that are not valid stand last"
    assert (proposals.boxes >= 0).all()
    assert (proposals.boxes[..., 2:] <= sizes[:, None, ::-1]).all()
    assert not proposals.boxes[~proposals.valid].any()
    assert proposals.valid.any(axis=1).all()


def test_deltas_that_throw_every_box_away_give_no_proposal(rpn):
    output = answer_of()
    for filling in (1e9, -1e9, np.inf, np.nan):
        thrown = output._replace(deltas=[np.full_like(deltas, filling) for deltas in output.deltas])
        proposals = compute(rpn.propose, thrown, windows_of([[64, 96]] * 2), training=False)
        assert not proposals.valid.any()
        assert not proposals.boxes.any()


def sample(rpn: RPN, batch, seed: int = 0):
    output = answer_of()
    return output, compute(rpn.sample, output, {name: batch[name] for name in ("boxes", "valid", "crowd", "sizes")}, seed=seed)


def test_at_most_half_of_the_sampled_anchors_are_positive_and_none_is_a_padding_row():
    rpn = make_rpn(RpnConfig(num_sampled=32))
    _, targets = sample(rpn, make_batch((30, 1)))
    assert targets.indices.shape == targets.positive.shape == targets.valid.shape == (2, 32)
    assert targets.valid.all()
    assert targets.positive[0].sum() == 16
    assert 1 <= targets.positive[1].sum() < 16
    assert [len(set(rows)) for rows in targets.indices] == [32, 32]


def test_targets_of_positive_anchors_lead_to_their_objects():
    rpn = make_rpn(RpnConfig(num_sampled=128))
    batch = make_batch((6, 4))
    output, targets = sample(rpn, batch)
    anchors = np.concatenate(output.anchors)
    for image in range(2):
        chosen = anchors[targets.indices[image]]
        objects = batch["boxes"][image][batch["valid"][image]]
        iou = box_reference.iou(chosen, objects)
        positive, valid = targets.positive[image], targets.valid[image]
        boxes = box_reference.decode(targets.deltas[image], chosen)
        np.testing.assert_allclose(boxes[positive], objects[iou.argmax(axis=1)][positive], atol=1e-2)
        assert not targets.deltas[image][~positive].any()
        assert iou[valid & ~positive].max() < 0.3
        found = set(iou.argmax(axis=1)[positive])
        assert found == set(range(len(objects))), "every object has an anchor"


def test_crowds_are_neither_positive_nor_negative_anchors():
    rpn = make_rpn(RpnConfig(num_sampled=128))
    batch = make_batch((4, 2), num_crowds=2)  # the second image holds crowds alone
    output, targets = sample(rpn, batch)
    anchors = np.concatenate(output.anchors)
    assert not targets.positive[1].any()
    for image in range(2):
        chosen = anchors[targets.indices[image]][targets.valid[image] & ~targets.positive[image]]
        assert box_reference.covered(chosen, batch["boxes"][image, :2]).max() < 0.5


def test_an_empty_image_gives_negatives_alone_whatever_its_padding_rows_hold():
    rpn = make_rpn(RpnConfig(num_sampled=128))
    batch = make_batch((0, 0))
    _, targets = sample(rpn, batch)
    assert targets.valid.all()
    assert not targets.positive.any()
    np.testing.assert_array_equal(targets.deltas, 0.0)
    _, filled = sample(rpn, {**batch, "boxes": np.full_like(batch["boxes"], np.nan)})
    for one, other in zip(targets, filled):
        np.testing.assert_array_equal(one, other)


def test_joint_ranking_takes_the_best_boxes_of_all_levels_together():
    config = RpnConfig(top_k=60, proposals=25, rank="all_levels", delta_weights=(10.0, 10.0, 5.0, 5.0), max_scale=1e30)
    output, sizes = answer_of(), np.array([[64, 96], [50, 70]], np.int32)
    proposals = compute(make_rpn(config).propose, output, windows_of(sizes), training=False)
    joined = RpnOutput([np.concatenate(output.anchors)], *([np.concatenate(levels, axis=1)] for levels in output[1:]))
    joined = joined._replace(deltas=[joined.deltas[0] / np.array([10, 10, 5, 5], np.float32)])
    for image in range(2):
        expected = slow_proposals(joined, image, sizes[image], 60, 25)
        assert proposals.valid[image].sum() == len(expected)
        np.testing.assert_allclose(proposals.boxes[image][: len(expected)], [box for _, box in expected], atol=1e-3)


@pytest.mark.parametrize("num_convs", [1, 2])
def test_the_head_has_the_convolutions_and_the_width_asked_for(num_convs):
    rpn = make_rpn(RpnConfig(num_convs=num_convs, channels=6))
    shapes = {weight.path.split("/", 1)[1]: tuple(weight.shape) for weight in rpn.weights if weight.path.endswith("kernel")}
    assert shapes["conv/kernel"] == (3, 3, CHANNELS, 6)
    assert shapes.get("conv2/kernel") == ((3, 3, 6, 6) if num_convs == 2 else None)
    assert (shapes["objectness/kernel"], shapes["deltas/kernel"]) == ((1, 1, 6, 3), (1, 1, 6, 12))
    features = [np.ones((1, *places, CHANNELS), np.float32) for places in PLACES]
    assert compute(rpn, features).logits[0].shape == (1, PLACES[0][0] * PLACES[0][1] * 3)


@pytest.mark.parametrize(
    ("changes", "first", "second"),
    [
        ({}, [-64, -64, 64, 64], [0, -64, 128, 64]),
        ({"ends": "last_pixel"}, [-64, -64, 63, 63], [0, -64, 127, 63]),
        ({"strides": "frame"}, [-64, -64, 64, 64], [-16, -64, 112, 64]),  # 96 // 2 = 48 pixels from place to place
    ],
)
def test_anchors_of_p6_by_each_convention(changes, first, second):
    rpn = RPN(FEW, AnchorConfig(sizes=SIZES, ratios=(1.0,), **changes), CHANNELS)
    rpn.build(None)
    anchors = compute(rpn, [np.ones((1, *places, CHANNELS), np.float32) for places in PLACES]).anchors[4]
    np.testing.assert_array_equal(anchors[:2], [first, second])
