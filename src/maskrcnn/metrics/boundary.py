"""Boundary AP (Cheng et al. 2021): how well outlines fit, of which mask IoU says little where objects are large."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from maskrcnn.geometry.masks import shared_pixels
from maskrcnn.geometry.rle import mask_iou, rle_to_box, rle_to_mask
from maskrcnn.metrics.bootstrap import weighted_ap
from maskrcnn.metrics.rows import IOU_THRESHOLDS, Evaluation

BOUNDARY_WIDTH = 0.02  # of the image's diagonal, section 5 of the paper

Cutout = tuple[np.ndarray, tuple[int, int]]  # (h, w) bool with its corner (left, top) in the image


def boundary_scores(evaluation: Evaluation, *, most: int = 30_000) -> dict[str, Any]:
    """AP where a match needs boundary IoU beside mask IoU, and how well the outlines of found objects fit.

    As in the paper the smaller of the two IoUs counts; the boundary is what of a mask lies within 2% of the image's diagonal of
    its edge. Matching is COCO's.

    Args:
        evaluation: results and ground truth.
        most: of results and objects together; of larger data sets evenly spread images are looked at.

    Returns:
        `{"AP", "AP50", "AP75", "images", "per_class": {name: {"AP", "mask_IoU", "boundary_IoU"}}}`, with the number of images
        looked at. The IoUs are means over the objects found at mask IoU 0.5; None where there is nothing to find, or nothing
        found.
    """
    objects, rows, num_images = evaluation.objects, evaluation.rows, len(evaluation.samples)
    step = max(1, -(-(len(objects) + len(rows)) // most))
    correct = np.zeros((len(IOU_THRESHOLDS), len(rows)), bool)
    counted = np.zeros((len(IOU_THRESHOLDS), len(rows)), bool)
    pairs: dict[int, list[tuple[float, float]]] = {label: [] for label in range(len(evaluation.categories))}
    found, wanted = _by_image(rows.images, num_images), _by_image(objects.images, num_images)
    for place in range(0, num_images, step):
        outlines = _Outlines(evaluation)
        for label in np.unique(rows.labels[found[place]]).tolist():
            results = found[place][rows.labels[found[place]] == label]
            results = results[np.argsort(-rows.scores[results], kind="stable")][: evaluation.max_detections]
            truth = wanted[place][objects.labels[wanted[place]] == label]
            correct[:, results], counted[:, results], ious = _match(outlines, results, truth)
            pairs[label] += ious
    looked_at = objects.images % step == 0
    present = np.bincount(objects.labels[looked_at & ~objects.crowd], minlength=len(evaluation.categories))
    aps = np.full((len(IOU_THRESHOLDS), len(evaluation.categories)), np.nan)
    for label in np.flatnonzero(present).tolist():
        chosen = np.flatnonzero(rows.labels == label)
        chosen = chosen[np.argsort(-rows.scores[chosen], kind="stable")]
        for k in range(len(IOU_THRESHOLDS)):
            once = counted[None, k, chosen].astype(np.int64)
            aps[k, label] = weighted_ap(once, correct[k, chosen], present[None, label])[0]
    per_class = {}
    for label, category in enumerate(evaluation.categories):
        mask, edge = np.array(pairs[label]).reshape(-1, 2).T
        per_class[category.name] = {"AP": _mean(aps[:, label]), "mask_IoU": _mean(mask), "boundary_IoU": _mean(edge)}
    overall = {name: _mean(aps[rows]) for name, rows in (("AP", slice(None)), ("AP50", slice(0, 1)), ("AP75", slice(5, 6)))}
    return {**overall, "images": len(range(0, num_images, step)), "per_class": per_class}


def boundary_of(mask: np.ndarray, width: int) -> np.ndarray:
    """The pixels of a bitmap (H, W) within `width` pixels of its edge; the bitmap's border is an edge too."""
    side = 2 * width + 1
    inner = cv2.erode(mask.astype(np.uint8), np.ones((side, side), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return mask & (inner == 0)


def boundary_width(size: Sequence[int]) -> int:
    """Of an image (height, width), in pixels."""
    return max(1, round(BOUNDARY_WIDTH * math.hypot(*size)))


class _Outlines:
    """The boundaries of one image's results and objects, each made once and only when it is asked for."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation
        self._of_rows: dict[int, Cutout] = {}
        self._of_objects: dict[int, Cutout] = {}

    def row(self, row: int) -> Cutout:
        if row not in self._of_rows:
            self._of_rows[row] = _outline(self.evaluation.rows.rle(row, self.evaluation.samples))
        return self._of_rows[row]

    def object(self, row: int) -> Cutout:
        if row not in self._of_objects:
            self._of_objects[row] = _outline(self.evaluation.objects.rles[row])
        return self._of_objects[row]


def _outline(rle: dict[str, Any]) -> Cutout:
    left, top, right, bottom = rle_to_box(rle).astype(int).tolist()
    return boundary_of(rle_to_mask(rle)[top:bottom, left:right], boundary_width(rle["size"])), (left, top)


def _by_image(images: np.ndarray, num_images: int) -> list[np.ndarray]:
    """The rows of each image, in their order."""
    order = np.argsort(images, kind="stable")
    return np.split(order, np.searchsorted(images[order], np.arange(1, num_images)))


def _match(
    outlines: _Outlines, results: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[tuple[float, float]]]:
    """One class of one image, results best first.

    Returns:
        (T, n) bool which results found an object, (T, n) bool which count, and the mask IoU and boundary IoU of each pair that
        COCO's matching makes at mask IoU 0.5.
    """
    evaluation = outlines.evaluation
    crowd = evaluation.objects.crowd[truth]
    ones = [evaluation.rows.rle(row, evaluation.samples) for row in results.tolist()]
    others = [evaluation.objects.rles[row] for row in truth.tolist()]
    masks = mask_iou(ones, others, crowd.tolist())
    edges = np.zeros_like(masks)
    for n, m in np.argwhere(masks >= IOU_THRESHOLDS[0]).tolist():  # others match nothing, whatever their boundaries
        edges[n, m] = _iou(outlines.row(int(results[n])), outlines.object(int(truth[m])), bool(crowd[m]))
    both = np.minimum(masks, edges)
    matched = [_greedy(both, crowd, threshold) for threshold in IOU_THRESHOLDS.tolist()]
    partners = _greedy(masks, crowd, float(IOU_THRESHOLDS[0]))[0]
    pairs = [(float(masks[n, m]), float(edges[n, m])) for n, m in enumerate(partners.tolist()) if m >= 0]
    return np.array([partner >= 0 for partner, _ in matched]), np.array([counts for _, counts in matched]), pairs


def _iou(one: Cutout, other: Cutout, crowd: bool) -> float:
    """Of two bitmaps with their corners; with a crowd region, the part of the first that lies in it."""
    shared = int(shared_pixels([one], [other])[0, 0])
    union = np.count_nonzero(one[0]) + (0 if crowd else np.count_nonzero(other[0]) - shared)
    return shared / union if union else 0.0


def _greedy(overlaps: np.ndarray, crowd: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """pycocotools' matching: each result, best first, takes the free object that it overlaps most, and a crowd region else.

    Returns:
        (n,) int64 the object that each result found, -1 for none; (n,) bool which results count.
    """
    partner, counted = np.full(len(overlaps), -1), np.ones(len(overlaps), bool)
    free = ~crowd
    for row, overlap in enumerate(overlaps):
        fits = overlap >= threshold
        for among in (fits & free, fits & crowd):
            if among.any():
                chosen = len(among) - 1 - int(np.where(among, overlap, -1.0)[::-1].argmax())  # of equal ones the last, as there
                counted[row] = not crowd[chosen]
                if counted[row]:
                    partner[row], free[chosen] = chosen, False
                break
    return partner, counted


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None
