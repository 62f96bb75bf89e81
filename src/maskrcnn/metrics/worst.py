"""The single errors that cost the most, each with what lies nearest to it."""

from __future__ import annotations

from typing import Any

import numpy as np

from maskrcnn.geometry.rle import mask_iou
from maskrcnn.metrics.errors import Costs
from maskrcnn.metrics.rows import Evaluation

_FOUND, _BACKGROUND = 0.5, 0.1  # mask IoU, TIDE's


def false_positives(evaluation: Evaluation, cost: Costs, *, most: int = 24) -> list[dict[str, Any]]:
    """The false positives that cost most of the mean AP50, the costliest first.

    Returns:
        Rows of `image_id`, `file_name`, `class`, `score`, `cost`, `box` (xyxy), `kind` (one of TIDE's, see
        `metrics.errors.tide`), `iou` and `near` (mask IoU with the nearest object of its own class, or of another one where the
        kind tells of that, and that object's class; 0 and None where there is none), and `row`, the place in `evaluation.rows`.
    """
    rows = []
    for row in _largest(cost.results, most):
        kind, iou, near = kind_of(evaluation, row)
        place = int(evaluation.rows.images[row])
        rows.append(
            {
                **_place(evaluation, place),
                "class": evaluation.categories[int(evaluation.rows.labels[row])].name,
                "score": float(evaluation.rows.scores[row]),
                "cost": float(cost.results[row]),
                "box": evaluation.rows.boxes[row].tolist(),
                "kind": kind,
                "iou": iou,
                "near": None if near is None else evaluation.categories[near].name,
                "row": row,
            }
        )
    return rows


def missed_objects(evaluation: Evaluation, cost: Costs, *, most: int = 24) -> list[dict[str, Any]]:
    """The objects that no result finds, those that cost most of the mean AP50 first, and of one class the largest.

    Returns:
        Rows of `image_id`, `file_name`, `class`, `annotation_id`, `cost`, `area` (pixels), `box` (xyxy), `iou`, `near` and
        `score` (mask IoU with the nearest result, of whatever class, its class and its score; 0 and None where there is none),
        and `object`, the place in `evaluation.objects`.
    """
    objects, rows = evaluation.objects, []
    for row in _largest(cost.objects, most, objects.areas):
        place = int(objects.images[row])
        results = np.flatnonzero(evaluation.rows.images == place)
        overlaps = _overlaps(evaluation, results, np.array([row]))[:, 0]
        nearest = int(results[overlaps.argmax()]) if overlaps.max(initial=0.0) > 0 else None
        rows.append(
            {
                **_place(evaluation, place),
                "class": evaluation.categories[int(objects.labels[row])].name,
                "annotation_id": int(evaluation.samples[place].annotation_ids[objects.places[row]]),
                "cost": float(cost.objects[row]),
                "area": float(objects.areas[row]),
                "box": objects.boxes[row].tolist(),
                "iou": float(overlaps.max(initial=0.0)),
                "near": None if nearest is None else evaluation.categories[int(evaluation.rows.labels[nearest])].name,
                "score": None if nearest is None else float(evaluation.rows.scores[nearest]),
                "object": row,
            }
        )
    return rows


def kind_of(evaluation: Evaluation, row: int) -> tuple[str, float, int | None]:
    """What is wrong with a false positive, as TIDE tells them apart.

    Returns:
        The kind, the mask IoU that tells it, and the label of the object that it is with.
    """
    objects = evaluation.objects
    truth = np.flatnonzero(objects.images == evaluation.rows.images[row])
    overlaps = _overlaps(evaluation, np.array([row]), truth)[0]
    own = objects.labels[truth] == evaluation.rows.labels[row]
    same, strange = np.where(own, overlaps, 0.0), np.where(~own & ~objects.crowd[truth], overlaps, 0.0)
    nearest, nearest_strange = float(same.max(initial=0.0)), float(strange.max(initial=0.0))
    label = int(evaluation.rows.labels[row])
    if _BACKGROUND <= nearest <= _FOUND:
        return "localisation", nearest, label
    if nearest_strange >= _FOUND:
        return "class", nearest_strange, int(objects.labels[truth[strange.argmax()]])
    if np.any((same >= _FOUND) & evaluation.matches.found[0, truth]):
        return "duplicate", nearest, label
    if nearest_strange > _BACKGROUND:
        return "class_and_localisation", nearest_strange, int(objects.labels[truth[strange.argmax()]])
    return "background", max(nearest, nearest_strange), None


def _overlaps(evaluation: Evaluation, results: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(n, m) mask IoU; with crowd regions the part of the result that lies in them."""
    ones = [evaluation.rows.rle(row, evaluation.samples) for row in results.tolist()]
    others = [evaluation.objects.rles[row] for row in truth.tolist()]
    return mask_iou(ones, others, evaluation.objects.crowd[truth].tolist())


def _largest(cost: np.ndarray, most: int, size: np.ndarray | None = None) -> list[int]:
    """The rows of the largest costs, the larger size first among equal ones; those that cost nothing are left out."""
    order = np.lexsort((np.zeros(len(cost)) if size is None else -size, -cost))
    return [row for row in order[:most].tolist() if cost[row] > 0]


def _place(evaluation: Evaluation, place: int) -> dict[str, Any]:
    sample = evaluation.samples[place]
    return {"image_id": int(sample.image_id), "file_name": sample.file_name}
