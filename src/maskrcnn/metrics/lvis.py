"""Scores as LVIS defines them (Gupta et al. 2019, section 2.2), over hotcoco: for data not annotated to the last object.

Of each image LVIS says which classes it was searched for. Detections of other classes are neither right nor wrong there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from hotcoco import COCO, LVISEval

MAX_DETECTIONS = 300  # of an image, all classes together; the LVIS API's
FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}  # in up to 10, up to 100, and more images of the training part
_LIBRARY_NAMES = {"mask": "segm", "box": "bbox"}
_SIZES = ("all", "small", "medium", "large")
_IOU_50, _IOU_75 = 0, 5  # places among the thresholds 0.50, 0.55, … 0.95
_OF_IMAGES, _OF_CATEGORIES = ("neg_category_ids", "not_exhaustive_category_ids"), ("frequency",)


def evaluate_lvis(
    ground_truth: Mapping[str, Any], results: Iterable[Mapping[str, Any]], *, images: Collection[int] | None = None
) -> dict[str, dict[str, float | None]]:
    """LVIS's scores of results: numbers in [0, 1], None where there is no truth to find.

    Args:
        ground_truth: the content of LVIS's JSON.
        results: rows of a COCO result file. Of each image the best 300 count.
        images: ids of those that are scored; None: all of the ground truth.

    Returns:
        `{"mask": …, "box": …}`, each with AP, AP50, AP75, AP_small, AP_medium, AP_large, AP_rare, AP_common, AP_frequent and
        AR_300.

    Raises:
        ValueError: for ground truth that is not LVIS's.
    """
    check_ground_truth(ground_truth)
    kept = {entry["id"] for entry in ground_truth["images"] if images is None or entry["id"] in images}
    truth = COCO(
        {
            **ground_truth,
            "images": [entry for entry in ground_truth["images"] if entry["id"] in kept],
            "annotations": [entry for entry in ground_truth["annotations"] if entry["image_id"] in kept],
        }
    )
    frequencies = {category["id"]: category["frequency"] for category in ground_truth["categories"]}
    rows = _best(row for row in results if row["image_id"] in kept)
    scores = {}
    for kind, library_name in _LIBRARY_NAMES.items():
        evaluation = LVISEval(truth, truth.load_res([_plain(row) for row in rows]), library_name)
        evaluation.evaluate()
        evaluation.accumulate()
        assert evaluation.eval is not None
        precision = np.asarray(evaluation.eval["precision"])[..., -1]  # (T, R, K, sizes), -1 where there is no truth
        recall = np.asarray(evaluation.eval["recall"])[..., -1]  # (T, K, sizes)
        scores[kind] = _overall(precision, recall, [frequencies[number] for number in evaluation.params.cat_ids])
    return scores


def check_ground_truth(ground_truth: Any) -> None:
    """Whether a JSON's content is LVIS's.

    Raises:
        ValueError: it is not; one line that says what it lacks.
    """
    for section, names in (("images", _OF_IMAGES), ("categories", _OF_CATEGORIES), ("annotations", ())):
        entries = ground_truth.get(section) if isinstance(ground_truth, Mapping) else None
        if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
            raise ValueError(f"LVIS's ground truth has a list of {section}; received none. Give LVIS's own JSON.")
        lacking = next((name for name in names for entry in entries if name not in entry), None)
        if lacking is not None:
            raise ValueError(
                f"LVIS says {lacking} of each of its {section}; this ground truth does not. Leave LVIS's scores out, or give "
                "its own JSON."
            )
    strange = sorted({str(entry["frequency"]) for entry in ground_truth["categories"]} - FREQUENCIES.keys())
    if strange:
        raise ValueError(f"LVIS's categories have a frequency of r, c or f; received {strange[0]!r:.40}.")


def _best(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of each image the rows of the highest scores, in their order; of equal ones the first."""
    of_image: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        of_image.setdefault(row["image_id"], []).append(row)
    return [row for found in of_image.values() for row in sorted(found, key=lambda row: -row["score"])[:MAX_DETECTIONS]]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the library takes of a row."""
    return {name: row[name] for name in ("image_id", "category_id", "bbox", "score", "segmentation")}


def _overall(precision: np.ndarray, recall: np.ndarray, frequencies: list[str]) -> dict[str, float | None]:
    groups = np.array(frequencies)
    values = {
        "AP": precision[:, :, :, 0],
        "AP50": precision[_IOU_50, :, :, 0],
        "AP75": precision[_IOU_75, :, :, 0],
        **{f"AP_{size}": precision[:, :, :, a] for a, size in enumerate(_SIZES) if a},
        **{f"AP_{name}": precision[:, :, groups == letter, 0] for letter, name in FREQUENCIES.items()},
        f"AR_{MAX_DETECTIONS}": recall[:, :, 0],
    }
    measured = {name: value[value > -1] for name, value in values.items()}
    return {name: float(value.mean()) if value.size else None for name, value in measured.items()}
