"""Scores that biology uses: objects as regions that share no pixel, counted as hit, falsely found or missed.

A label image is (H, W) of whole numbers: 0 = background, k = the object k. The numbers are those of `stardist.matching` 0.9
(criterion "iou") where it has them. So a pair matches from IoU ≥ threshold up, also in `panoptic_quality`, whose paper asks for
more than 1/2; and an image in which nothing is and nothing was found counts 0 in a mean over images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from maskrcnn.config.model import Category
from maskrcnn.geometry.rle import rle_from_json, rle_to_box, rle_to_mask
from maskrcnn.structures import Detections, Sample

IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))  # Data Science Bowl 2018: 0.5, 0.55, … 0.95
SCORES = tuple(round(0.1 + 0.05 * step, 2) for step in range(17))  # 0.1, 0.15, … 0.9, among which a threshold is chosen
_IOU_50, _IOU_75 = 0, 5  # places among IOUS


def label_regions(rles: Sequence[dict[str, Any]], size: tuple[int, int], *, scores: np.ndarray | None = None) -> np.ndarray:
    """Masks that may overlap as one label image: a pixel belongs to the mask with the best score, or to the first without.

    So a mask's region does not depend on masks of lower scores, and leaving those out leaves its pixels as they are. A mask
    that better ones cover wholly is in no pixel.

    Args:
        rles: N COCO RLE dicts.
        size: (height, width) of the image.
        scores: (N,); equal ones in their order.

    Returns:
        (H, W) int32: 0 = background, k + 1 = the k-th mask.
    """
    labels = np.zeros(size, np.int32)
    order = np.arange(len(rles)) if scores is None else np.argsort(-scores, kind="stable")
    for k in order[::-1].tolist():  # the best last, so that it lies on top
        left, top, right, bottom = rle_to_box(rles[k]).astype(int)
        labels[top:bottom, left:right][rle_to_mask(rles[k])[top:bottom, left:right]] = k + 1
    return labels


@dataclass(frozen=True, eq=False)
class Overlap:
    """What the objects of two label images share, all that the scores of an image rest on.

    Attributes:
        true_areas, found_areas: (N,) and (M,) int64 pixels of the objects 1 … N and 1 … M; 0 for numbers that are not there.
        truth, found: (P,) int64, the pairs that share a pixel, as places in the areas.
        shared: (P,) int64 pixels of each pair.
    """

    true_areas: np.ndarray
    found_areas: np.ndarray
    truth: np.ndarray
    found: np.ndarray
    shared: np.ndarray

    @cached_property
    def iou(self) -> np.ndarray:
        """(P,) of each pair."""
        return self.shared / (self.true_areas[self.truth] + self.found_areas[self.found] - self.shared)

    @property
    def num_true(self) -> int:
        return int(np.count_nonzero(self.true_areas))

    @property
    def num_found(self) -> int:
        return int(np.count_nonzero(self.found_areas))

    def hits(self, iou: float) -> np.ndarray:
        """The pairs that match, as places in `truth` and `found`; no object is in two of them.

        Regions share no pixel, so an IoU above 1/2 is an object's only one. Of two halves at exactly 1/2 the first counts.
        """
        pairs = np.flatnonzero(self.iou >= iou)
        pairs = pairs[np.unique(self.truth[pairs], return_index=True)[1]]
        return pairs[np.unique(self.found[pairs], return_index=True)[1]]

    def jaccard(self) -> tuple[int, int]:
        """Pixels of the intersection and of the union that `aggregated_jaccard_index` divides."""
        order = np.lexsort((-self.iou, self.truth))  # each true object's pairs together, the best first
        best = order[np.unique(self.truth[order], return_index=True)[1]]
        unused = np.ones(len(self.found_areas), bool)
        unused[self.found[best]] = False
        shared = self.shared[best].sum()
        union = self.true_areas.sum() + self.found_areas[self.found[best]].sum() - shared + self.found_areas[unused].sum()
        return int(shared), int(union)

    def keep(self, found: np.ndarray, pairs: np.ndarray | bool = True) -> Overlap:
        """Without some of the found objects, (M,) bool, and some of the pairs, (P,) bool."""
        pairs = pairs & found[self.found]
        return Overlap(
            self.true_areas, np.where(found, self.found_areas, 0), self.truth[pairs], self.found[pairs], self.shared[pairs]
        )


def measure_overlap(truth: np.ndarray, found: np.ndarray) -> Overlap:
    """The overlap of two label images of one size.

    Raises:
        ValueError: for images of two sizes, of fractions, or with negative numbers.
    """
    for image in (truth, found):
        if image.shape != truth.shape or not np.issubdtype(image.dtype, np.integer) or (image.size and image.min() < 0):
            raise ValueError(
                f"Label images hold whole numbers from 0 and have one size; received {found.dtype} {found.shape} for "
                f"{truth.dtype} {truth.shape}."
            )
    true_areas, found_areas = (np.bincount(image.ravel().astype(np.int64), minlength=1)[1:] for image in (truth, found))
    both = (truth > 0) & (found > 0)
    width = max(len(found_areas), 1)
    pairs, shared = np.unique((truth[both].astype(np.int64) - 1) * width + found[both] - 1, return_counts=True)
    return Overlap(true_areas, found_areas, pairs // width, pairs % width, shared)


def data_science_bowl_score(truth: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float:
    """TP / (TP + FP + FN), meaned over the IoU thresholds 0.50, 0.55, … 0.95 and over the images.

    The evaluation of the Data Science Bowl 2018 (Caicedo et al. 2019, Nature Methods 16).

    Args:
        truth, found: label images, one pair an image.
    """
    return float(np.mean([_accuracies(overlap, IOUS) for overlap in _overlaps(truth, found)]))


def ap_at(
    truth: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    iou: float = 0.5,
    *,
    over: Literal["images", "dataset"] = "images",
) -> float:
    """TP / (TP + FP + FN) at one IoU threshold, which biology calls average precision.

    Args:
        truth, found: label images, one pair an image.
        iou: threshold of at least 0.5, below which a region may match several.
        over: the mean over the images' own; or one ratio of the counts of all images (Schmidt et al. 2018, StarDist).

    Raises:
        ValueError: for a threshold outside of 0.5 to 1.
    """
    if not 0.5 <= iou <= 1:
        raise ValueError(f"Regions match uniquely from an IoU of 0.5 to 1; received {iou}.")
    overlaps = _overlaps(truth, found)
    if over == "images":
        return float(np.mean([_accuracies(overlap, (iou,)) for overlap in overlaps]))
    hits = sum(len(overlap.hits(iou)) for overlap in overlaps)
    return float(_ratio(hits, sum(overlap.num_true + overlap.num_found for overlap in overlaps) - hits))


def panoptic_quality(truth: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> dict[str, float]:
    """PQ = SQ × RQ of all objects of all images (Kirillov et al. 2019, section 4.2), matched from IoU ≥ 1/2.

    Args:
        truth, found: label images, one pair an image.

    Returns:
        "PQ"; "SQ", the mean IoU of the matched; "RQ", TP / (TP + FP / 2 + FN / 2).
    """
    overlaps = _overlaps(truth, found)
    matched = np.concatenate([np.zeros(0), *(overlap.iou[overlap.hits(0.5)] for overlap in overlaps)])
    num_objects = sum(overlap.num_true + overlap.num_found for overlap in overlaps)
    return {name: float(value) for name, value in _panoptic(len(matched), matched.sum(), num_objects).items()}


def aggregated_jaccard_index(truth: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float | None:
    """AJI, the mean over the images (Kumar et al. 2017, algorithm 1).

    Each true object takes the found one of the greatest IoU, which several may take; shared pixels of all pairs are divided by
    the pixels of their unions and of all objects found that none took. Images that hold nothing in which nothing was found
    have no AJI; None where there are no others.

    Args:
        truth, found: label images, one pair an image.
    """
    sums = (overlap.jaccard() for overlap in _overlaps(truth, found))
    values = [shared / union for shared, union in sums if union]
    return float(np.mean(values)) if values else None


def evaluate_biology(
    samples: Iterable[Sample],
    categories: Sequence[Category],
    results: Iterable[tuple[int, Detections]] | Iterable[Mapping[str, Any]],
    *,
    score: float = 0.5,
) -> dict[str, Any]:
    """Biology's scores of results against the truth; takes what `metrics.coco.evaluate_coco` takes.

    Args:
        samples: the truth. Where its masks overlap, the first keeps the pixel.
        categories: what the samples' labels mean.
        results: (image_id, Detections), one pair an image; or rows as in COCO's result files.
        score: detections below it are left out.

    Returns:
        What `BiologyScores.scores` says.

    Raises:
        ValueError: for a result of an unknown image.
    """
    samples = list(samples)
    found: dict[int, Any] = {sample.image_id: [] for sample in samples}
    for result in results:
        image_id = result["image_id"] if isinstance(result, Mapping) else result[0]
        if image_id not in found:
            raise ValueError(f"A result is of image_id {image_id}, which the data does not have; is it of other images?")
        if isinstance(result, Mapping):
            found[image_id].append(result)
        else:
            found[image_id] = result[1]
    scores = BiologyScores(categories, scores=(score,))
    for sample in samples:
        scores.add(sample, found[sample.image_id])
    return scores.scores()


class BiologyScores:
    """Adds images up, one at a time, at one or several least scores of what counts as found.

    Args:
        categories: what the labels of the truth mean. Only objects of one class match each other.
        scores: (S,) thresholds; all of them cost one look at each image.
    """

    def __init__(self, categories: Sequence[Category], *, scores: Sequence[float] = (0.5,)) -> None:
        self.categories = categories
        self.thresholds = tuple(scores)
        shape = (len(self.thresholds), len(categories))
        self._hits = np.zeros((*shape, len(IOUS)), np.int64)  # (S, K, T) of all images
        self._matched_iou = np.zeros(shape)  # (S, K), sum over the hits at IoU 0.5
        self._num_objects = np.zeros(shape, np.int64)  # (S, K), true and found
        self._accuracies: list[np.ndarray] = []  # (S, T) an image
        self._jaccards: list[np.ndarray] = []  # (S, 2) an image: intersection, union

    def add(self, sample: Sample, found: Detections | Sequence[Mapping[str, Any]]) -> None:
        """One image: its truth, and what was found in it, as `Detections` or as rows of COCO's result format.

        Pixels of crowds, where they are not some true object's, count neither way, and regions that are more than half in
        them are left out (Kirillov et al. 2019, section 4.2, "void").
        """
        rles, scores, labels = self._read(sample, found)
        true_labels = sample.labels[~sample.crowd]
        truth = label_regions([rle for rle, crowd in zip(sample.rles, sample.crowd) if not crowd], sample.size)
        regions = label_regions(rles, sample.size, scores=scores)
        if sample.crowd.any():
            crowds = [rle for rle, crowd in zip(sample.rles, sample.crowd) if crowd]
            regions = _without_void(regions, (label_regions(crowds, sample.size) > 0) & (truth == 0))
        overlap = measure_overlap(truth, regions)
        # The last masks may have no pixel of their own, and so no place among the areas.
        true_labels, labels, scores = (
            true_labels[: len(overlap.true_areas)],
            labels[: len(overlap.found_areas)],
            scores[: len(overlap.found_areas)],
        )
        same_class = true_labels[overlap.truth] == labels[overlap.found]
        accuracies, jaccards = [], []
        for s, threshold in enumerate(self.thresholds):
            kept = overlap.keep(scores >= threshold, same_class)
            for t, iou in enumerate(IOUS):
                hits = kept.hits(iou)
                self._hits[s, :, t] += self._per_class(true_labels[kept.truth[hits]])
                if t == _IOU_50:
                    np.add.at(self._matched_iou[s], true_labels[kept.truth[hits]], kept.iou[hits])
            for areas, of in ((kept.true_areas, true_labels), (kept.found_areas, labels)):
                self._num_objects[s] += self._per_class(of[areas > 0])
            accuracies.append(_accuracies(kept, IOUS))
            jaccards.append(kept.jaccard())
        self._accuracies.append(np.array(accuracies))
        self._jaccards.append(np.array(jaccards))

    def data_science_bowl(self) -> np.ndarray:
        """(S,) the Data Science Bowl's score at each of the thresholds; NaN before the first image."""
        return np.mean(self._accuracies, axis=(0, 2)) if self._accuracies else np.full(len(self.thresholds), np.nan)

    def best_threshold(self) -> float:
        """The threshold of the best Data Science Bowl score; of equally good ones that nearest to 0.5.

        Raises:
            ValueError: before the first image.
        """
        if not self._accuracies:
            raise ValueError("A threshold is chosen on images; received none.")
        values = self.data_science_bowl().tolist()
        return max(zip(values, self.thresholds), key=lambda pair: (pair[0], -abs(pair[1] - 0.5)))[1]

    def scores(self) -> dict[str, Any]:
        """All scores at the first threshold, numbers in [0, 1], None where there is nothing to measure.

        Returns:
            "score_threshold"; "DSB", the Data Science Bowl's score; "AP50" and "AP75", TP / (TP + FP + FN) meaned over the
            images; "dataset_AP", the same of all objects together for each IoU "0.50" … "0.95"; "PQ", "SQ" and "RQ", with
            several classes their means over those that are there or were found; "AJI", the mean over the images; and
            "per_class": `{name: {"AP50", "AP75", "PQ", "SQ", "RQ"}}` of all of a class's objects together.
        """
        per_class: dict[str, dict[str, float | None]] = {}
        for k, category in enumerate(self.categories):
            hits, num_objects = self._hits[0, k], self._num_objects[0, k]
            values = {
                "AP50": _ratio(hits[_IOU_50], num_objects - hits[_IOU_50]),
                "AP75": _ratio(hits[_IOU_75], num_objects - hits[_IOU_75]),
                **_panoptic(hits[_IOU_50], self._matched_iou[0, k], num_objects),
            }
            per_class[category.name] = {name: float(value) if num_objects else None for name, value in values.items()}
        accuracies = np.array([each[0] for each in self._accuracies]).reshape(-1, len(IOUS))
        jaccards = [shared / union for shared, union in (each[0] for each in self._jaccards) if union]
        hits, num_objects = self._hits[0].sum(axis=0), self._num_objects[0].sum()
        return {
            "score_threshold": float(self.thresholds[0]),
            "DSB": _mean(accuracies.mean(axis=1)),
            "AP50": _mean(accuracies[:, _IOU_50]),
            "AP75": _mean(accuracies[:, _IOU_75]),
            "dataset_AP": {f"{iou:.2f}": float(_ratio(hit, num_objects - hit)) for iou, hit in zip(IOUS, hits)},
            **{name: _mean([row[name] for row in per_class.values() if row[name] is not None]) for name in ("PQ", "SQ", "RQ")},
            "AJI": _mean(jaccards),
            "per_class": per_class,
        }

    def _read(
        self, sample: Sample, found: Detections | Sequence[Mapping[str, Any]]
    ) -> tuple[list[dict[str, Any]], np.ndarray, np.ndarray]:
        """N masks, (N,) float32 scores and (N,) labels of what is of a class that the data has."""
        if isinstance(found, Detections):
            if tuple(found.size) != tuple(sample.size):
                raise ValueError(
                    f"{sample.file_name} is {tuple(sample.size)} pixels; its detections are in {tuple(found.size)}."
                )
            names = [category.name for category in self.categories]
            own = found.class_names or names
            rows = [
                (rle, score, names.index(own[label]))
                for rle, score, label in zip(found.rle(), found.scores, found.labels)
                if own[label] in names
            ]
        else:
            ids = [category.id for category in self.categories]
            rows = [
                (rle_from_json(row["segmentation"], sample.size), row["score"], ids.index(row["category_id"]))
                for row in found
                if row["category_id"] in ids
            ]
        # As float32, as `predict` compares them: 0.7 is a little less there, and would be left out at 0.7.
        scores, labels = np.array([row[1] for row in rows], np.float32), np.array([row[2] for row in rows], np.int64)
        return [row[0] for row in rows], scores, labels

    def _per_class(self, labels: np.ndarray) -> np.ndarray:
        return np.bincount(labels, minlength=len(self.categories))


def _overlaps(truth: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> list[Overlap]:
    if len(truth) != len(found) or not len(truth):
        raise ValueError(f"A score needs a label image of each image twice; received {len(truth)} true, {len(found)} found.")
    return [measure_overlap(*pair) for pair in zip(truth, found)]


def _accuracies(overlap: Overlap, ious: Sequence[float]) -> np.ndarray:
    """(T,) TP / (TP + FP + FN) of one image; 0 where there is nothing."""
    hits = np.array([len(overlap.hits(iou)) for iou in ious])
    return _ratio(hits, overlap.num_true + overlap.num_found - hits)


def _panoptic(num_hits: float, matched_iou: float, num_objects: float) -> dict[str, np.ndarray]:
    """PQ, SQ and RQ; `num_objects` are the true ones and the found ones, TP + FP + TP + FN."""
    return {
        "PQ": _ratio(2 * matched_iou, num_objects),
        "SQ": _ratio(matched_iou, num_hits),
        "RQ": _ratio(2 * num_hits, num_objects),
    }


def _ratio(above: Any, below: Any) -> np.ndarray:
    """Quotients, 0 where nothing is divided by nothing."""
    return np.asarray(above) / np.maximum(below, 1)


def _mean(values: Any) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _without_void(regions: np.ndarray, void: np.ndarray) -> np.ndarray:
    """A label image with its pixels in `void`, (H, W) bool, taken away, and whole regions that are more than half there."""
    areas = np.bincount(regions.ravel())
    mostly_void = 2 * np.bincount(regions[void], minlength=len(areas)) > areas
    return np.where(void | mostly_void[regions], 0, regions)
