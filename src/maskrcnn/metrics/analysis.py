"""Everything that is known of a result's errors, as one dict of plain numbers: what `report.json` holds."""

from __future__ import annotations

from typing import Any

from maskrcnn.metrics import worst
from maskrcnn.metrics.bootstrap import confidence_intervals
from maskrcnn.metrics.boundary import boundary_scores
from maskrcnn.metrics.curves import best_scores, calibration, precision_recall, score_curves
from maskrcnn.metrics.errors import confusion, costs, image_errors, label_errors, tide
from maskrcnn.metrics.groups import ap_by_groups
from maskrcnn.metrics.rows import Evaluation


def analyse(evaluation: Evaluation, *, resamples: int = 200, most: int = 24) -> dict[str, Any]:
    """Looks at a result from all sides; masks alone are compared.

    Args:
        evaluation: results and ground truth.
        resamples: of the images, for the confidence intervals.
        most: how many false positives, misses and suspected labels are listed.

    Returns:
        What the functions of this room return, by name: `intervals`, `errors` (TIDE), `best_scores` (the least score of each
        class that gives the best F1), `curves`, `score_curves`, `confusion`, `groups`, `boundary`, `calibration`, `images`,
        `false_positives`, `missed` and `suspected_labels`; `images` and what follows it come worst first. Confusion, images and
        suspected labels are those of the results from `best_scores` up.
    """
    thresholds = best_scores(evaluation)
    kept = evaluation.at(thresholds)
    cost = costs(evaluation)
    names = [category.name for category in evaluation.categories]
    return {
        "num_images": len(evaluation.samples),
        "num_objects": int(evaluation.num_objects.sum()),
        "num_results": len(evaluation.rows),
        "max_detections": evaluation.max_detections,
        "intervals": confidence_intervals(evaluation, resamples=resamples),
        "errors": tide(evaluation),
        "best_scores": dict(zip(names, thresholds.tolist())),
        "curves": precision_recall(evaluation),
        "score_curves": score_curves(evaluation),
        "confusion": confusion(kept),
        "groups": ap_by_groups(evaluation),
        "boundary": boundary_scores(evaluation),
        "calibration": calibration(evaluation),
        "images": image_errors(evaluation, thresholds, cost.images),
        "false_positives": worst.false_positives(evaluation, cost, most=most),
        "missed": worst.missed_objects(evaluation, cost, most=most),
        "suspected_labels": label_errors(kept)[:most],
    }
