"""Laws of anchors."""

from __future__ import annotations

import numpy as np
from references import anchors as reference
from tensors import compute

from maskrcnn.ops import anchors as anchor_ops

SIZES, RATIOS = (32.0, 40.0, 50.8), (0.5, 1.0, 2.0)


def level(sizes, ratios, stride: int, height: int, width: int) -> np.ndarray:
    cell = anchor_ops.cell_anchors(sizes, ratios)
    return compute(anchor_ops.level_anchors, cell, strides=(stride, stride), height=height, width=width)


def test_anchors_are_those_of_the_definition_in_the_order_of_a_convolutions_output():
    anchors = level(SIZES, RATIOS, 8, 3, 5)
    np.testing.assert_allclose(anchors, reference.level_anchors(SIZES, RATIOS, 8, 3, 5), rtol=1e-6, atol=1e-5)


def test_every_anchor_has_the_area_of_its_size_and_the_shape_of_its_ratio():
    cell = anchor_ops.cell_anchors(SIZES, RATIOS).reshape(3, 3, 4)
    width, height = cell[..., 2] - cell[..., 0], cell[..., 3] - cell[..., 1]
    np.testing.assert_allclose(np.sqrt(width * height), np.broadcast_to(np.array(SIZES)[:, None], (3, 3)), rtol=1e-6)
    np.testing.assert_allclose(height / width, np.broadcast_to(RATIOS, (3, 3)), rtol=1e-6)
    np.testing.assert_allclose(cell[..., :2], -cell[..., 2:])


def test_one_place_further_is_one_stride_further():
    anchors = level(SIZES, RATIOS, 16, 2, 3).reshape(2, 3, 9, 4)
    np.testing.assert_allclose(anchors[:, 1:] - anchors[:, :-1], np.broadcast_to([16, 0, 16, 0], (2, 2, 9, 4)), atol=1e-5)
    np.testing.assert_allclose(anchors[1:] - anchors[:-1], np.broadcast_to([0, 16, 0, 16], (1, 3, 9, 4)), atol=1e-5)


def test_anchors_equal_torchvision(golden):
    np.testing.assert_allclose(level((32,), (0.25, 1.0, 4.0), 16, 3, 5), golden["anchors"], atol=1e-5)


def test_rounded_anchors_are_torchvisions():
    cell = anchor_ops.cell_anchors((32,), (0.5, 1.0, 2.0), rounded=True)
    np.testing.assert_array_equal(cell, [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]])


def test_strides_may_differ_by_axis():
    cell = anchor_ops.cell_anchors((32,), (1.0,))
    anchors = compute(anchor_ops.level_anchors, cell, strides=(61, 64), height=2, width=2)
    np.testing.assert_array_equal(anchors - cell, [[0, 0, 0, 0], [64, 0, 64, 0], [0, 61, 0, 61], [64, 61, 64, 61]])
