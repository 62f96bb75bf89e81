"""Laws of LVIS's scores."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hotcoco import mask as library

from maskrcnn.config.model import Category
from maskrcnn.metrics.coco import evaluate_coco
from maskrcnn.metrics.lvis import evaluate_lvis
from maskrcnn.structures import Sample

SIDE = 60
CATEGORIES = [{"id": 3, "name": "cat", "frequency": "r"}, {"id": 5, "name": "dog", "frequency": "f"}]


def rle(x: int, y: int, width: int, height: int) -> dict[str, Any]:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[y : y + height, x : x + width] = 1
    found = library.encode(np.asfortranarray(mask))
    counts = found["counts"]
    return {"size": [SIDE, SIDE], "counts": counts.decode() if isinstance(counts, bytes) else counts}


def truth_of(*, seed: int = 0) -> dict[str, Any]:
    """Four images in which every class was looked for, to the last object."""
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for number in range(1, 5):
        present = set()
        for _ in range(4):
            box = [*rng.integers(0, 40, 2).tolist(), *rng.integers(5, 20, 2).tolist()]
            category = CATEGORIES[int(rng.integers(2))]["id"] if number > 1 else 3
            present.add(category)
            entry = {"id": len(annotations) + 1, "image_id": number, "category_id": category, "bbox": box, "iscrowd": 0}
            annotations.append({**entry, "area": box[2] * box[3], "segmentation": rle(*box)})
        negative = [category["id"] for category in CATEGORIES if category["id"] not in present]
        images.append({"id": number, "height": SIDE, "width": SIDE, "not_exhaustive_category_ids": []})
        images[-1] |= {"neg_category_ids": negative}
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}


def row(image_id: int, category_id: int, box: list[int], score: float) -> dict[str, Any]:
    values = {"image_id": image_id, "category_id": category_id, "score": score}
    return values | {"bbox": [float(side) for side in box], "segmentation": rle(*box)}


def results_of(truth: dict[str, Any], *, seed: int = 1) -> list[dict[str, Any]]:
    """Most objects, a little beside where they are, and some that are not there."""
    rng = np.random.default_rng(seed)
    rows = []
    for entry in truth["annotations"]:
        x, y, width, height = entry["bbox"]
        shift = rng.integers(0, 3, 2)
        rows.append(
            row(entry["image_id"], entry["category_id"], [int(x + shift[0]), int(y + shift[1]), width, height], rng.random())
        )
    rows += [row(int(rng.integers(1, 5)), int(rng.choice([3, 5])), [5 * k, 3, 8, 9], rng.random()) for k in range(6)]
    return rows


def samples_of(truth: dict[str, Any]) -> list[Sample]:
    labels = {category["id"]: label for label, category in enumerate(CATEGORIES)}
    samples = []
    for image in truth["images"]:
        entries = [entry for entry in truth["annotations"] if entry["image_id"] == image["id"]]
        boxes = np.array([entry["bbox"] for entry in entries], np.float32)
        boxes[:, 2:] += boxes[:, :2]
        samples.append(
            Sample(
                image_id=image["id"],
                file_name=f"{image['id']}.png",
                path=f"{image['id']}.png",
                size=(SIDE, SIDE),
                boxes=boxes,
                labels=np.array([labels[entry["category_id"]] for entry in entries], np.int32),
                crowd=np.zeros(len(entries), bool),
                rles=[{**entry["segmentation"], "counts": entry["segmentation"]["counts"].encode()} for entry in entries],
                areas=np.array([entry["area"] for entry in entries], np.float32),
                annotation_ids=np.array([entry["id"] for entry in entries], np.int64),
            )
        )
    return samples


@pytest.mark.parametrize("seed", range(3))
def test_where_every_class_was_looked_for_the_scores_are_cocos(seed):
    truth = truth_of(seed=seed)
    rows = results_of(truth)
    categories = [Category(category["id"], category["name"]) for category in CATEGORIES]
    expected = evaluate_coco(samples_of(truth), categories, rows, max_detections=(300,))
    found = evaluate_lvis(truth, rows)
    assert 0 < found["mask"]["AP"] < 1
    for kind in ("mask", "box"):
        for name in ("AP", "AP50", "AP75", "AP_small", "AR_300"):
            assert found[kind][name] == pytest.approx(expected[kind][name], abs=1e-9), (kind, name)
        assert found[kind]["AP_rare"] == pytest.approx(expected["per_class"]["cat"][f"{kind}_AP"])
        assert found[kind]["AP_frequent"] == pytest.approx(expected["per_class"]["dog"][f"{kind}_AP"])
        assert found[kind]["AP_common"] is None


def test_what_was_not_looked_for_is_not_wrong():
    """A dog in an image without dogs, of which LVIS says that there are none, says nothing, or says that some were left out."""
    truth = truth_of()
    rows = [row(entry["image_id"], entry["category_id"], entry["bbox"], 0.5) for entry in truth["annotations"]]
    assert evaluate_lvis(truth, rows)["mask"]["AP"] == pytest.approx(1)
    rows.append(row(1, 5, [30, 30, 9, 9], 0.9))
    assert truth["images"][0]["neg_category_ids"] == [5]
    assert evaluate_lvis(truth, rows)["mask"]["AP"] < 1
    silent, open_ended = copy.deepcopy(truth), copy.deepcopy(truth)
    silent["images"][0]["neg_category_ids"] = []
    open_ended["images"][0]["not_exhaustive_category_ids"] = [5]
    for changed in (silent, open_ended):
        assert evaluate_lvis(changed, rows)["mask"]["AP"] == pytest.approx(1)


def test_of_an_image_the_best_300_count():
    truth = truth_of()
    right = [row(entry["image_id"], entry["category_id"], entry["bbox"], 0.5) for entry in truth["annotations"]]
    crowded = [row(1, 5, [0, 0, 5, 5], 0.9)] * 300
    scores = evaluate_lvis(truth, [*crowded, *right], images=[1])
    assert scores["box"]["AR_300"] == 0 and evaluate_lvis(truth, [*crowded[1:], *right], images=[1])["box"]["AR_300"] > 0
    assert evaluate_lvis(truth, [])["mask"]["AP"] == 0


@pytest.mark.parametrize(("section", "name"), [("images", "neg_category_ids"), ("categories", "frequency")])
def test_ground_truth_of_another_kind_is_refused(section, name):
    truth = copy.deepcopy(truth_of())
    del truth[section][1][name]
    with pytest.raises(ValueError, match=f"LVIS says {name} of each of its {section}"):
        evaluate_lvis(truth, [])
    with pytest.raises(ValueError, match="has a list of images; received none"):
        evaluate_lvis({}, [])
