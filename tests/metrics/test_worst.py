"""Laws of the list of single errors."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from random_results import CATEGORIES, SEEDS, images_of, random_set
from references import evaluation as twin

from maskrcnn.metrics.analysis import analyse
from maskrcnn.metrics.errors import costs, tide
from maskrcnn.metrics.worst import false_positives, kind_of, missed_objects


@pytest.mark.parametrize("seed", SEEDS)
def test_kinds_add_up_to_tides_counts(seed: int) -> None:
    evaluation = random_set(seed).evaluation()
    wrong = np.flatnonzero(evaluation.matches.counted[0] & ~evaluation.matches.correct[0])
    kinds = Counter(kind_of(evaluation, row)[0] for row in wrong.tolist())
    expected = {kind: error["count"] for kind, error in tide(evaluation)["errors"].items() if kind != "missed"}
    assert {kind: kinds[kind] for kind in expected} == expected


@pytest.mark.parametrize("seed", range(10))
def test_errors_come_costliest_first_and_say_what_is_near(seed: int) -> None:
    evaluation = random_set(seed).evaluation()
    cost, images = costs(evaluation), images_of(evaluation)
    wrong, missed = false_positives(evaluation, cost, most=5), missed_objects(evaluation, cost, most=5)
    assert wrong
    for rows, column in ((wrong, cost.results), (missed, cost.objects)):
        assert [row["cost"] for row in rows] == sorted(column[column > 0].tolist(), reverse=True)[:5]
    names = [category.name for category in CATEGORIES]
    for row in missed:
        place = int(evaluation.objects.images[row["object"]])
        thing = images[place].objects[int(evaluation.objects.places[row["object"]])]
        near = max(images[place].results, key=lambda result: twin.mask_iou(result, thing), default=None)
        expected = 0.0 if near is None else twin.mask_iou(near, thing)
        assert row["iou"] == pytest.approx(expected)
        assert row["near"] == (names[near.label] if expected else None)
        assert row["area"] == thing.mask.sum()
        assert row["class"] == names[thing.label]


def test_the_analysis_of_nothing_has_no_numbers_but_all_names() -> None:
    data = random_set(0)
    empty = data._replace(samples=[data.samples[1]], results=[]).evaluation()
    assert not len(empty.objects)
    answer = analyse(empty, resamples=3)
    full = analyse(data.evaluation(), resamples=3)
    assert answer.keys() == full.keys()
    assert answer["intervals"]["AP"] == {"value": None, "low": None, "high": None}
    assert answer["curves"]["all"] is None
    assert answer["missed"] == answer["false_positives"] == []
