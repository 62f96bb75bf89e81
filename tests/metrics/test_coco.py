"""Laws of COCO's scores."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskrcnn.config.model import Category
from maskrcnn.geometry.rle import mask_to_rle, polygons_to_rle, rle_area, rle_from_json, rle_to_json
from maskrcnn.metrics.coco import evaluate_coco
from maskrcnn.structures import Detections, Sample

SIZE = (60, 80)
CATEGORIES = (Category(3, "date"), Category(7, "fig"))
SQUARES = [(2, 3, 12, 13), (20, 5, 40, 25), (50, 30, 70, 50), (5, 40, 15, 55)]

Box = tuple[float, float, float, float]


def sample(image_id: int, boxes: Sequence[Box], labels: Sequence[int] = (), crowd: Sequence[bool] = ()) -> Sample:
    """An image whose objects fill their boxes."""
    rles = [polygons_to_rle([[x0, y0, x1, y0, x1, y1, x0, y1]], SIZE) for x0, y0, x1, y1 in boxes]
    return Sample(
        image_id=image_id,
        file_name=f"{image_id}.png",
        path=f"{image_id}.png",
        size=SIZE,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels if len(labels) else [0] * len(boxes), np.int32),
        crowd=np.array(crowd if len(crowd) else [False] * len(boxes), bool),
        rles=rles,
        areas=np.array([rle_area(rle) for rle in rles], np.float32),
        annotation_ids=np.arange(len(boxes)),
    )


def found(
    boxes: Sequence[Box], scores: Sequence[float] = (), labels: Sequence[int] = (), names: Sequence[str] = ("date", "fig")
) -> Detections:
    """Detections that fill their boxes."""
    return Detections(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.array(scores if len(scores) else [0.9] * len(boxes), np.float32),
        labels=np.array(labels if len(labels) else [0] * len(boxes), np.int32),
        small_masks=np.ones((len(boxes), 28, 28), np.float32),
        size=SIZE,
        class_names=list(names),
    )


def golden(folder: Path) -> tuple[list[Sample], list[Category]]:
    truth = json.loads((folder / "instances_val2014_100.json").read_text())
    categories = [Category(row["id"], row["name"]) for row in truth["categories"]]
    label_of = {category.id: label for label, category in enumerate(categories)}
    samples = []
    for image in truth["images"]:
        size = (image["height"], image["width"])
        rows = [row for row in truth["annotations"] if row["image_id"] == image["id"]]
        boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        samples.append(
            Sample(
                image_id=image["id"],
                file_name=image["file_name"],
                path=image["file_name"],
                size=size,
                boxes=boxes.astype(np.float32),
                labels=np.array([label_of[row["category_id"]] for row in rows], np.int32),
                crowd=np.array([row["iscrowd"] for row in rows], bool),
                rles=[rle_from_json(row["segmentation"], size) for row in rows],
                areas=np.array([row["area"] for row in rows], np.float32),
                annotation_ids=np.array([row["id"] for row in rows], np.int64),
            )
        )
    return samples, categories


PUBLISHED = {
    "mask": (0.320, 0.562, 0.299, 0.387, 0.310, 0.327, 0.268, 0.415, 0.417, 0.469, 0.377, 0.381),
    "box": (0.505, 0.697, 0.573, 0.586, 0.519, 0.501, 0.387, 0.594, 0.595, 0.640, 0.566, 0.564),
}
ROWS = (
    "AP",
    "AP50",
    "AP75",
    "AP_small",
    "AP_medium",
    "AP_large",
    "AR_1",
    "AR_10",
    "AR_100",
    "AR_small",
    "AR_medium",
    "AR_large",
)


@pytest.mark.parametrize("kind", ["mask", "box"])
def test_the_golden_example_scores_what_was_published(shared_data: Path, kind: str) -> None:
    folder = shared_data / "coco_eval_golden"
    samples, categories = golden(folder)
    name = {"mask": "fakesegm", "box": "fakebbox"}[kind]
    rows = json.loads((folder / f"instances_val2014_{name}100_results.json").read_text())
    if kind == "box":  # these rows have no masks; a point each leaves the box scores alone
        sizes = {each.image_id: each.size for each in samples}
        points = {size: rle_to_json(mask_to_rle(np.eye(*size, dtype=bool))) for size in set(sizes.values())}
        rows = [row | {"segmentation": points[sizes[row["image_id"]]]} for row in rows]

    scores = evaluate_coco(samples, categories, rows)[kind]

    assert {name: round(scores[name], 3) for name in ROWS} == dict(zip(ROWS, PUBLISHED[kind]))


def test_the_truth_itself_scores_1() -> None:
    scores = evaluate_coco(
        [sample(1, SQUARES), sample(2, SQUARES[:1])], CATEGORIES, [(1, found(SQUARES)), (2, found(SQUARES[:1]))]
    )
    for kind in ("mask", "box"):
        assert [scores[kind][name] for name in ("AP", "AP50", "AR_100")] == pytest.approx([1.0] * 3)
    assert scores["per_class"]["date"]["mask_AP"] == pytest.approx(1.0)
    assert scores["per_class"]["date"]["num_objects"] == 5


def test_average_precision_is_the_area_under_the_envelope_of_precision() -> None:
    """Right, wrong, right, for two objects: precision is 1 up to recall 0.5 and 2/3 beyond, at 51 and 50 of 101 places."""
    detections = found([SQUARES[0], (30, 40, 40, 50), SQUARES[1]], [0.9, 0.8, 0.7])
    scores = evaluate_coco([sample(1, SQUARES[:2])], CATEGORIES, [(1, detections)])
    assert scores["mask"]["AP50"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert scores["mask"]["AR_1"] == pytest.approx(0.5)


def test_false_alarms_in_an_image_without_objects_count() -> None:
    images = [sample(1, SQUARES), sample(2, [])]
    quiet = evaluate_coco(images, CATEGORIES, [(1, found(SQUARES)), (2, found([]))])
    loud = evaluate_coco(images, CATEGORIES, [(1, found(SQUARES)), (2, found(SQUARES, [0.95] * 4))])
    assert quiet["mask"]["AP"] == pytest.approx(1.0)
    assert loud["mask"]["AP"] == pytest.approx(0.5)


def test_an_image_without_an_answer_is_missed() -> None:
    scores = evaluate_coco([sample(1, SQUARES), sample(2, SQUARES)], CATEGORIES, [(1, found(SQUARES))])
    assert scores["mask"]["AR_100"] == pytest.approx(0.5)


def test_crowds_are_neither_found_nor_missed() -> None:
    image = sample(1, SQUARES, crowd=[False, False, False, True])
    without = evaluate_coco([image], CATEGORIES, [(1, found(SQUARES[:3]))])
    inside = evaluate_coco([image], CATEGORIES, [(1, found([*SQUARES[:3], (6, 41, 12, 50)], [0.5, 0.5, 0.5, 0.9]))])
    for scores in (without, inside):
        assert [scores["mask"]["AP"], scores["box"]["AP"]] == pytest.approx([1.0, 1.0])
        assert scores["per_class"]["date"]["num_objects"] == 3


def test_a_class_without_truth_has_no_score_and_takes_no_part_in_the_mean() -> None:
    detections = found([*SQUARES, (30, 40, 40, 50)], labels=[0, 0, 0, 0, 1])
    scores = evaluate_coco([sample(1, SQUARES)], CATEGORIES, [(1, detections)])
    assert scores["mask"]["AP"] == pytest.approx(1.0)
    assert scores["per_class"]["fig"] == {
        "mask_AP": None,
        "mask_AP50": None,
        "box_AP": None,
        "box_AP50": None,
        "num_objects": 0,
    }


@pytest.mark.parametrize("images", [[], [sample(1, [])]])
def test_no_object_at_all_has_no_score(images: list[Sample]) -> None:
    results = [(image.image_id, found(SQUARES)) for image in images]
    scores = evaluate_coco(images, CATEGORIES, results)
    assert set(scores["mask"].values()) == set(scores["box"].values()) == {None}
    json.dumps(scores, allow_nan=False)


def test_more_than_100_objects_need_a_higher_limit() -> None:
    boxes = [(x, y, x + 3, y + 3) for x in range(0, 80, 5) for y in range(0, 60, 5)]  # 192 of them
    standard = evaluate_coco([sample(1, boxes)], CATEGORIES, [(1, found(boxes))])
    wide = evaluate_coco([sample(1, boxes)], CATEGORIES, [(1, found(boxes))], max_detections=(1, 10, 100, 400))
    assert [standard["mask"]["AR_100"], wide["mask"]["AR_100"]] == pytest.approx([100 / 192] * 2)
    for name in ("AP", "AP50", "AP75", "AP_small", "AR_400", "AR_small"):
        assert wide["mask"][name] == pytest.approx(1.0)
    assert wide["mask"]["AP_large"] is None
    assert wide["max_detections"] == [1, 10, 100, 400]


def test_the_sizes_of_results_are_their_masks_not_their_boxes() -> None:
    """A thin cross in a large box is a small object; pycocotools calls it medium where its row has both forms."""
    cross = np.zeros(SIZE, bool)
    cross[30, :], cross[:, 40] = True, True
    row = {"image_id": 1, "category_id": 3, "score": 0.99, "bbox": [0, 0, 80, 60]}
    rows = [row | {"segmentation": rle_to_json(mask_to_rle(cross))}]
    rows += rows_of(1, found(SQUARES[:1]))
    scores = evaluate_coco([sample(1, SQUARES[:1])], CATEGORIES, rows)
    assert scores["mask"]["AP_small"] == pytest.approx(0.5)
    assert scores["box"]["AP_small"] == pytest.approx(1.0)


def rows_of(image_id: int, detections: Detections) -> list[dict[str, Any]]:
    return [
        {
            "image_id": image_id,
            "category_id": CATEGORIES[label].id,
            "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
            "score": float(score),
            "segmentation": rle_to_json(rle),
        }
        for box, score, label, rle in zip(detections.boxes, detections.scores, detections.labels, detections.rle())
    ]


def test_rows_and_detections_score_the_same_in_any_order() -> None:
    rng = np.random.default_rng(0)
    images = [sample(k, SQUARES, labels=[0, 1, 0, 1]) for k in range(6)]
    results = []
    for image in images:
        moved = image.boxes + rng.integers(-3, 4, image.boxes.shape)
        results.append((image.image_id, found(moved.tolist(), rng.random(4).round(1), labels=[0, 1, 0, 0])))
    rows = [row for image_id, detections in results for row in rows_of(image_id, detections)]

    scores = evaluate_coco(images, CATEGORIES, results)

    assert 0 < scores["mask"]["AP"] < 1
    assert evaluate_coco(images[::-1], CATEGORIES, results[::-1]) == scores
    assert evaluate_coco(images, CATEGORIES, rows) == scores
    assert evaluate_coco(images, CATEGORIES, [row for k in range(4) for row in rows[k::4]]) == scores


def test_a_row_without_a_box_gets_the_box_around_its_mask() -> None:
    rows = [{name: row[name] for name in row if name != "bbox"} for row in rows_of(1, found(SQUARES))]
    assert evaluate_coco([sample(1, SQUARES)], CATEGORIES, rows)["box"]["AP"] == pytest.approx(1.0)


def test_classes_are_matched_by_name() -> None:
    detections = found(SQUARES, labels=[2, 2, 2, 0], scores=[0.8, 0.7, 0.6, 0.9], names=["wolf", "fig", "date"])
    scores = evaluate_coco([sample(1, SQUARES[:3])], CATEGORIES, [(1, detections)])
    assert scores["per_class"]["date"]["mask_AP"] == pytest.approx(1.0)  # the wolf is nobody's false alarm


def test_detections_without_names_are_matched_by_label() -> None:
    detections = found(SQUARES, labels=[1, 1, 1, 1], names=[])
    scores = evaluate_coco([sample(1, SQUARES, labels=[1, 1, 1, 1])], CATEGORIES, [(1, detections)])
    assert scores["per_class"]["fig"]["box_AP50"] == pytest.approx(1.0)


def test_an_image_is_let_go_before_the_next_but_one_comes() -> None:
    alive: list[weakref.ref[Detections]] = []

    def stream() -> Iterator[tuple[int, Detections]]:
        for k in range(10):
            detections = found(SQUARES)
            alive.append(weakref.ref(detections))
            yield k, detections
            assert sum(reference() is not None for reference in alive) <= 2

    evaluate_coco([sample(k, SQUARES) for k in range(10)], CATEGORIES, stream())


def test_it_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    evaluate_coco([sample(1, SQUARES)], CATEGORIES, [(1, found(SQUARES))], max_detections=(1, 400))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("images", "results", "limits", "message"),
    [
        ([sample(1, []), sample(1, [])], [], (1, 10, 100), "image_id 1 twice"),
        ([sample(1, [])], [(1, found([])), (1, found([]))], (1, 10, 100), "image_id 1 twice"),
        ([sample(1, [])], [(5, found([]))], (1, 10, 100), "image_id 5"),
        ([sample(1, [])], rows_of(5, found(SQUARES)), (1, 10, 100), "image_id 5"),
        (
            [sample(1, [])],
            [row | {"category_id": 9} for row in rows_of(1, found(SQUARES))],
            (1, 10, 100),
            "category_id 9; .* 3, 7",
        ),
        ([sample(1, []).replace(size=(9, 9))], [(1, found([]))], (1, 10, 100), r"\(60, 80\).*\(9, 9\)"),
        ([sample(1, []).replace(size=(9, 9))], rows_of(1, found(SQUARES)), (1, 10, 100), r"\[9, 9\]"),
        ([], [], (100, 10), r"ascends.*\(100, 10\)"),
        ([], [], (), "ascends"),
        ([], [], (0, 1), "ascends"),
    ],
)
def test_contradictions_are_told(images: list[Sample], results: list[Any], limits: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_coco(images, CATEGORIES, results, max_detections=limits)
