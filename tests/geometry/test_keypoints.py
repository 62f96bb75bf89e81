"""Laws of keypoints as arrays."""

from __future__ import annotations

import numpy as np
from references import keypoints as reference

from maskrcnn.geometry.boxes import flip_boxes
from maskrcnn.geometry.keypoints import as_coco, as_seen, flip_keypoints, peaks, without_outside

BOXES = np.array([[10, 20, 90.5, 61.25], [3, 4, 23.2, 70], [5, 5, 5.5, 6]], np.float32)


def maps_of(count: int = 3, num_keypoints: int = 2, size: int = 12) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 2, (count, num_keypoints, size, size)).astype(np.float32)


def test_peaks_are_the_highest_pixels_of_the_bicubic_map():
    maps = maps_of()
    found = peaks(maps, BOXES)
    for row, box in enumerate(BOXES):
        width, height = np.maximum(box[2:] - box[:2], 1)
        for number in range(2):
            resized = reference.bicubic(maps[row, number], (int(np.ceil(height)), int(np.ceil(width))))
            y, x = np.unravel_index(resized.argmax(), resized.shape)
            wanted = (x + 0.5) * width / np.ceil(width) + box[0], (y + 0.5) * height / np.ceil(height) + box[1]
            np.testing.assert_allclose(found[row, number, :2], wanted, rtol=1e-6)
            total = np.exp(maps[row, number].astype(np.float64)).sum()
            np.testing.assert_allclose(found[row, number, 2], np.exp(resized.max()) / total, rtol=1e-4)


def test_flipping_the_map_flips_the_point():
    maps, width, boxes = maps_of(2), 200, BOXES[:2]  # one thinner than a pixel counts as a pixel to its right
    mirrored = peaks(np.ascontiguousarray(maps[..., ::-1][:, ::-1]), flip_boxes(boxes, width))
    np.testing.assert_allclose(flip_keypoints(mirrored, width, (1, 0)), peaks(maps, boxes), atol=1e-3)


def test_a_point_lies_in_its_box_and_no_detection_is_none():
    found = peaks(maps_of(), BOXES)
    ends = np.maximum(BOXES[:, 2:], BOXES[:, :2] + 1)
    assert (found[..., :2] >= BOXES[:, None, :2]).all() and (found[..., :2] <= ends[:, None]).all()
    assert peaks(np.zeros((0, 2, 12, 12)), np.zeros((0, 4))).shape == (0, 2, 3)


def test_what_lies_outside_or_is_not_marked_is_zero():
    points = np.array([[[0, 0, 2], [30, 20, 1], [30.5, 3, 2], [-1, 3, 2], [5, 5, 0]]], np.float32)
    kept = without_outside(points, (20, 30))
    np.testing.assert_array_equal(kept[0], [[0, 0, 2], [30, 20, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]])


def test_coco_counts_pixels():
    assert as_coco(np.array([[0.5, 2.5, 2], [3, 4, 0.25]], np.float32)) == [0, 2, 2, 2.5, 3.5, 0.25]
    np.testing.assert_array_equal(as_seen(np.array([[[1, 2, 0.1]]], np.float32)), [[[1, 2, 2]]])
