"""Laws of biology's scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from maskrcnn.config.model import Category
from maskrcnn.geometry.rle import mask_to_rle, rle_area, rle_to_json
from maskrcnn.metrics.biology import (
    IOUS,
    SCORES,
    BiologyScores,
    aggregated_jaccard_index,
    ap_at,
    data_science_bowl_score,
    evaluate_biology,
    label_regions,
    measure_overlap,
    panoptic_quality,
)
from maskrcnn.structures import Detections, Sample

SIZE = (20, 40)
NUCLEUS = (Category(4, "nucleus"),)
TWO = (Category(4, "nucleus"), Category(9, "cell"))
GOLDEN = Path(__file__).parents[1] / "golden" / "stardist_matching.npz"

Box = tuple[int, int, int, int]  # x0, y0, x1, y1


def rectangles(boxes: Sequence[Box]) -> list[dict]:
    bitmaps = np.zeros((len(boxes), *SIZE), bool)
    for bitmap, (left, top, right, bottom) in zip(bitmaps, boxes):
        bitmap[top:bottom, left:right] = True
    return [mask_to_rle(bitmap) for bitmap in bitmaps]


def sample(boxes: Sequence[Box], labels: Sequence[int] = (), crowd: Sequence[bool] = (), image_id: int = 1) -> Sample:
    rles = rectangles(boxes)
    return Sample(
        image_id=image_id,
        file_name=f"{image_id}.png",
        path=f"{image_id}.png",
        size=SIZE,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels or [0] * len(boxes), np.int32),
        crowd=np.array(crowd or [False] * len(boxes), bool),
        rles=rles,
        areas=np.array([rle_area(rle) for rle in rles], np.float32),
        annotation_ids=np.arange(len(boxes)),
    )


def found(
    boxes: Sequence[Box], scores: Sequence[float] = (), labels: Sequence[int] = (), names: Sequence[str] = ("nucleus",)
) -> Detections:
    return Detections(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.array(scores or [0.9] * len(boxes), np.float32),
        labels=np.array(labels or [0] * len(boxes), np.int32),
        small_masks=np.ones((len(boxes), 28, 28), np.float32),
        size=SIZE,
        class_names=list(names),
    )


def rows(boxes: Sequence[Box], scores: Sequence[float], image_id: int = 1, category_id: int = 4) -> list[dict]:
    return [
        {"image_id": image_id, "category_id": category_id, "score": score, "segmentation": rle_to_json(rle)}
        for rle, score in zip(rectangles(boxes), scores, strict=True)
    ]


def label_image(boxes: Sequence[Box]) -> np.ndarray:
    return label_regions(rectangles(boxes), SIZE)


# ── from masks to regions ──


def test_the_best_score_keeps_the_pixel():
    rles = rectangles([(0, 0, 10, 10), (5, 0, 15, 10)])
    regions = label_regions(rles, SIZE, scores=np.array([0.4, 0.6]))
    assert (regions[:10, :5] == 1).all() and (regions[:10, 5:15] == 2).all() and np.count_nonzero(regions) == 150
    assert (label_regions(rles, SIZE)[:10, :10] == 1).all()  # without scores the first
    assert (label_regions(rles, SIZE, scores=np.array([0.5, 0.5]))[:10, :10] == 1).all()


def test_a_region_does_not_depend_on_lower_scores():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, (30, 12), (12, 2))
    rles = rectangles([(x, y, x + 9, y + 7) for x, y in corners])
    scores = rng.permutation(12) / 12
    regions = label_regions(rles, SIZE, scores=scores)
    best = np.flatnonzero(scores > 0.5)
    kept = label_regions([rles[k] for k in best], SIZE, scores=scores[best])
    np.testing.assert_array_equal(np.concatenate([[0], best + 1])[kept], np.where(np.isin(regions, best + 1), regions, 0))


# ── scores of label images ──


def test_the_numbers_are_those_of_stardist():
    golden = np.load(GOLDEN)
    truth, found_images = list(golden["truth"]), list(golden["found"])
    for t, f, accuracies, quality in zip(truth, found_images, golden["accuracy"], golden["panoptic_quality"], strict=True):
        assert [ap_at([t], [f], iou) for iou in IOUS] == pytest.approx(accuracies, abs=0)
        assert panoptic_quality([t], [f])["PQ"] == pytest.approx(quality, abs=1e-6)  # StarDist rounds to float32
    assert data_science_bowl_score(truth, found_images) == pytest.approx(golden["accuracy"].mean(), abs=1e-12)
    dataset = [ap_at(truth, found_images, iou, over="dataset") for iou in IOUS]
    assert dataset == pytest.approx(golden["dataset_accuracy"], abs=1e-12)
    assert panoptic_quality(truth, found_images)["PQ"] == pytest.approx(golden["dataset_panoptic_quality"], abs=1e-6)


def test_scores_worked_by_hand():
    truth = label_image([(0, 0, 10, 10), (20, 0, 30, 10), (0, 12, 10, 20)])
    # 100 of 100 pixels; 60 shared of 140, an IoU of 3 / 7; nothing of the third; 25 pixels that are nobody's.
    answer = label_image([(0, 0, 10, 10), (24, 0, 34, 10), (30, 12, 35, 17)])
    for iou in IOUS:
        assert ap_at([truth], [answer], iou) == 1 / 5
    assert panoptic_quality([truth], [answer]) == pytest.approx({"PQ": 1 / 3, "SQ": 1.0, "RQ": 1 / 3})
    assert aggregated_jaccard_index([truth], [answer]) == pytest.approx((100 + 60) / (100 + 140 + 80 + 25))


def test_a_region_may_be_taken_twice_for_the_jaccard_index():
    truth = label_image([(0, 0, 10, 10), (10, 0, 20, 10)])
    answer = label_image([(0, 0, 20, 10)])
    assert aggregated_jaccard_index([truth], [answer]) == pytest.approx((100 + 100) / (200 + 200))


def test_two_halves_of_one_object_are_one_hit():
    whole, halves = label_image([(0, 0, 20, 10)]), label_image([(0, 0, 10, 10), (10, 0, 20, 10)])
    assert ap_at([whole], [halves], 0.5) == ap_at([halves], [whole], 0.5) == 1 / 2


def test_an_image_without_anything_counts_0_but_has_no_jaccard_index():
    empty, full = np.zeros(SIZE, np.uint8), label_image([(0, 0, 10, 10)])
    assert ap_at([full, empty], [full, empty]) == 1 / 2
    assert ap_at([full, empty], [full, empty], over="dataset") == 1.0
    assert aggregated_jaccard_index([full, empty], [full, empty]) == 1.0
    assert aggregated_jaccard_index([empty], [empty]) is None
    assert aggregated_jaccard_index([full, empty], [empty, full]) == 0.0


def test_numbers_of_objects_may_have_gaps_and_any_order():
    truth = label_image([(0, 0, 10, 10), (10, 0, 20, 10), (20, 0, 31, 10)])
    answer = label_image([(0, 0, 9, 10), (10, 0, 20, 10), (23, 0, 31, 10)])
    other = np.array([0, 700, 5, 90], np.uint16)[answer]
    assert data_science_bowl_score([truth], [other]) == data_science_bowl_score([truth], [answer])
    assert panoptic_quality([truth], [other]) == pytest.approx(panoptic_quality([truth], [answer]))
    assert aggregated_jaccard_index([truth], [other]) == aggregated_jaccard_index([truth], [answer])


def test_what_cannot_be_scored_is_refused():
    image = label_image([(0, 0, 10, 10)])
    with pytest.raises(ValueError, match="from an IoU of 0.5 to 1; received 0.3"):
        ap_at([image], [image], 0.3)
    for wrong in (image.astype(float), -image, image[:-1]):
        with pytest.raises(ValueError, match="whole numbers from 0 and have one size"):
            measure_overlap(image, wrong)
    with pytest.raises(ValueError, match="1 true, 0 found"):
        data_science_bowl_score([image], [])


# ── scores of detections ──


def test_detections_score_as_their_label_images():
    truth_boxes = [[(0, 0, 10, 10), (15, 3, 25, 13)], [(3, 3, 13, 13)]]
    found_boxes = [[(1, 0, 11, 10), (15, 3, 25, 13), (30, 5, 38, 15)], []]
    samples = [sample(boxes, image_id=k) for k, boxes in enumerate(truth_boxes, start=1)]
    results = [(k, found(boxes)) for k, boxes in enumerate(found_boxes, start=1)]
    scores = evaluate_biology(samples, NUCLEUS, results)
    truth, answer = ([label_image(boxes) for boxes in each] for each in (truth_boxes, found_boxes))
    assert scores["score_threshold"] == 0.5
    assert scores["DSB"] == pytest.approx(data_science_bowl_score(truth, answer))
    assert [scores["AP50"], scores["AP75"]] == pytest.approx([ap_at(truth, answer, iou) for iou in (0.5, 0.75)])
    assert list(scores["dataset_AP"]) == [f"{iou:.2f}" for iou in IOUS]
    assert list(scores["dataset_AP"].values()) == pytest.approx([ap_at(truth, answer, iou, over="dataset") for iou in IOUS])
    quality = panoptic_quality(truth, answer)
    assert {name: scores[name] for name in quality} == pytest.approx(quality)
    assert scores["AJI"] == pytest.approx(aggregated_jaccard_index(truth, answer))
    own = {**quality, "AP50": scores["dataset_AP"]["0.50"], "AP75": scores["dataset_AP"]["0.75"]}
    assert scores["per_class"] == {"nucleus": pytest.approx(own)}


def test_rows_of_a_result_file_score_as_detections():
    boxes, scores = [(0, 0, 10, 10), (6, 0, 16, 10), (20, 0, 28, 10)], [0.6, 0.8, 0.7]
    truth = [sample([(0, 0, 10, 10), (8, 0, 16, 10), (20, 0, 30, 10)]), sample([(0, 0, 5, 5)], image_id=2)]
    of_rows = evaluate_biology(truth, NUCLEUS, rows(boxes, scores), score=0.7)
    assert of_rows == evaluate_biology(truth, NUCLEUS, [(1, found(boxes, scores)), (2, found([]))], score=0.7)
    assert of_rows["dataset_AP"]["0.50"] == 2 / 4  # 0.7 itself is enough; the box of 0.6 is gone, and its object missed
    with pytest.raises(ValueError, match="image_id 7"):
        evaluate_biology(truth, NUCLEUS, rows(boxes, scores, image_id=7))


def test_a_detection_that_better_ones_cover_is_nowhere():
    boxes = [(0, 0, 10, 10), (2, 2, 8, 8)]
    assert evaluate_biology([sample(boxes[:1])], NUCLEUS, [(1, found(boxes, [0.9, 0.8]))])["DSB"] == 1.0
    assert evaluate_biology([sample(boxes[:1])], NUCLEUS, [(1, found(boxes[::-1], [0.8, 0.9]))])["DSB"] == 1.0


def test_objects_match_within_their_class():
    boxes = [(0, 0, 10, 10), (20, 0, 30, 10)]
    truth = [sample(boxes, [0, 1])]
    right = evaluate_biology(truth, TWO, [(1, found(boxes, labels=[1, 0], names=["cell", "nucleus"]))])
    assert (right["AP50"], right["PQ"], right["AJI"]) == (1.0, 1.0, 1.0)
    half = evaluate_biology(truth, TWO, [(1, found(boxes, labels=[1, 1], names=["cell", "nucleus"]))])
    assert half["AP50"] == half["dataset_AP"]["0.50"] == 1 / 3
    assert half["AJI"] == pytest.approx(100 / (100 + 100 + 100))
    assert [half["per_class"][name]["RQ"] for name in ("nucleus", "cell")] == pytest.approx([2 / 3, 0.0])
    assert half["PQ"] == pytest.approx(1 / 3)  # the classes' mean


def test_a_class_that_is_nowhere_has_no_score():
    scores = evaluate_biology([sample([(0, 0, 10, 10)])], TWO, [(1, found([(0, 0, 10, 10)]))])
    assert set(scores["per_class"]["cell"].values()) == {None}
    assert scores["PQ"] == 1.0


def test_detections_of_unknown_classes_are_left_out():
    other = found([(0, 0, 10, 10), (0, 12, 5, 17)], labels=[0, 1], names=["nucleus", "dust"])
    assert evaluate_biology([sample([(0, 0, 10, 10)])], NUCLEUS, [(1, other)])["DSB"] == 1.0


def test_what_lies_in_a_crowd_counts_neither_way():
    truth = [sample([(0, 0, 10, 10), (20, 0, 40, 20)], crowd=[False, True])]
    inside, mostly, reaching = (25, 5, 32, 12), (17, 5, 27, 15), (0, 0, 22, 10)  # of the last, 20 of 220 pixels are in it
    assert evaluate_biology(truth, NUCLEUS, [(1, found([(0, 0, 10, 10), inside]))])["DSB"] == 1.0
    assert evaluate_biology(truth, NUCLEUS, [(1, found([(0, 0, 10, 10), mostly]))])["DSB"] == 1.0
    scores = evaluate_biology(truth, NUCLEUS, [(1, found([reaching]))])
    assert (scores["AP50"], scores["AJI"]) == (1.0, 1 / 2)
    object_in_crowd = [sample([inside, (20, 0, 40, 20)], crowd=[False, True])]
    assert evaluate_biology(object_in_crowd, NUCLEUS, [(1, found([inside]))])["DSB"] == 1.0


def test_no_image_has_no_score():
    scores = evaluate_biology([], NUCLEUS, [])
    assert [scores[name] for name in ("DSB", "AP50", "PQ", "AJI")] == [None] * 4
    with pytest.raises(ValueError, match="received none"):
        BiologyScores(NUCLEUS).best_threshold()


# ── the least score ──


def test_thresholds_together_score_as_each_alone():
    rng = np.random.default_rng(1)
    truth, results = [], []
    for image_id in range(1, 5):
        places = rng.integers(0, (28, 10), (6, 2))
        truth.append(sample([(x, y, x + 10, y + 8) for x, y in places], image_id=image_id))
        moved = places + rng.integers(0, 3, places.shape)
        results.append(found([(x, y, x + 10, y + 8) for x, y in moved], rng.random(6).round(2).tolist()))
    together = BiologyScores(NUCLEUS, scores=SCORES)
    for each, detections in zip(truth, results, strict=True):
        together.add(each, detections)
    alone = []
    for threshold in SCORES:
        pairs = [(k, detections[detections.scores >= threshold]) for k, detections in enumerate(results, start=1)]
        alone.append(evaluate_biology(truth, NUCLEUS, pairs, score=0.0)["DSB"])
    assert together.data_science_bowl() == pytest.approx(alone)
    assert len(set(alone)) > 5


def test_the_best_threshold_leaves_out_what_is_wrong():
    boxes = [(0, 0, 10, 10), (12, 0, 22, 10), (24, 0, 34, 10)]
    scores = BiologyScores(NUCLEUS, scores=SCORES)
    scores.add(sample(boxes[:2]), found(boxes, [0.9, 0.73, 0.62]))
    assert scores.best_threshold() == 0.65  # 0.65 and 0.7 are right; the nearer to 0.5
