"""How sure a score is, and whether one result is better than another: the bootstrap over images (Efron 1979).

hotcoco 1.3's `compare` drops the images that a resample draws twice, so that it draws two thirds of the images and its
intervals are a quarter too narrow. Here an image that is drawn twice counts twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from maskrcnn.metrics.curves import RECALL_GRID, best_scores
from maskrcnn.metrics.errors import image_errors
from maskrcnn.metrics.rows import IOU_THRESHOLDS, Evaluation

_NAMES = {"AP": range(len(IOU_THRESHOLDS)), "AP50": range(1), "AP75": range(5, 6)}
_CONFIDENCE = 0.95
_LARGEST = 2_000_000  # numbers of an array of resamples


def confidence_intervals(evaluation: Evaluation, *, resamples: int = 200, seed: int = 0) -> dict[str, Any]:
    """AP, AP50 and AP75 of masks with the interval that holds 95 of 100 resamples of the images.

    Returns:
        `{"resamples", "confidence", "AP": {"value", "low", "high"}, "AP50": …, "AP75": …}`; None without any object.
    """
    drawn = _resampled(evaluation, draws(len(evaluation.samples), resamples, seed))
    return {"resamples": resamples, "confidence": _CONFIDENCE, **_intervals(drawn)}


def compare(
    first: Evaluation, second: Evaluation, *, resamples: int = 200, seed: int = 0, num_images: int = 20
) -> dict[str, Any]:
    """The second result against the first, on the same images: what changed, and whether chance explains it.

    Both are resampled with the same images, so that what makes an image hard for both cancels out.

    Args:
        first, second: evaluations of the same samples and categories.
        resamples: of the images; the first "resample" is the data as it is.
        num_images: how many of the images are listed that changed most.

    Returns:
        `{"first": {"AP", …}, "second": …, "difference": {"AP": {"value", "low", "high", "better"}, …}, "per_class": {name:
        {"first", "second", "difference"}}, "images": rows}`. `better` is the part of the resamples in which the second has the
        higher score. Rows hold `image_id`, `file_name`, `first` and `second` (F1 at each result's own best scores) and
        `difference`, the largest change first.

    Raises:
        ValueError: evaluations of different images or classes.
    """
    if [sample.image_id for sample in first.samples] != [sample.image_id for sample in second.samples]:
        raise ValueError("Two results are compared on the same images; received evaluations of different ones.")
    if [category.name for category in first.categories] != [category.name for category in second.categories]:
        raise ValueError("Two results are compared on the same classes; received evaluations of different ones.")
    weights = draws(len(first.samples), resamples, seed)
    ones, others = _resampled(first, weights), _resampled(second, weights)
    difference = _intervals(others - ones)
    for name, thresholds in _NAMES.items():
        if difference[name]["value"] is not None:
            gain = _mean_ap((others - ones)[1:][:, thresholds])
            difference[name]["better"] = float(np.mean(gain[np.isfinite(gain)] > 0)) if np.isfinite(gain).any() else None
    per_class = {}
    for label, category in enumerate(first.categories):
        one, other = _plain(ones[:1, :, label : label + 1]), _plain(others[:1, :, label : label + 1])
        per_class[category.name] = {"first": one, "second": other, "difference": _minus(other, one)}
    return {
        "first": {name: interval["value"] for name, interval in _intervals(ones).items()},
        "second": {name: interval["value"] for name, interval in _intervals(others).items()},
        "difference": {"resamples": resamples, "confidence": _CONFIDENCE, **difference},
        "per_class": per_class,
        "images": _changed(first, second)[:num_images],
    }


def draws(num_images: int, resamples: int, seed: int) -> np.ndarray:
    """(resamples + 1, num_images) how often each image is drawn; the first row is the data itself."""
    rng = np.random.default_rng(seed)
    drawn = [np.bincount(rng.integers(0, num_images, num_images), minlength=num_images) for _ in range(resamples)]
    return np.stack([np.ones(num_images, np.int64), *drawn])


def _resampled(evaluation: Evaluation, weights: np.ndarray) -> np.ndarray:
    """(B, T, K) AP of each resample, IoU threshold and class, NaN where it has no object; weights (B, I)."""
    matches, rows, objects = evaluation.matches, evaluation.rows, evaluation.objects
    scores = np.full((len(weights), len(IOU_THRESHOLDS), len(evaluation.categories)), np.nan)
    for label in range(len(evaluation.categories)):
        places = objects.images[(objects.labels == label) & ~objects.crowd]
        totals = weights[:, places].sum(axis=1)  # (B,) objects of the resample
        chosen = np.flatnonzero(rows.labels == label)
        chosen = chosen[np.argsort(-rows.scores[chosen], kind="stable")]
        counted = matches.counted[:, chosen]
        for part in np.array_split(np.arange(len(weights)), max(1, len(weights) * len(chosen) // _LARGEST)):
            own = weights[part][:, rows.images[chosen]].astype(np.int32)  # (b, n)
            for k in range(len(IOU_THRESHOLDS)):
                if k == 0 or (counted[k] != counted[k - 1]).any():  # most data have no crowd regions: one sum for all
                    ranks = np.cumsum(own * counted[k], axis=1, dtype=np.int32)
                scores[part, k, label] = _ap(own, ranks, matches.correct[k, chosen], totals[part])
    return scores


def weighted_ap(results: np.ndarray, correct: np.ndarray, num_objects: np.ndarray) -> np.ndarray:
    """COCO's AP of results, best first, each of which stands for several.

    Args:
        results: (B, n) how many results each row stands for.
        correct: (n,) bool, whether they found an object.
        num_objects: (B,) how many there were to find.

    Returns:
        (B,) AP, NaN where there was nothing to find.
    """
    return _ap(results, np.cumsum(results, axis=1), correct, num_objects)


def _ap(results: np.ndarray, ranks: np.ndarray, correct: np.ndarray, num_objects: np.ndarray) -> np.ndarray:
    """As `weighted_ap`, where the results up to each one are summed already: ranks (B, n)."""
    places = np.flatnonzero(correct)
    ap = np.where(num_objects > 0, 0.0, np.nan)
    if len(places):
        hits = np.cumsum(results[:, places], axis=1)
        precision = hits / np.maximum(ranks[:, places], 1)
        best_from_here = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = hits / np.maximum(num_objects, 1)[:, None]
        for row in range(len(results)):
            first = np.searchsorted(recall[row], RECALL_GRID)  # the hit that reaches each of COCO's recalls
            ap[row] += best_from_here[row, first[first < len(places)]].sum() / len(RECALL_GRID)
    return ap


def _mean_ap(scores: np.ndarray) -> np.ndarray:
    """(B,) the mean of (B, T, K) over thresholds and the classes that have objects; NaN where none has."""
    flat = scores.reshape(len(scores), -1)
    known = np.isfinite(flat)
    total = np.where(known, flat, 0.0).sum(axis=1)
    return np.divide(total, known.sum(axis=1), out=np.full(len(flat), np.nan), where=known.any(axis=1))


def _intervals(scores: np.ndarray) -> dict[str, dict[str, float | None]]:
    intervals: dict[str, dict[str, float | None]] = {}
    for name, thresholds in _NAMES.items():
        value, *drawn = _mean_ap(scores[:, thresholds]).tolist()
        drawn = [number for number in drawn if np.isfinite(number)]
        if not np.isfinite(value) or not drawn:
            intervals[name] = {"value": value if np.isfinite(value) else None, "low": None, "high": None}
            continue
        low, high = np.quantile(drawn, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2]).tolist()
        intervals[name] = {"value": value, "low": low, "high": high}
    return intervals


def _plain(scores: np.ndarray) -> float | None:
    value = float(_mean_ap(scores)[0])
    return value if np.isfinite(value) else None


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _changed(first: Evaluation, second: Evaluation) -> list[dict[str, Any]]:
    """Images whose F1 differs, the largest change first, and the images' order among equal ones."""
    scores: list[dict[int, dict[str, Any]]] = []
    for evaluation in (first, second):
        errors = image_errors(evaluation, best_scores(evaluation), np.zeros(len(evaluation.samples)))
        scores.append({row["image_id"]: row for row in errors})
    rows = []
    for sample in first.samples:
        one, other = (score[sample.image_id]["f1"] for score in scores)
        if one != other:
            rows.append(
                {
                    "image_id": int(sample.image_id),
                    "file_name": sample.file_name,
                    "first": one,
                    "second": other,
                    "difference": other - one,
                }
            )
    return sorted(rows, key=lambda row: -abs(row["difference"]))
