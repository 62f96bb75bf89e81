"""Laws of boundary AP: every number is the slow twin's."""

from __future__ import annotations

import numpy as np
import pytest
from random_results import CATEGORIES, SEEDS, images_of, random_set
from references import evaluation as twin

from maskrcnn.metrics.boundary import boundary_of, boundary_scores, boundary_width


@pytest.mark.parametrize("seed", range(10))
def test_the_boundary_is_the_twins(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((60, 90)) < 0.97
    mask[:, 70:] = False
    np.testing.assert_array_equal(boundary_of(mask, boundary_width(mask.shape)), twin.boundary(mask))


@pytest.mark.parametrize("seed", SEEDS)
def test_boundary_scores_are_the_twins(seed: int) -> None:
    evaluation = random_set(seed, num_images=4).evaluation()
    images, answer = images_of(evaluation), boundary_scores(evaluation)
    for image in images:
        for thing in (*image.objects, *image.results):
            thing.edge = twin.boundary(thing.mask)
    every = []
    assert len(answer["per_class"]) == len(CATEGORIES)
    for label, category in enumerate(CATEGORIES):
        row = answer["per_class"][category.name]
        aps = [twin.ap(twin.match(images, label, iou, overlap=twin.boundary_iou)) for iou in twin.THRESHOLDS]
        assert row["AP"] == (None if aps[0] is None else pytest.approx(np.mean(aps), abs=1e-9))
        every += [] if aps[0] is None else [aps]
        pairs = twin.pairs(images, label)
        assert row["mask_IoU"] == (pytest.approx(np.mean([twin.mask_iou(*pair) for pair in pairs])) if pairs else None)
        edges = [twin.edge_iou(*pair) for pair in pairs]
        assert row["boundary_IoU"] == (pytest.approx(np.mean(edges)) if pairs else None)
    assert every
    assert answer["AP"] == pytest.approx(np.mean(every), abs=1e-9)
    assert answer["AP50"] == pytest.approx(np.mean([aps[0] for aps in every]), abs=1e-9)
    assert answer["AP75"] == pytest.approx(np.mean([aps[5] for aps in every]), abs=1e-9)


def test_a_perfect_result_scores_one() -> None:
    data = random_set(3)
    rles = [rle for sample in data.samples for rle in sample.rles]
    assert rles
    evaluation = data.evaluation()
    perfect = [
        {
            "image_id": s.image_id,
            "category_id": CATEGORIES[k].id,
            "score": 0.9,
            "segmentation": {**rle, "counts": rle["counts"].decode()},
        }
        for s in data.samples
        for k, rle in zip(s.labels.tolist(), s.rles)
    ]
    evaluation = data._replace(results=perfect).evaluation()
    assert boundary_scores(evaluation)["AP"] == pytest.approx(1.0)


def test_of_large_data_sets_every_so_many_images_are_looked_at() -> None:
    data = random_set(4, num_images=9)
    every = data.evaluation()
    step = 3
    part = data._replace(samples=data.samples[::step]).evaluation
    ids = {sample.image_id for sample in data.samples[::step]}
    part = data._replace(samples=data.samples[::step], results=[pair for pair in data.results if pair[0] in ids]).evaluation()
    sampled = boundary_scores(every, most=-(-(len(every.rows) + len(every.objects)) // step))
    assert sampled == boundary_scores(part)
    assert sampled["images"] == 3
