"""Laws of laying objects of one image on another."""

from __future__ import annotations

import numpy as np
import pytest

from maskrcnn.data.copy_paste import copy_paste
from maskrcnn.geometry.masks import mask_to_box
from maskrcnn.geometry.rle import mask_to_rle, rle_area, rle_to_mask
from maskrcnn.structures import Sample


def image(image_id: int, size: tuple[int, int], boxes: list[tuple[int, int, int, int]], colour: int) -> Sample:
    masks = []
    for left, top, right, bottom in boxes:
        masks.append(np.zeros(size, bool))
        masks[-1][top:bottom, left:right] = True
    count = len(boxes)
    return Sample(
        image_id=image_id,
        file_name=f"{image_id}.png",
        path=f"{image_id}.png",
        size=size,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.full(count, image_id, np.int32),
        crowd=np.zeros(count, bool),
        rles=[mask_to_rle(mask) for mask in masks],
        areas=np.array([mask.sum() for mask in masks], np.float32),
        annotation_ids=np.arange(count, dtype=np.int64) + 100 * image_id,
        image=np.full((*size, 3), colour, np.uint8),
    )


BELOW = image(1, (50, 60), [(0, 0, 30, 20), (10, 30, 50, 45), (40, 0, 44, 11), (20, 10, 35, 25)], 20)
ABOVE = image(2, (45, 80), [(5, 5, 25, 15), (35, 0, 50, 10), (50, 28, 75, 40), (15, 25, 22, 44)], 200)


def pasted(seed: int, below: Sample = BELOW, above: Sample = ABOVE, **limits: float) -> Sample:
    return copy_paste(below, above, np.random.default_rng(seed), **{"min_visible": 0.1, "min_area": 1.0, **limits})


@pytest.mark.parametrize("seed", range(8))
def test_pasted_objects_lie_on_top_and_cut_what_is_below(seed):
    after = pasted(seed)
    masks = dict(zip(after.annotation_ids.tolist(), map(rle_to_mask, after.rles), strict=True))
    covered = np.zeros(BELOW.size, bool)
    for row in range(4):
        if 200 + row in masks:
            whole = np.zeros(BELOW.size, bool)
            whole[:45] = rle_to_mask(ABOVE.rles[row])[:, :60]
            np.testing.assert_array_equal(masks[200 + row], whole)
            covered |= whole
    for row in range(4):
        left = rle_to_mask(BELOW.rles[row]) & ~covered
        if 100 + row in masks:
            np.testing.assert_array_equal(masks[100 + row], left)
        else:
            assert left.sum() < 0.1 * rle_area(BELOW.rles[row])
    np.testing.assert_array_equal(after.image, np.where(covered, 200, 20)[..., None].repeat(3, axis=2))
    for box, rle, area in zip(after.boxes, after.rles, after.areas, strict=True):
        np.testing.assert_array_equal(box, mask_to_box(rle_to_mask(rle)))
        assert area == rle_area(rle)
    np.testing.assert_array_equal(after.labels, after.annotation_ids // 100)


def test_each_object_is_pasted_every_other_time_and_the_hidden_one_goes():
    found = [set(pasted(seed).annotation_ids.tolist()) for seed in range(200)]
    for row in range(4):
        assert 70 < sum(200 + row in ids for ids in found) < 130
    assert {102 in ids for ids in found} == {True, False}
    assert all((102 in ids) != (201 in ids) for ids in found)  # 201 hides ten of the eleven rows of 102


def test_crowds_are_not_pasted_and_stay_crowds_below():
    above = ABOVE.replace(crowd=np.ones(4, bool))
    assert pasted(0, above=above).annotation_ids.tolist() == BELOW.annotation_ids.tolist()
    after = pasted(3, below=BELOW.replace(crowd=np.array([True, False, False, False])))
    assert after.crowd.tolist() == [row == 100 for row in after.annotation_ids]


def test_a_pasted_object_that_the_lower_image_cuts_to_a_sliver_becomes_a_crowd():
    above = image(2, (45, 200), [(58, 10, 158, 20)], 200)  # two of its hundred columns
    after = next(after for seed in range(9) if 200 in (after := pasted(seed, above=above)).annotation_ids)
    assert after.crowd.tolist() == [row == 200 for row in after.annotation_ids]


def test_images_without_objects():
    empty = image(3, (30, 90), [], 99)
    same = pasted(0, above=empty)
    np.testing.assert_array_equal(same.image, BELOW.image)
    assert same.rles == BELOW.rles
    assert pasted(0, below=empty, above=empty).boxes.shape == (0, 4)
    assert set(pasted(1, below=empty).labels.tolist()) <= {2}


def test_neither_argument_is_changed():
    for sample in (BELOW, ABOVE):
        sample.image.flags.writeable = False
    before = [rle_to_mask(rle) for rle in BELOW.rles + ABOVE.rles]
    pasted(1)
    assert all((old == rle_to_mask(rle)).all() for old, rle in zip(before, BELOW.rles + ABOVE.rles, strict=True))
    assert (BELOW.image == 20).all() and (ABOVE.image == 200).all()
