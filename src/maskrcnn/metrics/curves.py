"""Curves of a whole data set: precision against recall, precision and recall against score, and how honest the scores are."""

from __future__ import annotations

from typing import Any

import numpy as np

from maskrcnn.metrics.rows import IOU_THRESHOLDS, Evaluation

SCORE_GRID = np.linspace(0.0, 1.0, 101)
RECALL_GRID = np.linspace(0.0, 1.0, 101)  # COCO's
USUAL_SCORE = 0.5  # for classes in which nothing is found at any score: `predict`'s own
_DRAWN_IOUS = {"0.50": 0, "0.75": 5, "0.90": 8}


def precision_recall(evaluation: Evaluation) -> dict[str, Any]:
    """Precision at COCO's 101 recalls, interpolated as COCO does: at each recall the best precision at that or a higher one.

    Returns:
        `{"recall": 101 numbers, "all": curves, "per_class": {name: curves}}`. Curves are `{"0.50": 101 numbers, "0.75": …,
        "0.90": …, "mean": …}` by mask IoU, the mean over 0.50 to 0.95; `all` is the mean of the classes that have objects, and
        None stands for the curves of a class that has none.
    """
    precision = np.asarray(evaluation.library.eval["precision"])[:, :, :, 0, 0]  # type: ignore[index]  # (T, 101, K)
    measured = evaluation.num_objects > 0
    per_class = {
        category.name: _curves(precision[:, :, label]) if measured[label] else None
        for label, category in enumerate(evaluation.categories)
    }
    overall = _curves(precision[:, :, measured].mean(axis=2)) if measured.any() else None
    return {"recall": RECALL_GRID.round(2).tolist(), "all": overall, "per_class": per_class}


def _curves(precision: np.ndarray) -> dict[str, list[float]]:
    """Of (T, 101)."""
    curves = {name: precision[threshold].tolist() for name, threshold in _DRAWN_IOUS.items()}
    return {**curves, "mean": precision.mean(axis=0).tolist()}


def score_curves(evaluation: Evaluation) -> dict[str, Any]:
    """Precision, recall and F1 of the results of at least a score, at mask IoU 0.5, and the score with the best F1.

    Returns:
        `{"score": 101 numbers, "per_class": {name: {"precision": …, "recall": …, "f1": …, "best": …}}}`. Precision is None
        where no result has the score. `best` is `{"score", "precision", "recall", "f1"}`, or None for a class in which nothing
        is found. Its score lies half-way between the last result that is kept and the first that is not, for the data's own
        results leave it open in between; of equally good scores it is the highest. Classes without objects are None.
    """
    per_class: dict[str, Any] = {}
    for label, category in enumerate(evaluation.categories):
        num_objects = int(evaluation.num_objects[label])
        per_class[category.name] = _score_curve(*_ranked(evaluation, label), num_objects) if num_objects else None
    return {"score": SCORE_GRID.round(2).tolist(), "per_class": per_class}


def best_scores(evaluation: Evaluation) -> np.ndarray:
    """(K,) the score with each class's best F1, see `score_curves`; `USUAL_SCORE` where there is none."""
    curves = score_curves(evaluation)["per_class"].values()
    return np.array([curve["best"]["score"] if curve and curve["best"] else USUAL_SCORE for curve in curves], np.float64)


def _ranked(evaluation: Evaluation, label: int) -> tuple[np.ndarray, np.ndarray]:
    """A class's counted results, best first: (n,) scores, and (n,) bool whether each found an object at IoU 0.5."""
    matches, rows = evaluation.matches, evaluation.rows
    chosen = np.flatnonzero(matches.counted[0] & (rows.labels == label))
    chosen = chosen[np.argsort(-rows.scores[chosen], kind="stable")]
    return rows.scores[chosen], matches.correct[0, chosen]


def _score_curve(scores: np.ndarray, correct: np.ndarray, num_objects: int) -> dict[str, Any]:
    hits = np.concatenate([[0], np.cumsum(correct)])  # (n + 1,) among the best 0, 1, … n
    numbers = np.arange(len(hits))
    f1 = 2 * hits / (numbers + num_objects)
    kept = np.searchsorted(-scores, -SCORE_GRID, side="right")  # (101,) results of at least each score
    precision = [float(hits[number] / number) if number else None for number in kept.tolist()]
    curve = {"precision": precision, "recall": (hits[kept] / num_objects).tolist(), "f1": f1[kept].tolist(), "best": None}
    ends = np.flatnonzero(np.append(scores[1:] < scores[:-1], True)[: len(scores)]) + 1  # after the last of equal scores
    if not hits[-1]:
        return curve
    best = int(ends[np.argmax(f1[ends])])
    below = scores[best] if best < len(scores) else scores[best - 1]
    curve["best"] = {
        "score": float((scores[best - 1] + below) / 2),
        "precision": float(hits[best] / best),
        "recall": float(hits[best] / num_objects),
        "f1": float(f1[best]),
    }
    return curve


def calibration(evaluation: Evaluation, *, num_bins: int = 10) -> dict[str, Any]:
    """Whether results of score 0.8 are right in 80 of 100 cases, at mask IoU 0.5 (Guo et al. 2017, equation 3).

    Returns:
        `{"ECE", "MCE", "bins", "per_class"}`: the expected and the largest calibration error; for each tenth of the scores
        `{"from", "to", "count", "score", "correct"}`, the mean score and the part that is right, None where there is no result;
        and each class's ECE, None where it has no result.
    """
    answer = evaluation.library.calibration(n_bins=num_bins, iou_threshold=float(IOU_THRESHOLDS[0]))
    bins = [
        {
            "from": part["bin_lower"],
            "to": part["bin_upper"],
            "count": part["count"],
            "score": part["avg_confidence"] if part["count"] else None,
            "correct": part["avg_accuracy"] if part["count"] else None,
        }
        for part in answer["bins"]
    ]
    per_class = {category.name: answer["per_category"].get(category.name) for category in evaluation.categories}
    return {"ECE": answer["ece"], "MCE": answer["mce"], "bins": bins, "per_class": per_class}
