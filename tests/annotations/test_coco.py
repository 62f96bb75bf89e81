"""COCO files: what is read, and every fault that is found."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from small_data import SQUARE, annotation, write_image

from maskrcnn.config.model import Category
from maskrcnn.data.dataset import load_dataset
from maskrcnn.geometry.rle import mask_to_rle, rle_area, rle_to_json, rle_to_mask

OTHER = {"segmentation": [[15, 3, 25, 3, 25, 11, 15, 11]], "bbox": [15, 3, 10, 8]}  # a square elsewhere
IMAGE = {"id": 1, "file_name": "a.png", "height": 20, "width": 30}


def only_fault(dataset, kind, *, repaired):
    """The data set's one fault, which is of this kind and came out so."""
    (fault,) = dataset.faults
    assert (fault.kind, fault.repaired) == (kind, repaired)
    return fault


def test_a_faultless_file_has_no_faults(write_coco):
    dataset = load_dataset(write_coco([annotation(5), annotation(6, category_id=3)]), strict=True)
    assert dataset.faults == []
    assert dataset.categories == (Category(7, "cat"), Category(3, "dog"))
    (sample,) = dataset.samples
    assert (sample.image_id, sample.file_name, sample.size, sample.image) == (1, "a.png", (20, 30), None)
    np.testing.assert_array_equal(sample.boxes, np.array([[2, 3, 12, 11]] * 2, np.float32))
    np.testing.assert_array_equal(sample.labels, np.array([0, 1], np.int32))
    np.testing.assert_array_equal(sample.areas, np.array([80, 80], np.float32))
    np.testing.assert_array_equal(sample.annotation_ids, [5, 6])
    assert sample.boxes.dtype == sample.areas.dtype == np.float32 and sample.labels.dtype == np.int32
    assert not sample.crowd.any()


def test_polygons_and_both_kinds_of_run_lengths_give_one_mask(write_coco):
    mask = np.zeros((20, 30), bool)
    mask[3:11, 2:12] = True
    rle = rle_to_json(mask_to_rle(mask))
    counts = [2 * 20 + 3, *[8, 12] * 9, 8, 20 * 18 + 9]
    forms = [SQUARE, rle, {"size": [20, 30], "counts": counts}]
    assert len(forms) == 3
    for form in forms:
        dataset = load_dataset(write_coco([annotation(1, segmentation=form)]), strict=True)
        np.testing.assert_array_equal(rle_to_mask(dataset.samples[0].rles[0]), mask)


def test_a_crowd_is_marked(write_coco):
    crowd = annotation(2, iscrowd=1, segmentation={"size": [20, 30], "counts": [0, 600]}, bbox=[0, 0, 30, 20], area=600)
    dataset = load_dataset(write_coco([annotation(1), crowd]), strict=True)
    np.testing.assert_array_equal(dataset.samples[0].crowd, [False, True])


@pytest.mark.parametrize("written", ["0", "no", [1]])
def test_what_does_not_say_that_it_is_a_crowd_is_none(write_coco, written):
    dataset = load_dataset(write_coco([annotation(1, iscrowd=written)]))
    only_fault(dataset, "broken iscrowd", repaired=True)
    np.testing.assert_array_equal(dataset.samples[0].crowd, [False])


def test_points_of_a_polygon_may_be_pairs(write_coco):
    pairs = [np.reshape(SQUARE[0], (-1, 2)).tolist()]
    dataset = load_dataset(write_coco([annotation(1, segmentation=pairs)]), strict=True)
    assert rle_area(dataset.samples[0].rles[0]) == 80


def test_sides_may_be_whole_numbers_with_a_point(write_coco):
    dataset = load_dataset(write_coco([annotation(1)], images=[{**IMAGE, "height": 20.0, "width": 30.0}]), strict=True)
    assert dataset.samples[0].size == (20, 30)


def test_an_image_without_objects_is_a_sample(write_coco):
    dataset = load_dataset(write_coco([]), strict=True)
    sample = dataset.samples[0]
    assert sample.boxes.shape == (0, 4) and sample.labels.shape == (0,) and sample.rles == []


def test_a_missing_area_is_the_masks(write_coco):
    dataset = load_dataset(write_coco([annotation(1, area=None)]), strict=True)
    assert dataset.samples[0].areas[0] == rle_area(dataset.samples[0].rles[0]) == 80


@pytest.mark.parametrize("folder", ["data", "images", "."])
def test_images_are_found_beside_the_json(write_coco, folder):
    assert len(load_dataset(write_coco([annotation(1)], folder=folder), strict=True)) == 1


def test_a_folder_that_is_named_is_the_one(write_coco, tmp_path):
    path = write_coco([annotation(1)], folder="elsewhere")
    assert len(load_dataset(path, images=tmp_path / "elsewhere", strict=True)) == 1
    with pytest.raises(ValueError, match="no folder"):
        load_dataset(path, images=tmp_path / "nowhere")


def test_a_file_name_may_repeat_the_folder(write_coco):
    images = [{**IMAGE, "file_name": "data/a.png"}]
    assert len(load_dataset(write_coco([annotation(1)], images=images), strict=True)) == 1


# ── faults of images ──


def two_images(second: dict) -> list[dict]:
    return [IMAGE, {"id": 2, "file_name": "b.png", "height": 20, "width": 30} | second]


def test_a_missing_image_is_left_out_with_its_annotations(write_coco):
    dataset = load_dataset(write_coco([annotation(1), annotation(2, 2)], images=two_images({})))
    assert len(dataset) == 1
    fault = only_fault(dataset, "missing image", repaired=False)
    assert fault.image_id == 2 and fault.message.startswith("there is no file b.png in ")
    assert fault.message.endswith("--images (1 annotations)")


def test_a_truncated_image_is_found_by_decoding_it(write_coco, tmp_path):
    path = write_coco([], images=two_images({}), sizes={"a.png": (20, 30), "b.png": (20, 30)})
    content = (tmp_path / "data/b.png").read_bytes()
    (tmp_path / "data/b.png").write_bytes(content[: len(content) // 2])
    dataset = load_dataset(path)
    assert len(dataset) == 1
    assert only_fault(dataset, "unreadable image", repaired=False).image_id == 2
    assert load_dataset(path, verify_images=False).faults == []


def test_a_file_that_is_no_image_is_found_without_decoding_too(write_coco, tmp_path):
    path = write_coco([], images=two_images({}))
    (tmp_path / "data/b.png").write_bytes(b"not an image")
    for verify_images in (True, False):
        only_fault(load_dataset(path, verify_images=verify_images), "unreadable image", repaired=False)


def test_a_size_that_contradicts_the_json_leaves_out_an_image_with_annotations(write_coco):
    images, sizes = two_images({"height": 30, "width": 20}), {"a.png": (20, 30), "b.png": (20, 30)}
    dataset = load_dataset(write_coco([annotation(1), annotation(2, 2)], images=images, sizes=sizes))
    assert [sample.image_id for sample in dataset.samples] == [1]
    fault = only_fault(dataset, "wrong size", repaired=False)
    assert fault.image_id == 2 and "30×20" in fault.message and "20×30" in fault.message and "swapped" in fault.message


def test_a_size_that_contradicts_the_json_is_repaired_where_nothing_is_annotated(write_coco):
    dataset = load_dataset(write_coco([], images=[{**IMAGE, "height": 99}]))
    only_fault(dataset, "wrong size", repaired=True)
    assert dataset.samples[0].size == (20, 30)


def test_a_missing_size_is_read_from_the_file(write_coco):
    dataset = load_dataset(write_coco([annotation(1)], images=[{"id": 1, "file_name": "a.png"}]))
    only_fault(dataset, "missing size", repaired=True)
    assert dataset.samples[0].size == (20, 30) and len(dataset.samples[0].labels) == 1


@pytest.mark.parametrize("name", ["../secret.png", "/etc/secret.png", "deeper/../../secret.png"])
def test_a_file_name_cannot_leave_its_folder(write_coco, tmp_path, name):
    path = write_coco([], images=two_images({"file_name": name}), folder="inner/data")
    path = path.rename(tmp_path / "inner/data.json")
    write_image(tmp_path / "secret.png")
    assert only_fault(load_dataset(path), "file name outside of its folder", repaired=False).image_id == 2


def test_two_files_of_one_id_are_both_left_out(write_coco):
    images = [*two_images({}), {"id": 2, "file_name": "c.png", "height": 20, "width": 30}]
    sizes = dict.fromkeys(("a.png", "b.png", "c.png"), (20, 30))
    dataset = load_dataset(write_coco([annotation(1), annotation(2, 2)], images=images, sizes=sizes))
    assert [sample.image_id for sample in dataset.samples] == [1]
    fault = only_fault(dataset, "duplicate image id", repaired=False)
    assert fault.image_id == 2 and "b.png and c.png" in fault.message


def test_an_image_that_is_listed_twice_is_used_once(write_coco):
    dataset = load_dataset(write_coco([annotation(1)], images=[IMAGE, IMAGE]))
    assert len(dataset) == 1
    only_fault(dataset, "duplicate image", repaired=True)


@pytest.mark.parametrize(
    "entry",
    [{"id": 2}, {"file_name": "b.png"}, {"id": "", "file_name": "b.png"}, {"id": 10**30, "file_name": "b.png"}, None, []],
)
def test_a_broken_image_entry_is_left_out(write_coco, entry):
    only_fault(load_dataset(write_coco([], images=[IMAGE, entry])), "broken image entry", repaired=False)


# ── faults of annotations ──


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"category_id": 99}, "unknown category"),
        ({"image_id": 99}, "unknown image"),
        ({"image_id": None}, "broken annotation"),
        ({"category_id": "cat"}, "broken annotation"),
        ({"segmentation": None}, "missing mask"),
        ({"segmentation": []}, "missing mask"),
        ({"segmentation": [[1, 2, 3, 4]]}, "polygon under three points"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "broken mask"),
        ({"segmentation": [[1, 2, 3, 4, 5, "x"]]}, "broken mask"),
        ({"segmentation": {"size": [30, 20], "counts": [600]}}, "broken mask"),
        ({"segmentation": {"size": [20, 30], "counts": [0, 700]}}, "broken mask"),
        ({"segmentation": {"size": [20, 30], "counts": "!"}}, "broken mask"),
        ({"segmentation": [[50, 50, 60, 50, 60, 60]]}, "empty mask"),
        ({"segmentation": {"size": [20, 30], "counts": [600]}}, "empty mask"),
    ],
)
def test_an_annotation_that_cannot_be_used_is_left_out(write_coco, changes, kind):
    dataset = load_dataset(write_coco([annotation(1), annotation(2, **changes)]))
    (sample,) = dataset.samples
    np.testing.assert_array_equal(sample.annotation_ids[~sample.crowd], [1])
    if kind in ("unknown category", "missing mask", "broken mask", "polygon under three points"):
        np.testing.assert_array_equal(sample.annotation_ids[sample.crowd], [2])  # its place is no background
        np.testing.assert_array_equal(sample.boxes[1], sample.boxes[0])
    fault = only_fault(dataset, kind, repaired=False)
    if kind != "broken annotation":
        assert fault.annotation_id == 2 and fault.image_id == changes.get("image_id", 1)


def test_a_polygon_under_three_points_beside_a_good_one_is_taken_away(write_coco):
    dataset = load_dataset(write_coco([annotation(2, segmentation=[[1, 2, 3, 4], *SQUARE])]))
    assert only_fault(dataset, "polygon under three points", repaired=True).annotation_id == 2
    assert rle_area(dataset.samples[0].rles[0]) == 80


@pytest.mark.parametrize(
    ("bbox", "kind", "box"),
    [
        (None, "missing box", [2, 3, 12, 11]),
        ([2, 3, 0, 8], "degenerate box", [2, 3, 12, 11]),
        ([2, 3, 10, -8], "degenerate box", [2, 3, 12, 11]),
        ([2, 3, 10], "degenerate box", [2, 3, 12, 11]),
        ([2, 3, 10**400, 8], "degenerate box", [2, 3, 12, 11]),
        ([2, 3, float("nan"), 8], "degenerate box", [2, 3, 12, 11]),
        (["2", 3, 10, 8], "degenerate box", [2, 3, 12, 11]),
        ([-3, 3, 15, 8], "box outside of its image", [0, 3, 12, 11]),
        ([40, 3, 10, 8], "box outside of its image", [2, 3, 12, 11]),
        ([20, 12, 6, 6], "box contradicts its mask", [2, 3, 12, 11]),
    ],
)
def test_a_box_is_repaired_from_its_image_and_its_mask(write_coco, bbox, kind, box):
    dataset = load_dataset(write_coco([annotation(2, bbox=bbox)]))
    assert only_fault(dataset, kind, repaired=True).annotation_id == 2
    np.testing.assert_array_equal(dataset.samples[0].boxes[0], np.array(box, np.float32))


def test_a_box_that_is_rounded_out_of_its_image_is_no_fault(write_coco):
    polygon = [[2, 3, 30, 3, 30, 11, 2, 11]]
    dataset = load_dataset(write_coco([annotation(2, segmentation=polygon, bbox=[2, 3, 28.6, 8], area=224)]), strict=True)
    np.testing.assert_array_equal(dataset.samples[0].boxes[0], [2, 3, 30, 11])


def test_another_annotation_of_a_taken_id_gets_an_id_of_its_own(write_coco):
    dataset = load_dataset(write_coco([annotation(4), annotation(4, category_id=3), annotation(9, **OTHER)]))
    np.testing.assert_array_equal(dataset.samples[0].annotation_ids, [4, 10, 9])
    assert only_fault(dataset, "duplicate annotation id", repaired=True).annotation_id == 4


def test_the_same_annotation_is_used_once(write_coco):
    dataset = load_dataset(write_coco([annotation(4), annotation(4)]))
    np.testing.assert_array_equal(dataset.samples[0].annotation_ids, [4])
    only_fault(dataset, "duplicate annotation", repaired=False)


def test_a_class_name_that_comes_twice_is_one_class(write_coco):
    categories = [{"id": 7, "name": "cat"}, {"id": 3, "name": "cat"}]
    dataset = load_dataset(write_coco([annotation(1), annotation(2, category_id=3, **OTHER)], categories=categories))
    only_fault(dataset, "duplicate category", repaired=True)
    assert dataset.categories == (Category(7, "cat"),)
    np.testing.assert_array_equal(dataset.samples[0].labels, [0, 0])


@pytest.mark.parametrize("classes", [None, [f"c{number}" for number in range(20_000)]])
def test_many_classes_are_read_in_time_that_grows_with_their_number(write_coco, classes):
    categories = [{"id": number, "name": f"c{number}"} for number in range(20_000)]
    path = write_coco([annotation(1, category_id=19_999)], categories=categories)
    start = time.process_time()
    dataset = load_dataset(path, classes=classes)
    assert time.process_time() - start < 3  # with lists searched for each: 10 to 15 seconds
    assert len(dataset.categories) == 20_000 and dataset.samples[0].labels.tolist() == [19_999]


# ── faults of the whole file ──


@pytest.mark.parametrize(
    ("categories", "words"),
    [
        ([], "no categories"),
        ([{"id": 1}], "a category has"),
        ([{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}], "category id 1 to both 'cat' and 'dog'"),
    ],
)
def test_categories_that_make_no_sense_are_an_error(write_coco, categories, words):
    with pytest.raises(ValueError, match=words):
        load_dataset(write_coco([], categories=categories))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", json.dumps({"images": [], "annotations": {}, "categories": []}), "[" * 100_000]
)
def test_what_is_no_coco_file_is_an_error_in_one_line(tmp_path, content):
    (tmp_path / "data.json").write_text(content)
    with pytest.raises(ValueError, match=r"data\.json") as error:
        load_dataset(tmp_path / "data.json")
    assert "\n" not in str(error.value)


def test_a_file_without_a_usable_image_is_an_error_that_says_why(write_coco):
    with pytest.raises(ValueError, match=r"(?s)no usable image.*missing image.*image 1"):
        load_dataset(write_coco([], sizes={}))
