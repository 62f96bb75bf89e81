"""Small data sets with results of every kind of error, for the tests of metrics and reports."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from references import evaluation as twin

from maskrcnn.config.model import Category
from maskrcnn.geometry.masks import mask_to_box
from maskrcnn.geometry.rle import mask_to_rle, rle_area, rle_to_mask
from maskrcnn.metrics.curves import best_scores
from maskrcnn.metrics.rows import Evaluation, collect_rows
from maskrcnn.structures import Detections, Sample

SIZE = (48, 64)
CATEGORIES = (Category(3, "date"), Category(7, "fig"), Category(9, "plum"))


SEEDS = [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 50))]  # of sets for laws with a slow twin


class RandomSet(NamedTuple):
    samples: list[Sample]
    results: list[tuple[int, Detections]]

    def evaluation(self, *, max_detections: int = 100) -> Evaluation:
        rows = collect_rows(self.samples, CATEGORIES, self.results)
        return Evaluation(self.samples, CATEGORIES, rows, max_detections)


def random_set(seed: int, *, num_images: int = 6, num_classes: int = 3) -> RandomSet:
    """Ellipses, some of them crowds and some at the border; images without objects and without results; every kind of error.

    Scores are all different, because the order of equal ones is the library's own.
    """
    rng = np.random.default_rng(seed)
    samples, results = [], []
    ids = rng.permutation(100)[:num_images] + 1
    scores = iter(rng.permutation(1000)[:500] / 1000.0 + 0.0005)
    for number, image_id in enumerate(ids.tolist()):
        masks = [_ellipse(rng) for _ in range(0 if number == 1 else int(rng.integers(1, 7)))]
        labels = rng.integers(0, num_classes, len(masks))
        crowd = rng.random(len(masks)) < 0.15
        samples.append(_sample(image_id, masks, labels, crowd))
        found: list[tuple[np.ndarray, int]] = []
        for mask, label in zip(masks, labels.tolist()):
            for _ in range(int(rng.integers(0, 4))):
                shifted = np.roll(mask, rng.integers(-6, 7, 2) * (rng.random() < 0.7), (0, 1))
                found.append((shifted, label if rng.random() < 0.7 else int(rng.integers(0, num_classes))))
        found += [(_ellipse(rng), int(rng.integers(0, num_classes))) for _ in range(int(rng.integers(0, 3)))]
        if number == 2:
            found = []
        results.append((image_id, _detections(found, [next(scores) for _ in found], num_classes)))
    return RandomSet(samples, results)


def kept_of(evaluation: Evaluation) -> Evaluation:
    """The results from the classes' best scores up."""
    return evaluation.at(best_scores(evaluation))


def images_of(evaluation: Evaluation) -> list[twin.Image]:
    """An evaluation as the twin sees it, in the order of the samples."""
    images = []
    for place, sample in enumerate(evaluation.samples):
        image = twin.Image()
        for k, rle in enumerate(sample.rles):
            box = tuple(sample.boxes[k].tolist())
            image.objects.append(
                twin.Thing(rle_to_mask(rle), int(sample.labels[k]), box, bool(sample.crowd[k]), image=place, row=k)
            )
        images.append(image)
    rows = evaluation.rows
    for row in range(len(rows)):
        mask, place = rle_to_mask(rows.rle(row, evaluation.samples)), int(rows.images[row])
        box = tuple(rows.boxes[row].tolist())
        images[place].results.append(
            twin.Thing(mask, int(rows.labels[row]), box, score=float(rows.scores[row]), image=place, row=row)
        )
    return images


def _ellipse(rng: np.random.Generator) -> np.ndarray:
    """(H, W) bool, never empty; it may reach over the border."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    centre, axes = rng.uniform(0, SIZE), rng.uniform(3, 16, 2)
    mask = ((y - centre[0]) / axes[0]) ** 2 + ((x - centre[1]) / axes[1]) ** 2 <= 1
    return mask if mask.any() else np.ones(SIZE, bool)


def _sample(image_id: int, masks: list[np.ndarray], labels: np.ndarray, crowd: np.ndarray) -> Sample:
    rles = [mask_to_rle(mask) for mask in masks]
    return Sample(
        image_id=image_id,
        file_name=f"{image_id}.png",
        path=f"{image_id}.png",
        size=SIZE,
        boxes=np.array([mask_to_box(mask) for mask in masks], np.float32).reshape(-1, 4),
        labels=labels.astype(np.int32),
        crowd=crowd,
        rles=rles,
        areas=np.array([rle_area(rle) for rle in rles], np.float32),
        annotation_ids=np.arange(len(masks), dtype=np.int64) + 1000 * image_id,
    )


def _detections(found: list[tuple[np.ndarray, int]], scores: list[float], num_classes: int) -> Detections:
    order = np.argsort(-np.array(scores), kind="stable").tolist()
    boxes = np.array([mask_to_box(found[k][0]) for k in order], np.float32).reshape(-1, 4)
    bitmaps = [
        found[k][0][int(top) : int(bottom), int(left) : int(right)] for k, (left, top, right, bottom) in zip(order, boxes)
    ]
    return Detections(
        boxes=boxes,
        scores=np.array([scores[k] for k in order], np.float64),
        labels=np.array([found[k][1] for k in order], np.int32),
        small_masks=np.zeros((len(found), 0, 0), np.float32),
        size=SIZE,
        class_names=[category.name for category in CATEGORIES[:num_classes]],
        bitmaps=bitmaps,
        corners=boxes[:, :2].astype(int),
    )
