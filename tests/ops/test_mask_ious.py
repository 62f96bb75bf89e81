"""Laws of the IoU of masks in RoIs and whole objects."""

from __future__ import annotations

import numpy as np
from references import mask_targets as mask_reference
from tensors import compute

from maskrcnn.ops.mask_ious import inside_shares, mask_ious

BOX = np.array([10.0, 20.0, 42.0, 36.0], np.float32)


def objects(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks (1, 5, 8, 8) of one box, and RoIs around it, within it, beside it and across its border."""
    rng = np.random.default_rng(seed)
    moves = np.array([[0, 0, 0, 0], [-5, -5, 5, 5], [7, 3, -9, -2], [60, 60, 60, 60], [-8, 6, -11, 4]], np.float32)
    return (rng.random((1, 5, 8, 8)) < 0.5).astype(np.uint8), np.tile(BOX, (1, 5, 1)), BOX + moves[None]


def test_share_inside_is_the_covered_area_over_the_objects():
    masks, boxes, rois = objects()
    found = compute(inside_shares, masks, boxes, rois)[0]
    for row, share in enumerate(found):
        x1, y1, x2, y2 = rois[0, row]
        covered = mask_reference.coverage(masks[0, row], BOX, rois[0, row], 4).mean() * (x2 - x1) * (y2 - y1)
        pixel = (BOX[2] - BOX[0]) / 8 * (BOX[3] - BOX[1]) / 8
        np.testing.assert_allclose(share, covered / (masks[0, row].sum() * pixel), atol=1e-5)
    np.testing.assert_allclose(found[:2], 1, rtol=1e-6)
    assert 0 < found[2] < 1 and found[3] == 0


def test_a_mask_that_is_its_object_has_an_iou_of_its_share():
    """What lies outside of the RoI counts: the most that a mask can have of half an object is a half."""
    target = np.zeros((1, 4, 6, 6), np.float32)
    target[:, :, :3] = 1
    found = target.astype(bool)
    found[0, 2, 0] = False
    found[0, 3] = True
    ious = compute(mask_ious, found, target, np.array([[1.0, 0.5, 1.0, 1.0]], np.float32))
    np.testing.assert_allclose(ious[0], [1, 0.5, 2 / 3, 0.5], rtol=1e-5)


def test_nothing_to_cover_is_0():
    empty = np.zeros((1, 1, 6, 6), np.float32)
    for found in (empty.astype(bool), ~empty.astype(bool)):
        assert compute(mask_ious, found, empty, np.zeros((1, 1), np.float32)) == 0
    assert compute(inside_shares, np.zeros((1, 1, 8, 8), np.uint8), BOX[None, None], BOX[None, None]) == 0
