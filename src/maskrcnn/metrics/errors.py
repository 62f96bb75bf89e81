"""What is wrong in a result and what it costs: confusion of classes, TIDE's kinds of error, images, objects and labels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from maskrcnn.metrics.rows import Evaluation

_TIDE_NAMES = {
    "Cls": "class",
    "Loc": "localisation",
    "Both": "class_and_localisation",
    "Dupe": "duplicate",
    "Bkg": "background",
    "Miss": "missed",
}
_LABEL_ERRORS = {"wrong_label": "wrong_class", "missing_annotation": "not_annotated"}
_ALL_RESULTS = 2**31 - 1  # `kept` has no more than are looked at


def confusion(kept: Evaluation) -> dict[str, Any]:
    """How often an object of one class is found as another, at mask IoU 0.5.

    Results are matched with objects whatever the class, best score first, each with the object that it overlaps most.

    Args:
        kept: the results from the classes' score thresholds up, see `Evaluation.at`.

    Returns:
        `{"classes": K names, "matrix": (K + 1) lists of K + 1 counts}`: row, the object's class; column, the result's. The last
        row holds results without an object, the last column objects that no result found.
    """
    matrix = kept.evaluator().confusion_matrix(iou_thr=0.5, max_det=_ALL_RESULTS)["matrix"]
    return {"classes": [category.name for category in kept.categories], "matrix": np.asarray(matrix).astype(int).tolist()}


def tide(evaluation: Evaluation) -> dict[str, Any]:
    """TIDE (Bolya et al. 2020): each kind of error, how often it happens, and the AP50 that mending all of its kind would give.

    Mask IoU from 0.5 up finds an object; below 0.1 a result lies in the background.

    Returns:
        `{"AP50": number, "errors": {kind: {"count", "AP50_lost"}}, "AP50_lost_to_false_positives", "AP50_lost_to_missed"}` with
        the kinds `class`, `localisation`, `class_and_localisation`, duplicate, background and missed.
    """
    answer = evaluation.library.tide_errors(pos_thr=0.5, bg_thr=0.1)
    lost, counts = answer["delta_ap"], answer["counts"]
    return {
        "AP50": answer["ap_base"],
        "errors": {name: {"count": counts[key], "AP50_lost": lost[key]} for key, name in _TIDE_NAMES.items()},
        "AP50_lost_to_false_positives": lost["FP"],
        "AP50_lost_to_missed": lost["FN"],
    }


class Costs(NamedTuple):
    """What single errors cost of the mean AP50, see `costs`."""

    results: np.ndarray  # (N,) of each false positive, 0 of the others
    objects: np.ndarray  # (G,) of each missed object, 0 of the others
    images: np.ndarray  # (I,) the sum over an image


def costs(evaluation: Evaluation) -> Costs:
    """What the mean AP50 would gain without a false positive, and with a missed object found at the highest score of all.

    AP is here the plain mean, over a class's objects, of the precision at which each is found: without COCO's interpolation,
    which would give most errors no cost at all. Other errors stay as they are, so costs of several don't add up exactly; they
    rank what to look at.
    """
    matches, rows, objects = evaluation.matches, evaluation.rows, evaluation.objects
    of_results, of_objects = np.zeros(len(rows)), np.zeros(len(objects))
    num_classes = max(int(np.count_nonzero(evaluation.num_objects)), 1)
    missed = ~matches.found[0] & ~objects.crowd
    for label in np.flatnonzero(evaluation.num_objects).tolist():
        chosen = np.flatnonzero(matches.counted[0] & (rows.labels == label))
        chosen = chosen[np.argsort(-rows.scores[chosen], kind="stable")]
        correct = matches.correct[0, chosen]
        ranks, hits = np.arange(1, len(chosen) + 1), np.cumsum(correct)
        scale = num_classes * int(evaluation.num_objects[label])
        # Of a false positive: each later hit, now at rank r, would be at r - 1.
        gains = np.where(correct, hits / np.maximum(ranks - 1, 1) - hits / ranks, 0.0)
        later = gains[::-1].cumsum()[::-1]
        of_results[chosen] = np.where(correct, 0.0, later) / scale
        # Of a missed object: it is a hit at rank 1, and each hit of now comes one rank later with one more before it.
        found = 1.0 + np.where(correct, (hits + 1) / (ranks + 1) - hits / ranks, 0.0).sum()
        of_objects[missed & (objects.labels == label)] = found / scale
    images = np.bincount(rows.images, of_results, len(evaluation.samples))
    return Costs(of_results, of_objects, images + np.bincount(objects.images, of_objects, len(evaluation.samples)))


def image_errors(evaluation: Evaluation, thresholds: np.ndarray, cost: np.ndarray) -> list[dict[str, Any]]:
    """Each image's hits, false positives and misses at mask IoU 0.5, the costliest first.

    Args:
        evaluation: results and ground truth.
        thresholds: (K,) least score of what counts of each class.
        cost: (I,) as `costs` gives it.

    Returns:
        Rows of `image_id`, `file_name`, `correct`, `false_positives`, `missed`, `f1` (1 where there is nothing to find and
        nothing found) and `cost`.
    """
    status = status_at(evaluation, thresholds)
    images, number = evaluation.rows.images, len(evaluation.samples)
    correct = np.bincount(images[status.correct], minlength=number)
    wrong = np.bincount(images[status.wrong], minlength=number)
    missed = np.bincount(evaluation.objects.images[status.missed], minlength=number)
    rows = []
    for place in np.lexsort((-(wrong + missed), -cost)).tolist():
        hits, false, lost = int(correct[place]), int(wrong[place]), int(missed[place])
        errors = false + lost
        rows.append(
            {
                "image_id": int(evaluation.samples[place].image_id),
                "file_name": evaluation.samples[place].file_name,
                "correct": hits,
                "false_positives": false,
                "missed": lost,
                "f1": 2 * hits / (2 * hits + errors) if hits + errors else 1.0,
                "cost": float(cost[place]),
            }
        )
    return rows


class Status(NamedTuple):
    """What becomes of results and objects at the classes' score thresholds and mask IoU 0.5."""

    correct: np.ndarray  # (N,) bool, results that found an object
    wrong: np.ndarray  # (N,) bool, false positives
    missed: np.ndarray  # (G,) bool, objects that no result found


def status_at(evaluation: Evaluation, thresholds: np.ndarray) -> Status:
    """Better results are matched first, so leaving out the worse ones changes nothing for them."""
    matches, rows = evaluation.matches, evaluation.rows
    kept = matches.counted[0] & (rows.scores >= thresholds[rows.labels])
    correct = kept & matches.correct[0]
    missed = ~evaluation.objects.crowd
    missed[matches.partner[correct]] = False
    return Status(correct, kept & ~correct, missed)


def label_errors(kept: Evaluation, *, score: float = 0.5) -> list[dict[str, Any]]:
    """Where the ground truth itself may be wrong, by the results that contradict it, the surest first.

    A result of at least `score` that found no object of its class either overlaps one of another class that nothing found (box
    IoU from 0.5 up: the class may be wrong), or lies where nothing is annotated (box IoU below 0.1 with all objects).

    Returns:
        Rows of `kind` (wrong_class or not_annotated), `image_id`, `file_name`, `score`, `class` (the result's),
        `annotated_class` and `annotation_id` (None where nothing is annotated), `iou` of the boxes, and `row`, the place in
        `kept.rows`.
    """
    answer = kept.library.image_diagnostics(iou_thr=0.5, score_thr=score)
    places = {int(number): place for place, number in enumerate(kept.numbers)}
    rows = []
    for error in answer["label_errors"]:
        sample = kept.samples[places[error["image_id"]]]
        annotated = None if error["gt_id"] is None else error["gt_id"] - 1
        rows.append(
            {
                "kind": _LABEL_ERRORS[error["type"]],
                "image_id": int(sample.image_id),
                "file_name": sample.file_name,
                "score": error["dt_score"],
                "class": error["dt_category"],
                "annotated_class": error["gt_category"],
                "annotation_id": None if annotated is None else int(sample.annotation_ids[kept.objects.places[annotated]]),
                "iou": error["iou"],
                "row": error["dt_id"] - 1,
            }
        )
    return rows
