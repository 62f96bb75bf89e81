"""Laws of AP by groups: every number is the slow twin's."""

from __future__ import annotations

import numpy as np
import pytest
from random_results import CATEGORIES, SEEDS, SIZE, images_of, random_set
from references import evaluation as twin

from maskrcnn.metrics.groups import BORDER, CROWDING, SIZES, ap_by_groups


def size_of(thing: twin.Thing, _: list[twin.Thing]) -> str:
    area = thing.mask.sum()
    return next((name for name, side in zip(SIZES, (16, 32, 96, 256)) if area < side**2), SIZES[-1])


def border_of(thing: twin.Thing, _: list[twin.Thing]) -> str:
    left, top, right, bottom = thing.box
    return BORDER[int(left < 1 or top < 1 or right > SIZE[1] - 1 or bottom > SIZE[0] - 1)]


def crowding_of(thing: twin.Thing, objects: list[twin.Thing]) -> str:
    others = sorted(twin.box_iou(thing, other) for other in objects if not other.crowd and other is not thing)
    if not any(thing is other for other in objects):
        others = others[:-1]  # a result takes the nearest object for its own
    nearest = max(others, default=0.0)
    return CROWDING[0 if nearest == 0 else 1 if nearest <= 0.2 else 2]


@pytest.mark.parametrize("kind", ["size", "crowding", "border"])
@pytest.mark.parametrize("seed", SEEDS)
def test_groups_are_the_twins(seed: int, kind: str) -> None:
    evaluation = random_set(seed).evaluation()
    images = images_of(evaluation)
    belongs = {"size": size_of, "crowding": crowding_of, "border": border_of}[kind]
    # A crowd region's own group matters to nobody: it is ignored in each.
    groups = {id(thing): belongs(thing, image.objects) for image in images for thing in (*image.objects, *image.results)}
    answer = ap_by_groups(evaluation)[kind]
    assert len(answer) in (2, 3, 5)
    for name, row in answer.items():
        matched = [
            [
                twin.match(images, label, iou, outside=lambda thing, name=name: groups[id(thing)] != name)
                for iou in twin.THRESHOLDS
            ]
            for label in range(len(CATEGORIES))
        ]
        present = [every for every in matched if every[0].objects]
        assert row["objects"] == sum(len(every[0].objects) for every in present)
        if not present:
            assert row == {"objects": 0, "AP": None, "AP50": None, "recall": None}
            continue
        assert row["AP"] == pytest.approx(np.mean([twin.ap(one) for every in present for one in every]), abs=1e-9)
        assert row["AP50"] == pytest.approx(np.mean([twin.ap(every[0]) for every in present]), abs=1e-9)
        assert row["recall"] == pytest.approx(np.mean([np.mean(one.found) for every in present for one in every]), abs=1e-9)
