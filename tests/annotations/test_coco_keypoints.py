"""Keypoints of COCO files: what is read, written, and repaired."""

from __future__ import annotations

import json

import numpy as np
import pytest
from small_data import SQUARE_BOX, annotation, moved

from maskrcnn.annotations.formats import write_annotations
from maskrcnn.config.model import Category
from maskrcnn.data.dataset import load_dataset

NAMES = ["nose", "left_eye", "right_eye"]
CAT = {"id": 7, "name": "cat", "keypoints": NAMES, "skeleton": [[1, 2], [1, 3]]}
DOG = {"id": 3, "name": "dog"}
FACE = [3, 4, 2, 5.5, 6, 1, 0, 0, 0]


@pytest.fixture(params=["in columns", "one by one"])
def write(request, write_coco):
    """`write_coco` with the two categories; ids that are text are read one by one."""

    def written(annotations, categories=(CAT, DOG)):
        if request.param == "one by one":
            annotations = [{**entry, "id": str(entry["id"])} for entry in annotations]
        return write_coco(annotations, categories=list(categories))

    return written


def broken(dataset, kind="broken keypoints"):
    return [fault for fault in dataset.faults if fault.kind == kind]


def test_keypoints_lie_in_the_middle_of_their_pixels(write):
    dataset = load_dataset(write([annotation(1, keypoints=FACE, num_keypoints=2), annotation(2, category_id=3, **moved(9))]))
    assert dataset.categories == (Category(7, "cat", tuple(NAMES), ((0, 1), (0, 2))), Category(3, "dog"))
    (sample,) = dataset.samples
    assert not dataset.faults and sample.mirror == (0, 2, 1) and sample.keypoints.dtype == np.float32
    np.testing.assert_array_equal(sample.keypoints[0], [[3.5, 4.5, 2], [6, 6.5, 1], [0, 0, 0]])
    assert not sample.keypoints[1].any()


def test_data_without_keypoints_has_none(write):
    (sample,) = load_dataset(write([annotation(1)], [{"id": 7, "name": "cat"}])).samples
    assert sample.keypoints is None and sample.mirror == ()


@pytest.mark.parametrize(
    "given", [FACE[:-1], FACE[:6], FACE * 2, "text", [3, 4, 7, *FACE[3:]], [None] * 9, [1e12] * 9, {"x": 1}]
)
def test_an_object_with_broken_keypoints_is_used_without_them(write, given):
    dataset = load_dataset(write([annotation(1, keypoints=given)]))
    (fault,) = broken(dataset)
    assert fault.repaired and fault.annotation_id == 1
    (sample,) = dataset.samples
    assert len(sample.labels) == 1 and not sample.crowd.any() and not sample.keypoints.any()


def test_a_box_takes_the_place_of_a_mask_where_there_are_keypoints(write):
    dataset = load_dataset(write([annotation(1, segmentation=None, keypoints=FACE), annotation(2, segmentation=None)]))
    (sample,) = dataset.samples
    np.testing.assert_array_equal(sample.crowd, [False, True])
    left, top, width, height = SQUARE_BOX
    np.testing.assert_array_equal(sample.boxes[0], [left, top, left + width, top + height])
    assert [fault.repaired for fault in broken(dataset, "missing mask")] == [True, False]


@pytest.mark.parametrize("skeleton", [[[0, 1]], [[1, 4]], [[1, 2, 3]], [["a", "b"]], [3]])
def test_a_skeleton_of_other_keypoints_is_a_fault(write, skeleton):
    dataset = load_dataset(write([annotation(1)], [{**CAT, "skeleton": skeleton}]))
    assert broken(dataset) and dataset.categories == (Category(7, "cat"),)


def test_one_list_of_names_serves_all_classes(write):
    same, other = {**DOG, "keypoints": NAMES}, {**DOG, "keypoints": ["tail"]}
    assert not load_dataset(write([annotation(1)], [CAT, same])).faults
    dataset = load_dataset(write([annotation(1, keypoints=FACE)], [CAT, other]))
    assert broken(dataset, "keypoints of several kinds")
    assert dataset.categories[1] == Category(3, "dog") and dataset.samples[0].keypoints.any()


def test_what_is_written_is_what_was_read(write, tmp_path):
    dataset = load_dataset(write([annotation(1, keypoints=FACE), annotation(2, **moved(9))]))
    assert write_annotations(dataset, "coco", tmp_path / "out") == []
    content = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert [entry["keypoints"] for entry in content["annotations"]] == [FACE, [0] * 9]
    assert [entry["num_keypoints"] for entry in content["annotations"]] == [2, 0]
    again = load_dataset(tmp_path / "out", strict=True)
    assert again.categories == dataset.categories
    np.testing.assert_array_equal(again.samples[0].keypoints, dataset.samples[0].keypoints)


def test_other_formats_say_what_they_lose(write, tmp_path):
    dataset = load_dataset(write([annotation(1, keypoints=FACE)]))
    (fault,) = write_annotations(dataset, "yolo", tmp_path / "out")
    assert fault.kind == "keypoints" and "1 objects" in fault.message
