"""Laws of what the mask head should say."""

from __future__ import annotations

import numpy as np
import pytest
from references import mask_targets as reference
from tensors import compute

from maskrcnn.ops.mask_targets import mask_targets


def targets(masks, mask_boxes, rois, mask_size: int) -> np.ndarray:
    return compute(mask_targets, masks, mask_boxes, rois, mask_size=mask_size)


def blob(side: int) -> np.ndarray:
    """A disc with a bite: (side, side) uint8."""
    y, x = np.mgrid[:side, :side] + 0.5
    disc = (x - side / 2) ** 2 + (y - side / 2) ** 2 < (side / 2) ** 2
    return (disc & ~((x > 0.6 * side) & (y < 0.4 * side))).astype(np.uint8)


@pytest.mark.parametrize("mask_size", [7, 12])
def test_a_cell_is_object_where_half_of_its_area_is(mask_size):
    mask, box = blob(10), np.array([10, 20, 40, 60], np.float32)
    rois = np.array(
        [[10, 20, 40, 60], [5, 5, 30, 50], [20, 30, 30, 35], [-40, -30, 100, 90], [38, 55, 80, 90], [60, 70, 80, 90]],
        np.float32,
    )
    count = len(rois)
    answer = targets(np.tile(mask, (1, count, 1, 1)), np.tile(box, (1, count, 1)), rois[None], mask_size)
    assert answer.shape == (1, count, mask_size, mask_size)
    for row in range(count):
        covered = reference.coverage(mask, box, rois[row], mask_size)
        clear = np.abs(covered - 0.5) > 1e-4  # float32 may fall on either side of exactly one half
        np.testing.assert_array_equal(answer[0, row][clear], (covered >= 0.5)[clear])
        assert clear.mean() > 0.8


def test_a_roi_on_the_objects_own_box_gives_back_its_mask():
    mask, box = blob(14), np.array([[[3, 5, 31, 19]]], np.float32)
    np.testing.assert_array_equal(targets(mask[None, None], box, box, 14)[0, 0], mask)
    doubled = mask.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(targets(mask[None, None], box, box, 28)[0, 0], doubled)


def test_a_full_mask_is_exactly_its_box():
    """A RoI of 8 × 8 cells over a box that fills its left upper quarter, and half of the next column: golden by hand."""
    answer = targets(
        np.ones((1, 1, 112, 112), np.uint8),
        np.array([[[0, 0, 4.5, 4]]], np.float32),
        np.array([[[0, 0, 8, 8]]], np.float32),
        8,
    )
    expected = np.zeros((8, 8))
    expected[:4, :4] = 1
    np.testing.assert_array_equal(answer[0, 0][:, [0, 1, 2, 3, 5, 6, 7]], expected[:, [0, 1, 2, 3, 5, 6, 7]])
    wider = targets(
        np.ones((1, 1, 112, 112), np.uint8),
        np.array([[[0, 0, 4.6, 4]]], np.float32),
        np.array([[[0, 0, 8, 8]]], np.float32),
        8,
    )
    np.testing.assert_array_equal(wider[0, 0].sum(), 20)


def test_flipping_the_image_flips_the_target():
    mask, box, roi = blob(16), np.array([10, 20, 42, 52], np.float32), np.array([6, 25, 37, 50], np.float32)
    flipped = lambda sides: np.array([100 - sides[2], sides[1], 100 - sides[0], sides[3]], np.float32)  # noqa: E731
    plain = targets(mask[None, None], box[None, None], roi[None, None], 11)[0, 0]
    mirrored = targets(mask[:, ::-1].copy()[None, None], flipped(box)[None, None], flipped(roi)[None, None], 11)[0, 0]
    unsure = np.abs(reference.coverage(mask, box, roi, 11) - 0.5) < 1e-4
    np.testing.assert_array_equal(mirrored[:, ::-1][~unsure], plain[~unsure])


def test_every_roi_takes_its_own_mask():
    masks = np.zeros((2, 3, 8, 8), np.uint8)
    masks[0, 1], masks[1, 2] = 1, 1
    boxes = np.tile(np.array([0, 0, 16, 16], np.float32), (2, 3, 1))
    answer = targets(masks, boxes, boxes, 4)
    np.testing.assert_array_equal(answer.mean(axis=(2, 3)), [[0, 1, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    "box", [(5, 5, 5, 5), (5, 5, 5, 9), (0, 0, 0, 0), (9, 9, 3, 3), (np.nan,) * 4, (-np.inf, 0, np.inf, 5)]
)
def test_targets_are_0_or_1_for_degenerate_boxes(box):
    good, bad = np.array([[[0, 0, 20, 20]]], np.float32), np.array([[box]], np.float32)
    masks = np.ones((1, 1, 8, 8), np.uint8)
    for mask_boxes, rois in ((good, bad), (bad, good), (bad, bad)):
        assert np.isin(targets(masks, mask_boxes, rois, 4), (0.0, 1.0)).all()
