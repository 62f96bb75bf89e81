"""Objects that were drawn twice."""

from __future__ import annotations

import numpy as np

from maskrcnn.annotations import repeats
from maskrcnn.geometry.rle import cutout_rle, mask_iou


def test_twins_are_the_same_among_few_objects_and_among_many(monkeypatch):
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 200, (150, 2))
    sides = rng.integers(15, 20, (150, 2))
    corners[50:70], sides[50:70] = corners[:20] + rng.integers(-1, 2, (20, 2)), sides[:20]
    corners = corners.clip(0, 200)
    rles = [
        cutout_rle(np.ones((height, width), bool), (int(left), int(top)), (240, 240))
        for (left, top), (width, height) in zip(corners, sides)
    ]
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(float).tolist()
    ious = mask_iou(rles, rles)
    expected = {(one, other) for one, other in np.argwhere(ious >= 0.8).tolist() if one < other}
    assert len(expected) > 10
    for few in (0, 1000):
        monkeypatch.setattr(repeats, "FEW", few)
        found = list(repeats.twins(rles, boxes, lambda *_: True, least=0.8))
        assert {pair[:2] for pair in found} == expected
        assert all(iou == ious[one, other] for one, other, iou in found)
