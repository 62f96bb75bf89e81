"""Laws of the curves: every number is the slow twin's, on sets with crowds, empty images and every kind of error."""

from __future__ import annotations

import numpy as np
import pytest
from random_results import CATEGORIES, SEEDS, images_of, random_set
from references import evaluation as twin

from maskrcnn.metrics.coco import evaluate_coco
from maskrcnn.metrics.curves import USUAL_SCORE, best_scores, calibration, precision_recall, score_curves

NAMES = [category.name for category in CATEGORIES]


@pytest.mark.parametrize("seed", SEEDS)
def test_precision_recall_is_the_twins(seed: int) -> None:
    evaluation = random_set(seed, num_images=4).evaluation()
    images, answer = images_of(evaluation), precision_recall(evaluation)
    assert list(answer["per_class"]) == NAMES
    curves = []
    for label, name in enumerate(NAMES):
        matched = [twin.match(images, label, threshold) for threshold in twin.THRESHOLDS]
        if not matched[0].objects:
            assert answer["per_class"][name] is None
            continue
        every = [twin.precision_at_recalls(twin.counted(one), len(one.objects)) for one in matched]
        expected = {"0.50": every[0], "0.75": every[5], "0.90": every[8], "mean": np.mean(every, axis=0)}
        curves.append(expected)
        for iou, values in expected.items():
            np.testing.assert_allclose(answer["per_class"][name][iou], values, atol=1e-12)
    assert curves
    for iou in curves[0]:
        np.testing.assert_allclose(answer["all"][iou], np.mean([curve[iou] for curve in curves], axis=0), atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_curves_have_the_ap_of_the_coco_scores(seed: int) -> None:
    data = random_set(seed)
    scores = evaluate_coco(data.samples, CATEGORIES, data.results)
    curves = precision_recall(data.evaluation())
    assert np.mean(curves["all"]["mean"]) == pytest.approx(scores["mask"]["AP"], abs=1e-9)
    assert np.mean(curves["all"]["0.50"]) == pytest.approx(scores["mask"]["AP50"], abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_score_curves_are_the_twins(seed: int) -> None:
    evaluation = random_set(seed).evaluation()
    images, answer = images_of(evaluation), score_curves(evaluation)
    for label, name in enumerate(NAMES):
        full = twin.match(images, label, 0.5)
        if not full.objects:
            assert answer["per_class"][name] is None
            continue
        curve = answer["per_class"][name]
        for place in range(0, 101, 10):
            precision, recall, f1 = twin.at_score(images, label, place / 100)
            assert curve["precision"][place] == (None if precision is None else pytest.approx(precision))
            assert (curve["recall"][place], curve["f1"][place]) == (pytest.approx(recall), pytest.approx(f1))
        scores = [result.score for result, counts in zip(full.results, full.counts) if counts]
        tried = {score: twin.at_score(images, label, score) for score in scores}
        best = max((f1 for _, _, f1 in tried.values()), default=0.0)
        if not best:
            assert curve["best"] is None
            assert best_scores(evaluation)[label] == USUAL_SCORE
            continue
        chosen = curve["best"]["score"]
        assert twin.at_score(images, label, chosen) == pytest.approx(
            (curve["best"]["precision"], curve["best"]["recall"], curve["best"]["f1"])
        )
        assert curve["best"]["f1"] == pytest.approx(best)
        assert best_scores(evaluation)[label] == chosen
        highest = max(score for score, (_, _, f1) in tried.items() if f1 == pytest.approx(best))
        lower = max((score for score in tried if score < highest), default=highest)
        assert chosen == pytest.approx((highest + lower) / 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_calibration_is_the_twins(seed: int) -> None:
    evaluation = random_set(seed).evaluation()
    answer = calibration(evaluation)
    per_class = []
    for label, name in enumerate(NAMES):
        matched = twin.match(images_of(evaluation), label, 0.5)
        own = [(result.score, one) for result, one, counts in zip(matched.results, matched.right, matched.counts) if counts]
        per_class += own
        expected = twin.calibration(own)[0] if own else None
        assert answer["per_class"][name] == (None if expected is None else pytest.approx(expected))
    ece, mce, bins = twin.calibration(per_class)
    assert (answer["ECE"], answer["MCE"]) == (pytest.approx(ece), pytest.approx(mce))
    assert len(answer["bins"]) == 10
    for part, (count, score, correct) in zip(answer["bins"], bins, strict=True):
        assert part["count"] == count
        assert part["score"] == (pytest.approx(score) if count else None)
        assert part["correct"] == (pytest.approx(correct) if count else None)


def test_without_results_nothing_is_best() -> None:
    data = random_set(0)
    evaluation = data._replace(results=[]).evaluation()
    assert best_scores(evaluation).tolist() == [USUAL_SCORE] * 3
    assert precision_recall(evaluation)["all"]["mean"] == [0.0] * 101
    assert calibration(evaluation)["ECE"] == 0.0
    assert all(curve is None or curve["best"] is None for curve in score_curves(evaluation)["per_class"].values())
