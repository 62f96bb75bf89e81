"""Laws of detections: small grids and bitmaps are two ways to hold the same masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from maskrcnn.geometry import polygons, rle
from maskrcnn.structures import Detections

SIZE = (40, 50)


@pytest.fixture
def found() -> Detections:
    rng = np.random.default_rng(0)
    boxes = np.array([[2.5, 3.5, 20.2, 17.1], [30, 20, 60, 50], [5, 5, 5, 9]], np.float32)
    return Detections(
        boxes=boxes,
        scores=np.array([0.9, 0.8, 0.7], np.float32),
        labels=np.array([0, 1, 0], np.int32),
        small_masks=rng.random((3, 28, 28)).astype(np.float32),
        size=SIZE,
        class_names=["cell", "debris"],
        track_ids=np.array([7, 3, 5]),
    )


@pytest.fixture
def held_as_bitmaps(found: Detections) -> Detections:
    bitmaps, corners = zip(*found.cutouts())
    return replace(found, small_masks=np.zeros((3, 0, 0), np.float32), bitmaps=bitmaps, corners=np.array(corners))


def test_masks_rles_areas_and_polygons_say_the_same(found):
    masks = found.masks
    assert found.rle() == [rle.mask_to_rle(mask) for mask in masks]
    np.testing.assert_array_equal(found.areas(), masks.sum(axis=(1, 2)))
    for mask, outlines in zip(masks, found.polygons(), strict=True):
        np.testing.assert_equal(outlines, polygons.mask_to_polygons(mask))


def test_bitmaps_say_what_the_grids_say(found, held_as_bitmaps):
    np.testing.assert_array_equal(held_as_bitmaps.masks, found.masks)
    assert held_as_bitmaps.rle() == found.rle()
    np.testing.assert_equal(held_as_bitmaps.polygons(), found.polygons())


@pytest.mark.parametrize("rows", [1, slice(0, 2), [2, 0], np.array([True, False, True])])
def test_rows_take_everything_with_them(found, held_as_bitmaps, rows):
    chosen = np.arange(3)[[rows] if isinstance(rows, int) else rows]
    for detections in (found, held_as_bitmaps):
        part = detections[rows]
        np.testing.assert_array_equal(part.masks, found.masks[chosen])
        np.testing.assert_array_equal(part.track_ids, found.track_ids[chosen])
        np.testing.assert_array_equal(part.scores, found.scores[chosen])
