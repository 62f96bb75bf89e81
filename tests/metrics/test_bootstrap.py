"""Laws of the bootstrap: resamples are data sets of their own, and differences are paired."""

from __future__ import annotations

import numpy as np
import pytest
from random_results import CATEGORIES, SEEDS, images_of, random_set
from references import evaluation as twin

from maskrcnn.metrics.bootstrap import compare, confidence_intervals, draws
from maskrcnn.metrics.coco import evaluate_coco


def resampled_ap(images: list[twin.Image], weights: list[int], thresholds: list[float]) -> float:
    """AP of the data set in which each image comes as often as it was drawn, copy beside copy."""
    drawn = [image for image, weight in zip(images, weights) for _ in range(weight)]
    copies = []
    for place, image in enumerate(drawn):
        results = [
            twin.Thing(one.mask, one.label, one.box, score=one.score, image=place, row=one.row + 10_000 * place)
            for one in image.results
        ]
        copies.append(twin.Image(image.objects, results))
    matched = [twin.match(copies, label, iou) for label in range(len(CATEGORIES)) for iou in thresholds]
    return np.mean([twin.ap(one) for one in matched if one.objects])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_interval_is_that_of_resampled_data_sets(seed: int) -> None:
    evaluation = random_set(seed).evaluation()
    images, weights = images_of(evaluation), draws(len(evaluation.samples), 12, seed)
    answer = confidence_intervals(evaluation, resamples=12, seed=seed)
    for name, thresholds in (("AP", twin.THRESHOLDS), ("AP50", twin.THRESHOLDS[:1])):
        values = [resampled_ap(images, row, thresholds) for row in weights.tolist()]
        low, high = np.quantile(values[1:], [0.025, 0.975])
        assert answer[name]["value"] == pytest.approx(values[0], abs=1e-9)
        assert (answer[name]["low"], answer[name]["high"]) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))


def test_its_value_is_the_coco_score_whatever_order_the_images_come_in() -> None:
    data = random_set(7)
    scores = evaluate_coco(data.samples, CATEGORIES, data.results)
    answer = confidence_intervals(data._replace(samples=data.samples[::-1]).evaluation(), resamples=5)
    for name in ("AP", "AP50", "AP75"):
        assert answer[name]["value"] == pytest.approx(scores["mask"][name], abs=1e-9)


@pytest.mark.slow
def test_an_interval_of_many_images_has_the_width_of_the_scores_own_scatter() -> None:
    """Of 40 draws of 30 images each from one source: the scatter of their AP, and the width of one's interval."""
    sets = [random_set(seed, num_images=30, num_classes=1) for seed in range(40)]
    values = [confidence_intervals(data.evaluation(), resamples=2)["AP50"]["value"] for data in sets]
    widths = []
    for data in sets[:8]:
        interval = confidence_intervals(data.evaluation(), resamples=200)["AP50"]
        widths.append(interval["high"] - interval["low"])
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(values), rel=0.3)


def test_a_result_compared_with_itself_differs_in_nothing() -> None:
    evaluation = random_set(1).evaluation()
    answer = compare(evaluation, evaluation, resamples=20)
    assert answer["first"] == answer["second"]
    for name in ("AP", "AP50", "AP75"):
        assert answer["difference"][name] == {"value": 0.0, "low": 0.0, "high": 0.0, "better": 0.0}
    assert answer["images"] == []


def test_a_better_result_is_better_and_the_images_that_changed_come_first() -> None:
    data = random_set(1)
    perfect = [
        {
            "image_id": sample.image_id,
            "category_id": CATEGORIES[label].id,
            "score": 0.9,
            "segmentation": {**rle, "counts": rle["counts"].decode()},
        }
        for sample in data.samples
        for label, rle, crowd in zip(sample.labels.tolist(), sample.rles, sample.crowd)
        if not crowd
    ]
    first, second = data.evaluation(), data._replace(results=perfect).evaluation()
    answer = compare(first, second, resamples=20)
    assert answer["second"]["AP"] == pytest.approx(1.0)
    assert answer["difference"]["AP"]["value"] == pytest.approx(1.0 - answer["first"]["AP"])
    assert answer["difference"]["AP"]["low"] > 0
    assert answer["difference"]["AP"]["better"] == 1.0
    changes = [abs(row["difference"]) for row in answer["images"]]
    assert changes
    assert changes == sorted(changes, reverse=True)
    back = compare(second, first, resamples=20)
    assert back["difference"]["AP"]["value"] == pytest.approx(-answer["difference"]["AP"]["value"])


def test_results_on_different_images_are_refused() -> None:
    with pytest.raises(ValueError, match="same images"):
        compare(random_set(0).evaluation(), random_set(1).evaluation())
