"""AP of parts of the objects: by their size, by how crowded they lie, and by whether the image's border cuts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from maskrcnn.geometry.boxes import box_iou
from maskrcnn.geometry.rle import rle_area
from maskrcnn.metrics.rows import Evaluation

SIZES = ("below 16²", "16² to 32²", "32² to 96²", "96² to 256²", "above 256²")  # COCO's bounds, and one more at either end
_SIZE_BOUNDS = np.array([16.0, 32.0, 96.0, 256.0]) ** 2
CROWDING = ("alone", "touching", "overlapping")  # box IoU with the nearest other object: 0, up to 0.2, above
_CROWDED = 0.2
BORDER = ("inside", "cut by the border")
_AT_BORDER = 1.0  # pixels from the border to a box that it cuts


def ap_by_groups(evaluation: Evaluation) -> dict[str, Any]:
    """AP of groups of objects, as COCO takes it of small, medium and large ones.

    Objects of other groups are neither found nor missed, and a result that found nothing counts in the group to which it would
    belong itself: by its mask's area, by its box's second-largest IoU with objects (the largest is taken for its own), and by
    its box's distance from the border.

    Returns:
        `{"size": {group: row}, "crowding": …, "border": …}` with rows of `objects`, `AP`, `AP50` and `recall` (the mean over
        IoU 0.50 to 0.95 of the objects found); None where a group has no object.
    """
    return {
        "size": _scores(evaluation, SIZES, *_by_size(evaluation)),
        "crowding": _scores(evaluation, CROWDING, *_by_crowding(evaluation)),
        "border": _scores(evaluation, BORDER, *_by_border(evaluation)),
    }


def _scores(evaluation: Evaluation, names: Sequence[str], objects: np.ndarray, results: np.ndarray) -> dict[str, Any]:
    """The library's area ranges do it: a group's number takes the place of the area."""
    evaluator = evaluation.evaluator(areas=(objects.astype(np.float64), results.astype(np.float64)))
    evaluator.params.area_rng = [[0.0, 1e10], *([number - 0.25, number + 0.25] for number in range(len(names)))]
    evaluator.params.area_rng_lbl = ["all", *names]
    evaluator.evaluate()
    evaluator.accumulate()
    assert evaluator.eval is not None
    precision = np.asarray(evaluator.eval["precision"])[..., 1:, 0]  # (T, 101, K, groups), -1 where there is no object
    recall = np.asarray(evaluator.eval["recall"])[..., 1:, 0]  # (T, K, groups)
    counts = np.bincount(objects[~evaluation.objects.crowd], minlength=len(names))
    return {
        name: {
            "objects": int(counts[group]),
            "AP": _mean(precision[..., group]),
            "AP50": _mean(precision[0, ..., group]),
            "recall": _mean(recall[..., group]),
        }
        for group, name in enumerate(names)
    }


def _mean(values: np.ndarray) -> float | None:
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else None


def _by_size(evaluation: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    rows = evaluation.rows
    areas = np.array([rle_area(rows.rle(row, evaluation.samples)) for row in range(len(rows))], np.float64)
    return _size_of(evaluation.objects.areas), _size_of(areas)


def _size_of(areas: np.ndarray) -> np.ndarray:
    return np.searchsorted(_SIZE_BOUNDS, areas, side="right")


def _by_border(evaluation: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    sizes = np.array([sample.size for sample in evaluation.samples], np.float64).reshape(-1, 2)
    objects, rows = evaluation.objects, evaluation.rows
    return _is_cut(objects.boxes, sizes[objects.images]), _is_cut(rows.boxes, sizes[rows.images])


def _is_cut(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(N,) int 0 or 1, of boxes (N, 4) in images of `sizes` (N, 2) height, width."""
    gaps = np.concatenate([boxes[:, :2], sizes[:, ::-1] - boxes[:, 2:]], axis=1)  # left, top, right, bottom
    return (gaps.min(axis=1, initial=np.inf) < _AT_BORDER).astype(np.int64)


def _by_crowding(evaluation: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    objects, rows = evaluation.objects, evaluation.rows
    of_objects, of_rows = np.zeros(len(objects)), np.zeros(len(rows))
    single = np.flatnonzero(~objects.crowd)
    starts = np.searchsorted(objects.images[single], np.arange(len(evaluation.samples) + 1))
    by_image = np.argsort(rows.images, kind="stable")
    row_starts = np.searchsorted(rows.images[by_image], np.arange(len(evaluation.samples) + 1))
    for place in range(len(evaluation.samples)):
        here = single[starts[place] : starts[place + 1]]
        found = by_image[row_starts[place] : row_starts[place + 1]]
        if len(here) < 2:
            continue
        overlaps = box_iou(objects.boxes[here], objects.boxes[here])
        np.fill_diagonal(overlaps, 0.0)
        of_objects[here] = overlaps.max(axis=1)
        of_rows[found] = np.sort(box_iou(rows.boxes[found], objects.boxes[here]), axis=1)[:, -2]
    return _level(of_objects), _level(of_rows)


def _level(overlaps: np.ndarray) -> np.ndarray:
    """(N,) int, the group of a largest overlap."""
    return (overlaps > 0).astype(np.int64) + (overlaps > _CROWDED).astype(np.int64)
