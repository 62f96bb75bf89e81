"""Laws of masks as polygons with holes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from maskrcnn.geometry.polygons import mask_to_rings


def area(ring: np.ndarray) -> float:
    x, y = ring.T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2


def inside(ring: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixels whose centres lie in a ring: an odd number of its edges is to their right."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    crossings = np.zeros(size, int)
    for (x0, y0), (_, y1) in zip(ring, np.roll(ring, -1, axis=0)):
        crossings += (y > min(y0, y1)) & (y < max(y0, y1)) & (x < x0)
    return crossings % 2 == 1


def random_masks(count: int):
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.random(rng.integers(1, 9, 2)) < rng.uniform(0.2, 0.9)


def test_polygons_less_their_holes_are_the_mask():
    for mask in random_masks(200):
        covered = np.zeros(mask.shape, int)
        for outer, *holes in mask_to_rings(mask):
            part = inside(outer, mask.shape).astype(int)
            for hole in holes:
                part -= inside(hole, mask.shape)
            assert part.min() >= 0
            covered += part
        np.testing.assert_array_equal(covered, mask)


def test_no_ring_visits_a_point_twice_and_edges_turn_at_every_point():
    for mask in random_masks(200):
        rings = [ring for polygon in mask_to_rings(mask) for ring in polygon]
        assert len(rings) >= mask.any()
        for ring in rings:
            assert len(np.unique(ring, axis=0)) == len(ring)
            steps = np.roll(ring, -1, axis=0) - ring
            assert (np.count_nonzero(steps, axis=1) == 1).all()


def test_each_part_is_one_polygon_and_rings_turn_as_rfc_7946_wants():
    for mask in random_masks(200):
        polygons = mask_to_rings(mask)
        assert len(polygons) == cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[0] - 1
        for outer, *holes in polygons:
            assert area(outer) > 0 and all(area(hole) < 0 for hole in holes)


def test_a_square_with_a_hole_has_the_corners_of_its_pixels():
    mask = np.ones((3, 3), bool)
    mask[1, 1] = False
    ((outer, hole),) = mask_to_rings(mask)
    assert {tuple(point) for point in outer.tolist()} == {(0, 0), (3, 0), (3, 3), (0, 3)}
    assert {tuple(point) for point in hole.tolist()} == {(1, 1), (2, 1), (2, 2), (1, 2)}


@pytest.mark.parametrize("mask", [np.zeros((3, 4), bool), np.zeros((0, 0), bool)])
def test_an_empty_mask_has_no_polygon(mask):
    assert mask_to_rings(mask) == []
