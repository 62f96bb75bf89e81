from __future__ import annotations

import numpy as np
import pytest
from small_network import small_network

from maskrcnn.config.fields import replace
from maskrcnn.inference.prompts import _boxes_in_frame, detect_in_boxes
from maskrcnn.inference.whole import detect, original_boxes

pytestmark = pytest.mark.backend


@pytest.fixture(scope="module")
def network():
    network = small_network(num_classes=1, image__short_side=64, image__long_side=96, detect__score=0.0)
    rng = np.random.default_rng(1)
    for variable in network.trainable_variables:  # so that masks are neither empty nor full
        variable.assign(rng.normal(0, 0.2, variable.shape))
    return network


def test_the_boxes_of_detections_give_their_masks_again(network) -> None:
    image = np.random.default_rng(1).integers(0, 255, (80, 100, 3)).astype(np.uint8)
    (found,) = detect(network, [image])
    large = found[(found.boxes[:, 2:] - found.boxes[:, :2]).min(axis=1) > 2]
    assert len(large) >= 3
    again = detect_in_boxes(network, image, large.boxes)
    np.testing.assert_array_equal(again.boxes, large.boxes)
    np.testing.assert_array_equal(again.labels, large.labels)
    np.testing.assert_allclose(again.small_masks, large.small_masks, atol=1e-3)
    assert large.small_masks.std() > 0.01


def test_one_box_or_many_are_answered_alike(network) -> None:
    image = np.random.default_rng(2).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    boxes = np.array([[k, 2 * k, k + 20, 2 * k + 15] for k in range(11)], np.float32)
    many = detect_in_boxes(network, image, boxes)
    assert len(many) == 11
    alone = detect_in_boxes(network, image, boxes[7:8])
    np.testing.assert_allclose(alone.small_masks[0], many.small_masks[7], atol=1e-4)
    np.testing.assert_allclose(alone.scores[0], many.scores[7], atol=1e-5)


@pytest.mark.parametrize("ends", ["edge", "last_pixel"])
@pytest.mark.parametrize("place", ["corner", "centre"])
def test_boxes_go_to_the_frame_and_back(network, ends, place) -> None:
    config = replace(network.config, anchors__ends=ends, image__place=place)
    boxes = np.array([[3, 4, 50, 61], [0, 0, 100, 80]], np.float32)
    inside = _boxes_in_frame(boxes, (80, 100), (64, 80), (64, 96), config)
    np.testing.assert_allclose(original_boxes(inside, (64, 80), (64, 96), (80, 100), config), boxes, atol=1e-3)
