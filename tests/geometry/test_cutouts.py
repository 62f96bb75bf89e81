"""Laws of masks that are bitmaps until somebody asks for run lengths."""

from __future__ import annotations

import numpy as np
import pytest

from maskrcnn.geometry.cutouts import Cutouts, crop_masks
from maskrcnn.geometry.masks import mask_to_box
from maskrcnn.geometry.rle import cutout_rle

SIZE = (40, 60)
CORNERS = np.array([(0, 0), (50, 3), (7, 31)])


@pytest.fixture
def cutouts() -> Cutouts:
    rng = np.random.default_rng(0)
    masks = [rng.random(shape) < 0.6 for shape in ((12, 9), (30, 10), (9, 33))]
    masks[1] = np.rot90(masks[1].T)[:, ::-1]  # whatever its order in memory
    return Cutouts(masks, CORNERS, SIZE)


def test_they_read_as_run_lengths(cutouts):
    rles = list(cutouts)
    assert len(rles) == len(cutouts) == 3
    for rle, mask, corner in zip(rles, cutouts._masks, CORNERS.tolist(), strict=True):
        assert rle == cutout_rle(mask, tuple(corner), SIZE)
    assert cutouts[-1] is rles[2] and cutouts[1:] == rles[1:]
    assert cutouts == rles == cutouts and cutouts != rles[1:] and Cutouts([], np.zeros((0, 2), int), SIZE) == []
    with pytest.raises(IndexError):
        cutouts[3]


@pytest.mark.parametrize("shift", [0.0, 0.37, -5.2])
def test_cropped_to_boxes_they_are_their_run_lengths(cutouts, shift):
    boxes = np.array([[*corner, *(corner + mask.shape[::-1])] for mask, corner in zip(cutouts._masks, CORNERS)], np.float32)
    boxes += np.float32(shift) * np.array([1, -1, 1, 1], np.float32)
    for side in (7, 28):
        ours, theirs = crop_masks(cutouts, boxes, side), crop_masks(list(cutouts), boxes, side)
        np.testing.assert_array_equal(ours, theirs)
        assert len(ours) == 3 and any(mask.any() for mask in ours)
    assert mask_to_box(cutouts._masks[0]).any()
