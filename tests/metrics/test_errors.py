"""Laws of error analysis: every number is the slow twin's, on sets with crowds, empty images and every kind of error."""

from __future__ import annotations

import numpy as np
import pytest
from random_results import CATEGORIES, SEEDS, images_of, kept_of, random_set
from references import evaluation as twin

from maskrcnn.metrics.curves import best_scores
from maskrcnn.metrics.errors import confusion, costs, image_errors, label_errors, tide

NUM_CLASSES = len(CATEGORIES)


@pytest.mark.parametrize("seed", SEEDS)
def test_tide_is_the_twins(seed: int) -> None:
    evaluation = random_set(seed).evaluation()
    expected = twin.tide(images_of(evaluation), NUM_CLASSES)
    answer = tide(evaluation)
    assert {kind: error["count"] for kind, error in answer["errors"].items()} == expected.counts
    assert answer["AP50"] == pytest.approx(expected.base, abs=1e-9)
    for kind, error in answer["errors"].items():
        assert error["AP50_lost"] == pytest.approx(expected.lost[kind], abs=1e-9), kind
    matched = [twin.match(images_of(evaluation), label, 0.5) for label in range(NUM_CLASSES)]
    hits_alone = [[one for one in own.right if one] for own in matched]
    present = [k for k, own in enumerate(matched) if own.objects]
    perfect = [np.mean(twin.precision_at_recalls(hits_alone[k], len(matched[k].objects))) for k in present]
    assert answer["AP50_lost_to_false_positives"] == pytest.approx(np.mean(perfect) - expected.base, abs=1e-9)
    complete = [
        np.mean(twin.precision_at_recalls(counted_of(matched[k]), sum(matched[k].found))) if any(matched[k].found) else 0.0
        for k in present
    ]
    assert answer["AP50_lost_to_missed"] == pytest.approx(np.mean(complete) - expected.base, abs=1e-9)


def counted_of(matched: twin.Matched) -> list[bool]:
    return [one for one, counts in zip(matched.right, matched.counts) if counts]


@pytest.mark.parametrize("seed", SEEDS)
def test_confusion_is_the_twins(seed: int) -> None:
    kept = kept_of(random_set(seed).evaluation())
    answer = confusion(kept)
    assert answer["classes"] == [category.name for category in CATEGORIES]
    assert answer["matrix"] == twin.confusion(images_of(kept), NUM_CLASSES)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cost_is_what_ap_gains_without_the_error(seed: int) -> None:
    evaluation = random_set(seed).evaluation()
    answer = costs(evaluation)
    matched = [twin.match(images_of(evaluation), label, 0.5) for label in range(NUM_CLASSES)]
    present = [own for own in matched if own.objects]
    of_results, of_objects = np.zeros(len(evaluation.rows)), np.zeros(len(evaluation.objects))
    starts = np.searchsorted(evaluation.objects.images, np.arange(len(evaluation.samples)))
    for own in present:
        counted = [result for result, counts in zip(own.results, own.counts) if counts]
        right, number = counted_of(own), len(own.objects)
        base = twin.uninterpolated_ap(right, number)
        for k, result in enumerate(counted):
            if not right[k]:
                without = twin.uninterpolated_ap(right[:k] + right[k + 1 :], number)
                of_results[result.row] = (without - base) / len(present)
        for thing, found in zip(own.objects, own.found):
            if not found:
                gain = twin.uninterpolated_ap([True, *right], number) - base
                of_objects[starts[thing.image] + thing.row] = gain / len(present)
    assert of_results.any()
    np.testing.assert_allclose(answer.results, of_results, atol=1e-12)
    np.testing.assert_allclose(answer.objects, of_objects, atol=1e-12)
    images = [
        of_results[evaluation.rows.images == place].sum() + of_objects[evaluation.objects.images == place].sum()
        for place in range(len(evaluation.samples))
    ]
    np.testing.assert_allclose(answer.images, images, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_images_errors_are_the_twins_costliest_first(seed: int) -> None:
    evaluation = random_set(seed).evaluation()
    kept, cost = kept_of(evaluation), costs(evaluation).images
    rows = image_errors(evaluation, best_scores(evaluation), cost)
    assert [row["cost"] for row in rows] == sorted(cost.tolist(), reverse=True)
    matched = [twin.match(images_of(kept), label, 0.5) for label in range(NUM_CLASSES)]
    for place, sample in enumerate(kept.samples):
        (row,) = [row for row in rows if row["image_id"] == sample.image_id]
        hits = sum(one for own in matched for one, thing in zip(own.right, own.results) if thing.image == place)
        wrong = sum(
            counts and not one
            for own in matched
            for one, counts, thing in zip(own.right, own.counts, own.results)
            if thing.image == place
        )
        missed = sum(not hit for own in matched for hit, thing in zip(own.found, own.objects) if thing.image == place)
        assert (row["correct"], row["false_positives"], row["missed"]) == (hits, wrong, missed)
        errors = wrong + missed
        assert row["f1"] == pytest.approx(2 * hits / (2 * hits + errors) if hits + errors else 1.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_suspected_labels_are_the_twins(seed: int) -> None:
    kept = kept_of(random_set(seed).evaluation())
    expected = []
    matched = [twin.match(images_of(kept), label, 0.5) for label in range(NUM_CLASSES)]
    missed = [thing for own in matched for thing, hit in zip(own.objects, own.found) if not hit]
    objects = [thing for own in matched for thing in own.objects]
    for own in matched:
        for result, right, counts in zip(own.results, own.right, own.counts):
            if right or not counts or result.score < 0.5:
                continue
            strangers = [thing for thing in missed if thing.image == result.image and thing.label != result.label]
            nearest = max(strangers, key=lambda thing: twin.box_iou(result, thing), default=None)
            others = [twin.box_iou(result, thing) for thing in objects if thing.image == result.image]
            if nearest is not None and twin.box_iou(result, nearest) >= 0.5:
                expected.append((result.row, "wrong_class", nearest.label))
            elif max(others, default=0.0) < 0.1:
                expected.append((result.row, "not_annotated", None))
    answer = label_errors(kept)
    names = [category.name for category in CATEGORIES]
    found = [
        (row["row"], row["kind"], None if row["annotated_class"] is None else names.index(row["annotated_class"]))
        for row in answer
    ]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert [row["score"] for row in answer] == sorted((row["score"] for row in answer), reverse=True)


def test_the_sets_hold_errors_of_every_kind() -> None:
    """Else the laws above would say little."""
    crowds = 0
    kinds: set[str] = set()
    suspected: set[str] = set()
    for seed in range(12):
        evaluation = random_set(seed).evaluation()
        kinds |= {kind for kind, error in tide(evaluation)["errors"].items() if error["count"]}
        crowds += int(evaluation.objects.crowd.sum())
        suspected |= {row["kind"] for row in label_errors(kept_of(evaluation))}
    assert crowds
    assert len(kinds) == 6
    assert suspected == {"wrong_class", "not_annotated"}
