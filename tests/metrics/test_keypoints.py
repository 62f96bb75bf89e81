"""COCO's scores of keypoints."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hotcoco import COCO, COCOeval
from metrics.test_coco import SIZE, SQUARES, found, sample

from maskrcnn.config.keypoints import PERSON, PERSON_SKELETON
from maskrcnn.config.model import Category
from maskrcnn.metrics.coco import evaluate_coco
from maskrcnn.metrics.rows import Evaluation, collect_rows
from maskrcnn.results.rows import coco_results

PEOPLE = (Category(3, "person", PERSON, PERSON_SKELETON), Category(7, "fig"))


def scene(seed: int, *, spread: float, num_keypoints: int = 17):
    """Objects with keypoints, some unmarked, and detections whose points are `spread` pixels off."""
    rng = np.random.default_rng(seed)
    truth, answers = [], []
    for image_id in (5, 2, 9):
        own = sample(image_id, SQUARES, labels=[0, 0, 0, 1], crowd=[False, False, image_id == 9, False])
        points = rng.uniform(0, 50, (4, num_keypoints, 3)).astype(np.float32)
        points[..., 2] = rng.integers(0, 3, (4, num_keypoints))
        points[1 if image_id == 2 else 3, :, 2] = 0  # nothing marked: neither found nor missed
        points[..., :2] *= points[..., 2:] > 0
        truth.append(own.replace(keypoints=points))
        guess = points + rng.normal(0, spread, points.shape).astype(np.float32)
        guess[..., 2] = rng.uniform(0, 1, (4, num_keypoints))
        scores = rng.uniform(0.1, 1, 4)
        answers.append(dataclasses.replace(found(SQUARES, scores, [0, 0, 0, 1], ("person", "fig")), keypoints=guess))
    return truth, answers


def test_the_numbers_are_those_of_the_whole_data_set_at_once():
    truth, answers = scene(0, spread=1.5)
    pairs = list(zip((each.image_id for each in truth), answers, strict=True))
    scores = evaluate_coco(truth, PEOPLE, pairs)["keypoints"]
    annotations = [
        {
            "id": 10 * each.image_id + row + 1,
            "image_id": each.image_id,
            "category_id": PEOPLE[each.labels[row]].id,
            "keypoints": (each.keypoints[row] - [0.5, 0.5, 0]).ravel().tolist(),
            "num_keypoints": int((each.keypoints[row, :, 2] > 0).sum()),
            "bbox": [*each.boxes[row, :2].tolist(), *(each.boxes[row, 2:] - each.boxes[row, :2]).tolist()],
            "area": float(each.areas[row]),
            "iscrowd": int(each.crowd[row]),
        }
        for each in truth
        for row in range(4)
    ]
    whole = COCO(
        {
            "images": [{"id": each.image_id, "height": SIZE[0], "width": SIZE[1]} for each in truth],
            "annotations": annotations,
            "categories": [{"id": 3, "name": "person"}],
        }
    )
    rows = [row for image_id, each in pairs for row in coco_results(each, image_id=image_id, file_name="", categories=PEOPLE)]
    found_rows = [
        {key: row[key] for key in ("image_id", "category_id", "score", "keypoints")} for row in rows if row["category_id"] == 3
    ]
    evaluator = COCOeval(whole, whole.load_res(found_rows), "keypoints")
    evaluator.params.cat_ids = [3]
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    names = ["AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium", "AR_large"]
    wanted = [None if value == -1 else value for value in evaluator.stats]
    assert 0 < scores["AP"] < 1
    assert list(scores) == names
    for name, value in zip(names, wanted, strict=True):
        assert scores[name] == (value if value is None else pytest.approx(value, abs=1e-9)), name


def test_exact_keypoints_score_1_and_far_ones_0():
    for spread, wanted in ((0.0, 1.0), (500.0, 0.0)):
        truth, answers = scene(1, spread=spread)
        scores = evaluate_coco(truth, PEOPLE, zip((each.image_id for each in truth), answers, strict=True))
        assert scores["keypoints"]["AP"] == pytest.approx(wanted)


def test_rows_of_a_file_score_as_the_detections_do():
    truth, answers = scene(2, spread=1.0)
    pairs = list(zip((each.image_id for each in truth), answers, strict=True))
    rows = [row for image_id, each in pairs for row in coco_results(each, image_id=image_id, file_name="", categories=PEOPLE)]
    assert evaluate_coco(truth, PEOPLE, rows)["keypoints"] == evaluate_coco(truth, PEOPLE, pairs)["keypoints"]


def test_keypoints_are_kept_with_the_rows_of_a_whole_data_set():
    truth, answers = scene(2, spread=1.0)
    pairs = list(zip((each.image_id for each in truth), answers, strict=True))
    kept = Evaluation(truth, PEOPLE, collect_rows(truth, PEOPLE, pairs))
    rows = list(kept.as_json())
    assert len(rows) == 12 and all(len(row["keypoints"]) == 3 * 17 for row in rows)
    assert evaluate_coco(truth, PEOPLE, rows)["keypoints"] == evaluate_coco(truth, PEOPLE, pairs)["keypoints"]
    again = Evaluation(truth, PEOPLE, collect_rows(truth, PEOPLE, rows))  # a file's rows, as `compare` takes them
    assert list(again.as_json()) == rows
    plain = [(image_id, dataclasses.replace(each, keypoints=None)) for image_id, each in pairs]
    assert not any("keypoints" in row for row in Evaluation(truth, PEOPLE, collect_rows(truth, PEOPLE, plain)).as_json())


def test_keypoints_of_other_things_are_scored_too():
    names = ("head", "tail")
    truth, answers = scene(3, spread=0.0, num_keypoints=2)
    categories = (Category(3, "person", names), Category(7, "fig", names))
    scores = evaluate_coco(truth, categories, zip((each.image_id for each in truth), answers, strict=True))
    assert scores["keypoints"]["AR"] == pytest.approx(1.0)


def test_results_without_keypoints_are_not_scored_by_them_and_other_numbers_are_refused():
    truth, answers = scene(4, spread=1.0)
    ids = [each.image_id for each in truth]
    plain = [dataclasses.replace(each, keypoints=None) for each in answers]
    assert "keypoints" not in evaluate_coco(truth, PEOPLE, zip(ids, plain, strict=True))
    fewer = [dataclasses.replace(each, keypoints=each.keypoints[:, :5]) for each in answers]
    with pytest.raises(ValueError, match="has 5 keypoints; the data names 17"):
        evaluate_coco(truth, PEOPLE, zip(ids, fewer, strict=True))
