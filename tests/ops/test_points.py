"""Laws of maps read and filled at points."""

from __future__ import annotations

import cv2
import numpy as np
from tensors import compute

from maskrcnn.ops import points


def test_doubling_is_opencvs_bilinear():
    maps = np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype(np.float32)
    doubled = compute(points.double, maps)
    wanted = [cv2.resize(each, (14, 10), interpolation=cv2.INTER_LINEAR) for each in maps]
    np.testing.assert_allclose(doubled, wanted, atol=1e-5)


def test_maps_are_read_bilinearly_with_zeros_around():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(2, 5, 7, 3)).astype(np.float32)
    places = rng.uniform(-1.5, 8.5, (2, 50, 2)).astype(np.float32)
    padded = np.pad(maps, ((0, 0), (5, 5), (5, 5), (0, 0)))
    found = compute(points.read_at, maps, places)
    for image, place in np.ndindex(2, 50):
        x, y = places[image, place].astype(np.float64) - 0.5
        x0, y0 = int(np.floor(x)), int(np.floor(y))
        wanted = np.zeros(3)
        for down, right in np.ndindex(2, 2):
            weight = (1 - abs(x - x0 - right)) * (1 - abs(y - y0 - down))
            wanted += weight * padded[image, y0 + down + 5, x0 + right + 5]
        np.testing.assert_allclose(found[image, place], wanted, atol=1e-5)
    centres = compute(points.grid, side=5)
    square = rng.normal(size=(1, 5, 5, 1)).astype(np.float32)
    np.testing.assert_allclose(compute(points.read_at, square, 5 * centres[None])[0, :, 0], square.ravel(), atol=1e-5)


def test_in_box_undoes_in_frame():
    boxes = np.array([[[3, 4, 20, 9], [0, 0, 50, 40]]], np.float32)
    square = np.random.default_rng(0).uniform(0, 1, (1, 2, 6, 2)).astype(np.float32)
    places = compute(points.in_frame, square, boxes)
    assert (places >= boxes[:, :, None, :2]).all() and (places <= boxes[:, :, None, 2:]).all()
    np.testing.assert_allclose(compute(points.in_box, places, boxes), square, atol=1e-5)


def test_the_least_certain_are_put_in_their_places():
    logits = np.array([[3, -0.1, 2, 0.2, -5], [0.5, 4, -0.4, 6, -7]], np.float32)
    places = compute(points.most_uncertain, logits, count=2)
    np.testing.assert_array_equal(places, [[1, 3], [2, 0]])
    put = compute(points.put_at, logits, places, np.array([[10, 20], [30, 40]], np.float32))
    np.testing.assert_array_equal(put, [[3, 10, 2, 20, -5], [40, 4, 30, 6, -7]])
