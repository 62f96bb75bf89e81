"""Laws of boxes."""

from __future__ import annotations

import numpy as np

from maskrcnn.geometry.boxes import box_area, clip_boxes, flip_boxes

BOXES = np.array([[1, 2, 5, 9], [-3, 4, 30, 8], [40, 50, 60, 70], [5, 5, 5, 5]], np.float32)


def test_a_clipped_box_lies_in_its_image():
    clipped = clip_boxes(BOXES, (20, 24))
    np.testing.assert_array_equal(clipped, [[1, 2, 5, 9], [0, 4, 24, 8], [24, 20, 24, 20], [5, 5, 5, 5]])
    assert clipped.dtype == np.float32


def test_flipping_boxes_twice_changes_nothing():
    flipped = flip_boxes(BOXES, 24)
    np.testing.assert_array_equal(flipped[0], [19, 2, 23, 9])
    np.testing.assert_array_equal(flip_boxes(flipped, 24), BOXES)


def test_the_area_of_a_box_is_never_negative():
    np.testing.assert_array_equal(box_area(np.array([[1, 2, 5, 9], [5, 5, 5, 5], [5, 1, 2, 3]], np.float32)), [28, 0, 0])


def test_no_boxes_stay_no_boxes():
    none = np.zeros((0, 4), np.float32)
    assert clip_boxes(none, (5, 5)).shape == flip_boxes(none, 5).shape == (0, 4)
    assert box_area(none).shape == (0,)
