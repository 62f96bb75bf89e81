"""What tools make of COCO: ids, sizes, polygons, names and classes that are not COCO's, and are understood all the same."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image
from small_data import SQUARE, annotation, write_image

from maskrcnn.config.model import Category
from maskrcnn.data.dataset import load_dataset
from maskrcnn.geometry.rle import mask_to_rle, rle_area

IMAGE = {"id": 1, "file_name": "a.png", "height": 20, "width": 30}
BOX = [2, 3, 12, 11]


def only_fault(data, kind, *, repaired=True):
    (fault,) = data.faults
    assert (fault.kind, fault.repaired) == (kind, repaired)
    return fault


def assert_square(data, *, crowd: bool = False) -> None:
    """One image with the one object."""
    (sample,) = data.samples
    np.testing.assert_array_equal(sample.boxes, [BOX])
    np.testing.assert_array_equal(sample.areas, [80])
    assert rle_area(sample.rles[0]) == 80 and sample.crowd.tolist() == [crowd]


# ── ids and numbers ──


@pytest.mark.parametrize("image_id", ["1", 1.0, "scan_0001", "4b5f-11ee"])
def test_ids_of_images_are_text_or_have_a_point(write_coco, image_id):
    data = load_dataset(write_coco([annotation(1, image_id)], images=[{**IMAGE, "id": image_id}]))
    assert_square(data)
    assert [fault.kind for fault in data.faults] == ([] if image_id in ("1", 1.0) else ["id is text"])


def test_text_ids_are_numbered_behind_the_numbers(write_coco):
    images = [{**IMAGE, "id": "x"}, {**IMAGE, "id": 7, "file_name": "b.png"}, {**IMAGE, "id": "y", "file_name": "c.png"}]
    sizes = dict.fromkeys(("a.png", "b.png", "c.png"), (20, 30))
    data = load_dataset(write_coco([annotation(1, "y")], images=images, sizes=sizes))
    assert [(sample.image_id, len(sample.labels)) for sample in data.samples] == [(8, 0), (7, 0), (9, 1)]
    assert only_fault(data, "id is text").message.startswith("2 images")


@pytest.mark.parametrize("annotation_id", [None, "8d0f6a04-5b0e-4b25", ""])
def test_annotations_without_an_id_are_numbered(write_coco, annotation_id):
    entries = [annotation(5), annotation(annotation_id, category_id=3)]
    entries[1]["id"] = annotation_id
    if annotation_id is None:
        del entries[1]["id"]
    data = load_dataset(write_coco(entries))
    assert data.samples[0].annotation_ids.tolist() == [5, 6]
    only_fault(data, "annotation without id")


def test_ids_and_counts_with_a_point_are_whole_numbers(write_coco):
    counts = [2 * 20 + 3, *[8, 12] * 9, 8, 20 * 18 + 9]
    segmentation = {"size": [20.0, 30.0], "counts": [float(count) for count in counts]}
    entry = annotation(1.0, 1.0, category_id=7.0, segmentation=segmentation)
    assert_square(load_dataset(write_coco([entry]), strict=True))


@pytest.mark.parametrize("side", [-1, 0, None])
def test_a_size_that_is_none_is_missing(write_coco, side):
    data = load_dataset(write_coco([annotation(1)], images=[{**IMAGE, "height": side, "width": side}]))
    assert_square(data)
    only_fault(data, "missing size")


# ── masks and boxes ──


@pytest.mark.parametrize("segmentation", [SQUARE[0], np.reshape(SQUARE[0], (-1, 2)).tolist()])
def test_a_flat_polygon_is_one_polygon(write_coco, segmentation):
    data = load_dataset(write_coco([annotation(1, segmentation=segmentation)]))
    assert_square(data)
    only_fault(data, "flat polygon")


def test_a_segmentation_may_be_json_in_json(write_coco):
    assert_square(load_dataset(write_coco([annotation(1, segmentation=json.dumps(SQUARE))]), strict=True))


def test_fractions_are_taken_for_what_they_are(write_coco):
    polygon = (np.reshape(SQUARE[0], (-1, 2)) / (30, 20)).ravel().tolist()
    bbox = [2 / 30, 3 / 20, 10 / 30, 8 / 20]
    data = load_dataset(write_coco([annotation(1, segmentation=[polygon], bbox=bbox)]))
    assert_square(data)
    assert "fractions" in only_fault(data, "fractions").message


def test_one_pixel_in_the_corner_is_no_fraction(write_coco):
    data = load_dataset(
        write_coco([annotation(1, segmentation=[[0, 0, 1, 0, 1, 1, 0, 1]], bbox=[0, 0, 1, 1], area=1)]), strict=True
    )
    np.testing.assert_array_equal(data.samples[0].boxes, [[0, 0, 1, 1]])


def test_a_box_that_is_off_its_mask_is_measured(write_coco):
    data = load_dataset(write_coco([annotation(1, bbox=[2, 6, 10, 8])]))  # IoU 5/11: y counted from below, say
    assert_square(data)
    only_fault(data, "box contradicts its mask")


def test_an_area_that_cannot_be_is_measured(write_coco):
    data = load_dataset(write_coco([annotation(1, area=0.4)]))
    assert_square(data)
    only_fault(data, "area contradicts its mask")


def test_an_object_with_a_box_alone_is_an_ignored_region(write_coco):
    for segmentation in (None, [], "no mask", [[1, 2]]):
        data = load_dataset(write_coco([annotation(1, segmentation=segmentation)]))
        assert_square(data, crowd=True)
        assert not data.faults[0].repaired
        with pytest.raises(ValueError, match="no object to train on in 1 images: all 1 objects are crowd regions") as error:
            data.check_trainable()
        assert "CVAT" not in f"{error.value}{data.summary()}"  # nobody marked it so


def test_an_object_that_was_drawn_twice_is_one(write_coco):
    mask = np.zeros((20, 30), bool)
    mask[3:11, 2:12] = True
    rle = {"size": [20, 30], "counts": mask_to_rle(mask)["counts"].decode()}
    data = load_dataset(write_coco([annotation(1), annotation(2, segmentation=rle)]))
    assert_square(data)
    assert only_fault(data, "object drawn twice").annotation_id == 2
    mask[3, 2:10] = False  # IoU 0.9
    rle = {"size": [20, 30], "counts": mask_to_rle(mask)["counts"].decode()}
    data = load_dataset(write_coco([annotation(1), annotation(2, segmentation=rle, area=72)]), strict=True)
    assert len(data.samples[0].labels) == 2


# ── crowds ──


def test_crowds_alone_are_refused_and_can_be_read_as_objects(write_coco):
    path = write_coco([annotation(1, iscrowd=1)])
    data = load_dataset(path, strict=True)
    with pytest.raises(ValueError, match="all 1 objects are crowd regions.*--crowds-are-objects"):
        data.check_trainable()
    objects = load_dataset(path, crowds_are_objects=True, strict=True)
    assert_square(objects)
    objects.check_trainable()


def test_many_crowds_are_told(write_coco):
    crowds = [annotation(k, iscrowd=1) for k in (2, 3)]
    assert "2 of 3 objects are crowd regions" in load_dataset(write_coco([annotation(1), *crowds])).summary()
    assert "of which nothing is learned" not in load_dataset(write_coco([annotation(1), crowds[0]])).summary()


# ── classes ──


@pytest.mark.parametrize("name", ["_background_", "background", "__ignore__", "Background"])
def test_the_background_is_no_class(write_coco, name):
    categories = [{"id": 0, "name": name}, {"id": 7, "name": "cat"}]
    data = load_dataset(write_coco([annotation(1)], categories=categories))
    assert data.categories == (Category(7, "cat"),)
    only_fault(data, "class without objects")
    drawn = load_dataset(write_coco([annotation(1, category_id=0)], categories=categories), strict=True)
    assert [category.name for category in drawn.categories] == [name, "cat"]


def test_a_root_that_others_belong_to_is_no_class(write_coco):
    categories = [
        {"id": 0, "name": "boxes-7fk2", "supercategory": "none"},
        {"id": 7, "name": "cat", "supercategory": "boxes-7fk2"},
        {"id": 3, "name": "person", "supercategory": "person"},  # COCO's own, perhaps without an object here
    ]
    data = load_dataset(write_coco([annotation(1)], categories=categories))
    assert data.categories == (Category(7, "cat"), Category(3, "person"))
    only_fault(data, "class without objects")


def test_classes_that_are_asked_for_are_the_classes(write_coco):
    path = write_coco([annotation(1), annotation(2, category_id=3)])
    data = load_dataset(path, classes=["dog"], strict=True)
    assert data.categories == (Category(3, "dog"),)
    assert data.samples[0].annotation_ids.tolist() == [2]
    assert load_dataset(path, classes=["dog", "cat"]).samples[0].labels.tolist() == [1, 0]
    with pytest.raises(ValueError, match="has no class 'fox'; its classes are 'cat', 'dog'"):
        load_dataset(path, classes=["fox"])


# ── images ──


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("annotations/instances_default.json", "images"),
        ("annotations/instances_default.json", "images/default"),
        ("annotations/instances_train2017.json", "train2017"),
        ("annotations/instances_train2017.json", "images/train2017"),
        ("annotations/train.json", "train"),
        ("train/_annotations.coco.json", "train"),
        ("result.json", "images"),
        ("data/labels.json", "data/data"),  # FiftyOne
    ],
)
def test_images_are_found_where_tools_put_them(write_coco, tmp_path, file, folder):
    made = write_coco([annotation(1)], folder=f"set/{folder}")
    (tmp_path / "set" / file).parent.mkdir(exist_ok=True, parents=True)
    path = made.rename(tmp_path / "set" / file)
    assert_square(load_dataset(path, strict=True))


@pytest.mark.parametrize("name", ["data\\a.png", ".\\data\\a.png"])
def test_backslashes_separate(write_coco, name):
    assert_square(load_dataset(write_coco([annotation(1)], images=[{**IMAGE, "file_name": name}]), strict=True))


@pytest.mark.parametrize(
    "name", ["/home/somebody/set/a.png", "..\\..\\media\\a.png", "/data/local-files/?d=set/a.png", "https://host/x/a.png?sig=1"]
)
def test_a_name_of_another_machine_is_found_by_its_last_part(write_coco, name):
    data = load_dataset(write_coco([annotation(1)], images=[{**IMAGE, "file_name": name}]))
    assert_square(data)
    assert "data/a.png" in only_fault(data, "image found by name").message


def test_a_last_part_of_several_files_is_asked_about(write_coco, tmp_path):
    path = write_coco([annotation(1)], images=[{**IMAGE, "file_name": "/elsewhere/a.png"}], folder="data/x")
    write_image(tmp_path / "data/y/a.png")
    with pytest.raises(ValueError, match="may be any of 2 files.*--images"):
        load_dataset(path)


def test_lvis_has_addresses_for_names(write_coco):
    entry = {"id": 1, "coco_url": "http://images.cocodataset.org/train2017/a.png", "height": 20, "width": 30}
    marks = {"not_exhaustive_category_ids": [7, 77], "neg_category_ids": ["none"]}
    data = load_dataset(write_coco([annotation(1)], images=[entry | marks], folder="train2017"))
    assert_square(data)
    assert "not_exhaustive_category_ids" in only_fault(data, "not exhaustive").message
    (sample,) = data.samples
    assert (sample.absent, sample.incomplete) == ((), (0,))  # labels; what is no class of the file says nothing


def test_one_file_under_two_ids_is_one_image(write_coco):
    other = annotation(2, 2, segmentation=[[15, 3, 25, 3, 25, 11, 15, 11]], bbox=[15, 3, 10, 8])
    data = load_dataset(write_coco([annotation(1), other], images=[IMAGE, {**IMAGE, "id": 2}]))
    (sample,) = data.samples
    assert sample.image_id == 1 and sample.annotation_ids.tolist() == [1, 2]
    assert "images 1, 2" in only_fault(data, "duplicate image").message


def test_two_names_that_only_end_alike_are_not_put_together(write_coco):
    images = [{**IMAGE, "file_name": "video1/a.png"}, {**IMAGE, "id": 2, "file_name": "video2/a.png"}]
    with pytest.raises(ValueError, match="2 × duplicate image"):
        load_dataset(write_coco([annotation(1)], images=images))


# ── image files ──


def write_cut_jpeg(path) -> None:
    """A photograph of a camera that stopped before the end marker."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(file, "JPEG")
    path.write_bytes(file.getvalue().removesuffix(b"\xff\xd9"))


def test_a_jpeg_that_lacks_its_end_is_used_and_told(write_coco, tmp_path):
    path = write_coco([annotation(1)], images=[{**IMAGE, "file_name": "a.jpg"}], sizes={})
    write_cut_jpeg(tmp_path / "data" / "a.jpg")
    data = load_dataset(path)
    assert_square(data)
    assert "end marker alone is missing" in only_fault(data, "image file without its end").message
    assert not load_dataset(path, verify_images=False).faults  # which decodes nothing
    write_cut_jpeg(tmp_path / "maps/images/b.jpg")
    (tmp_path / "maps/masks").mkdir()
    Image.fromarray(np.pad(np.full((4, 14), 3, np.uint8), 8)).save(tmp_path / "maps/masks/b.png")
    only_fault(load_dataset(tmp_path / "maps", masks="instances"), "image file without its end")
