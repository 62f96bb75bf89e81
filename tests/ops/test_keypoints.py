"""Laws of heat maps: doubling, targets and loss."""

from __future__ import annotations

import numpy as np
from references import keypoints as reference
from tensors import compute, gradient

from maskrcnn.ops import keypoints as keypoint_ops


def test_places_are_those_of_the_twin_and_points_on_the_far_edges_count():
    rng = np.random.default_rng(0)
    rois = np.array([[[4, 6, 20, 30], [0, 0, 56, 56], [10, 10, 11, 11]]], np.float32).repeat(2, axis=0)
    points = rng.uniform(-3, 40, (2, 3, 60, 3)).astype(np.float32)
    points[..., 2] = rng.integers(0, 3, points.shape[:-1])
    points[0, 0, 0], points[0, 0, 1], points[0, 1, 2] = (20, 30, 2), (4, 6, 1), (56, 10, 2)
    places, inside = compute(keypoint_ops.keypoint_places, points, rois, size=56)
    found = 0
    for index in np.ndindex(*inside.shape):
        wanted = reference.keypoint_place(points[index], rois[index[:2]], 56)
        assert inside[index] == (wanted is not None), index
        if wanted is not None:
            assert abs(places[index] - wanted) in (0, 1, 56, 57), index  # float32 may round a point over a cell's edge
            found += places[index] == wanted
    assert found > 0.99 * inside.sum() > 20
    assert inside[0, 0, 0] and places[0, 0, 0] == 56 * 56 - 1 and places[0, 0, 1] == 0


def test_a_roi_without_area_gives_no_nan():
    places, inside = compute(
        keypoint_ops.keypoint_places, np.ones((1, 1, 2, 3), np.float32), np.zeros((1, 1, 4), np.float32), size=8
    )
    assert (places >= 0).all() and (places < 64).all() and inside.shape == (1, 1, 2)


def test_the_loss_is_the_twins_and_nothing_where_nothing_counts():
    rng = np.random.default_rng(0)
    maps = rng.normal(0, 3, (2, 3, 4, 6, 6)).astype(np.float32)
    places, counted = rng.integers(0, 36, (2, 3, 4)).astype(np.int32), rng.random((2, 3, 4)) < 0.5
    loss = compute(keypoint_ops.keypoint_loss, maps, places, counted)
    np.testing.assert_allclose(loss, reference.keypoint_loss(maps, places, counted), rtol=1e-5)
    assert compute(keypoint_ops.keypoint_loss, maps, places, np.zeros_like(counted)) == 0
    flat = compute(keypoint_ops.keypoint_loss, np.zeros_like(maps), places, np.ones_like(counted))
    np.testing.assert_allclose(flat, np.log(36), rtol=1e-6)


def test_the_gradient_lifts_the_place_and_lowers_all_others():
    maps, places = np.zeros((1, 1, 1, 4, 4), np.float32), np.array([[[5]]], np.int32)
    slope = gradient(lambda each: keypoint_ops.keypoint_loss(each, places, np.ones((1, 1, 1), bool)), maps).ravel()
    np.testing.assert_allclose(slope, np.where(np.arange(16) == 5, 1 / 16 - 1, 1 / 16), atol=1e-6)
