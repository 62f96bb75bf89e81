"""Laws of fusing answers: one alone stays, equal ones stay, order and mirroring change nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from maskrcnn.inference.detections import Detections
from maskrcnn.inference.fusion import flipped, fuse, mask_in_box


def detections(boxes, scores, labels=None, masks=None, size=(80, 120)) -> Detections:
    count = len(boxes)
    return Detections(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.array(scores, np.float32),
        labels=np.zeros(count, np.int32) if labels is None else np.array(labels, np.int32),
        small_masks=np.ones((count, 28, 28), np.float32) if masks is None else masks,
        size=size,
        class_names=["a", "b"],
    )


def random_detections(seed: int, count: int = 12) -> Detections:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 50, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 30, (count, 2))], axis=1)
    scores = np.sort(rng.uniform(0.1, 1, count))[::-1]
    return detections(boxes, scores, rng.integers(0, 2, count), rng.uniform(0, 1, (count, 28, 28)).astype(np.float32))


def assert_same(found: Detections, want: Detections, atol=1e-4) -> None:
    assert len(found) == len(want) > 0
    for name in ("boxes", "scores", "labels", "small_masks"):
        np.testing.assert_allclose(getattr(found, name), getattr(want, name), atol=atol, err_msg=name)


def test_one_answer_stays_as_it_is() -> None:
    answer = random_detections(0)
    assert fuse([answer]) is answer
    assert len(fuse([answer], most=5)) == 5


def test_equal_answers_are_that_answer() -> None:
    answer = random_detections(1)
    assert_same(fuse([answer, answer, answer]), answer)


def test_boxes_and_scores_are_the_papers_means() -> None:
    """Solovyev et al. 2021, equations 1 to 5, by hand."""
    first, second = detections([[10, 10, 30, 30]], [0.9]), detections([[12, 10, 32, 30], [60, 60, 80, 80]], [0.3, 0.8])
    fused = fuse([first, second])
    left, right = (0.9 * 10 + 0.3 * 12) / 1.2, (0.9 * 30 + 0.3 * 32) / 1.2
    np.testing.assert_allclose(fused.boxes, [[left, 10, right, 30], [60, 60, 80, 80]])
    np.testing.assert_allclose(fused.scores, [(0.9 + 0.3) / 2, 0.8 / 2])


def test_other_classes_are_other_objects() -> None:
    box = [[10, 10, 30, 30]]
    assert len(fuse([detections(box, [0.9], [0]), detections(box, [0.8], [1])])) == 2


def test_objects_of_one_answer_stay_apart() -> None:
    """Two that overlap by more than the threshold, as non-maximum suppression by another threshold left them."""
    pair = detections([[10, 10, 30, 30], [12, 10, 32, 30]], [0.9, 0.8])
    assert_same(fuse([pair, pair]), pair)


def test_the_mask_of_a_fused_box_is_where_its_masks_are() -> None:
    masks = np.zeros((1, 28, 28), np.float32)
    masks[:, :, :14] = 1  # the left half of each box
    first, second = detections([[10, 10, 50, 50]], [0.8], masks=masks), detections([[10, 10, 54, 50]], [0.8], masks=masks)
    (mask,) = fuse([first, second]).masks
    assert mask[30, 12:29].all() and not mask[30, 33:].any()


def test_a_mask_read_on_its_own_grid_is_itself() -> None:
    mask, box = np.random.default_rng(0).uniform(0, 1, (28, 28)).astype(np.float32), np.array([3.0, 4, 40, 21])
    np.testing.assert_allclose(mask_in_box(mask, box, box, 28), mask, atol=1e-6)
    assert not mask_in_box(mask, box, box + 100, 28).any()


def test_a_mask_on_part_of_its_box_is_that_part() -> None:
    """The right half on a grid as fine: columns are read between the cells of the right half, rows as they are."""
    mask = np.tile(np.arange(28, dtype=np.float32), (28, 1))
    half = mask_in_box(mask, np.array([0.0, 0, 28, 28]), np.array([14.0, 0, 28, 28]), 28)
    np.testing.assert_allclose(half[5], np.minimum(14 + (np.arange(28) + 0.5) / 2 - 0.5, 27), atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1])
def test_mirrored_twice_is_as_before_and_masks_are_mirrored_with_their_boxes(axis) -> None:
    answer = random_detections(2)
    assert_same(flipped(flipped(answer, axis), axis), answer)
    np.testing.assert_array_equal(np.flip(flipped(answer, axis).masks, axis + 1), answer.masks)


def test_the_order_of_answers_changes_nothing() -> None:
    answers = [random_detections(seed) for seed in range(3)]
    assert_same(fuse(answers[::-1]), fuse(answers))


def test_nothing_found_fuses_to_nothing_and_images_of_other_sizes_are_refused() -> None:
    nothing = detections(np.zeros((0, 4)), [])
    assert len(fuse([nothing, nothing])) == 0
    assert len(fuse([nothing, random_detections(3)])) == 12
    with pytest.raises(ValueError, match="received answers about images of 80 × 120, 10 × 120"):
        fuse([nothing, replace(nothing, size=(10, 120))])
    with pytest.raises(ValueError, match="of none"):
        fuse([])


def test_fused_keypoints_are_those_of_the_surest_answer_and_mirrored_ones_swap_sides() -> None:
    """Where only some of the answers have keypoints there are none."""
    names = ("left_eye", "right_eye")
    one, other = (
        replace(random_detections(3), keypoints=np.random.default_rng(seed).uniform(0, 1, (12, 2, 3)), keypoint_names=names)
        for seed in (0, 1)
    )
    fused = fuse([one, other])
    assert fused.keypoints is not None and len(fused) == 12
    surer = one.keypoints[..., 2:] >= other.keypoints[..., 2:]
    np.testing.assert_allclose(fused.keypoints, np.where(surer, one.keypoints, other.keypoints), rtol=1e-6)
    mirrored = flipped(one, 1)
    np.testing.assert_allclose(mirrored.keypoints[:, 0, 0], 120 - one.keypoints[:, 1, 0])
    np.testing.assert_allclose(flipped(mirrored, 1).keypoints, one.keypoints)
    assert fuse([one, random_detections(3)]).keypoints is None
