"""VGG Image Annotator's files: what is read, and every fault that is found."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from small_data import write_image

from maskrcnn.annotations.objects import OBJECT
from maskrcnn.annotations.via import is_via
from maskrcnn.config.model import Category
from maskrcnn.data.dataset import load_dataset
from maskrcnn.geometry.rle import rle_area, rle_to_mask

SQUARE = {"name": "polygon", "all_points_x": [2, 12, 12, 2], "all_points_y": [3, 3, 11, 11]}


def region(shape: dict[str, Any] | None = None, **attributes: Any) -> dict[str, Any]:
    return {"shape_attributes": SQUARE if shape is None else shape, "region_attributes": attributes}


@pytest.fixture
def write_via(tmp_path):
    """Writes a VIA export of images of 20×30, {file name: regions}, and gives its folder."""

    def write(images: dict[str, Any], *, wrap: bool = False, images_there: bool = True, name: str = "via_region_data.json"):
        content = {}
        for file_name, regions in images.items():
            if images_there:
                write_image(tmp_path / file_name)
            content[f"{file_name}77"] = {"filename": file_name, "size": 77, "regions": regions, "file_attributes": {}}
        (tmp_path / name).write_text(json.dumps({"_via_settings": {}, "_via_img_metadata": content} if wrap else content))
        return tmp_path

    return write


def only_fault(dataset, kind: str, *, repaired: bool = False):
    (fault,) = dataset.faults
    assert (fault.kind, fault.repaired) == (kind, repaired)
    return fault


def only_mask(folder) -> np.ndarray:
    """The mask of the data set's one object, which has no fault."""
    (sample,) = load_dataset(folder, strict=True).samples
    (rle,) = sample.rles
    return rle_to_mask(rle)


def test_all_forms_of_the_file_give_one_data_set(write_via, tmp_path):
    regions = [region(kind="bug"), region({"name": "rect", "x": 20, "y": 5, "width": 6, "height": 4}, kind="ant")]
    forms = {"list": regions, "dict": {str(k): each for k, each in enumerate(regions)}}
    for wrap in (False, True):
        for form in forms.values():
            folder = write_via({"b.png": form, "a.png": []}, wrap=wrap)
            for path in (folder, folder / "via_region_data.json"):
                dataset = load_dataset(path, strict=True)
                assert dataset.categories == (Category(1, "ant"), Category(2, "bug"))
                first, second = dataset.samples
                assert (first.image_id, first.file_name, first.size) == (1, "b.png", (20, 30))
                np.testing.assert_array_equal(first.boxes, np.array([[2, 3, 12, 11], [20, 5, 26, 9]], np.float32))
                np.testing.assert_array_equal(first.labels, [1, 0])
                np.testing.assert_array_equal(first.areas, [80, 24])
                np.testing.assert_array_equal(first.annotation_ids, [1, 2])
                assert (second.image_id, len(second.labels)) == (2, 0)


def test_a_circle_and_an_ellipse_have_their_areas(write_via):
    rows, columns = np.mgrid[:20, :30] + 0.5
    circle = only_mask(write_via({"a.png": [region({"name": "circle", "cx": 15, "cy": 10, "r": 8})]}))
    inside = (columns - 15) ** 2 + (rows - 10) ** 2
    assert circle[inside < 7.2**2].all() and not circle[inside > 8.8**2].any()
    ellipse = {"name": "ellipse", "cx": 15, "cy": 10, "rx": 10, "ry": 4}
    flat = only_mask(write_via({"a.png": [region(ellipse)]}))
    assert abs(flat.sum() - np.pi * 40) < 8 and flat.any(axis=0).sum() > 17 > 9 > flat.any(axis=1).sum()
    upright = only_mask(write_via({"a.png": [region({**ellipse, "theta": np.pi / 2})]}))
    assert upright.any(axis=1).sum() > 17 > 9 > upright.any(axis=0).sum()
    falling = only_mask(write_via({"a.png": [region({**ellipse, "theta": np.pi / 4})]}))
    assert falling[14, 19] and falling[5, 10] and not falling[5, 19]  # clockwise as one sees it, for y runs down


def test_a_file_of_other_kind_is_not_via():
    assert is_via({"a": {"filename": "a.png", "regions": []}})
    for content in ({}, [], None, {"images": [], "annotations": [], "categories": []}, {"a": {"filename": "a.png"}}):
        assert not is_via(content)


def test_a_folder_with_several_files_is_asked_about(write_via):
    folder = write_via({"a.png": []})
    write_via({"a.png": []}, name="other.json")
    with pytest.raises(ValueError, match="several files of annotations, other.json, via_region_data.json"):
        load_dataset(folder)
    assert len(load_dataset(folder / "other.json", strict=True)) == 1


def test_a_folder_may_hold_a_coco_file(write_coco, tmp_path):
    write_coco([])
    assert len(load_dataset(tmp_path, strict=True)) == 1


def test_images_may_lie_elsewhere(write_via, tmp_path):
    folder = write_via({"a.png": []}, images_there=False)
    write_image(tmp_path / "elsewhere/a.png")
    assert len(load_dataset(folder, images=tmp_path / "elsewhere", strict=True)) == 1


# ── classes ──


def test_without_attributes_all_are_objects(write_via):
    dataset = load_dataset(write_via({"a.png": [region(), region({**SQUARE, "all_points_x": [3, 12, 12, 3]}, kind="")]}))
    assert dataset.categories == (OBJECT,) and dataset.faults == []
    assert len(dataset.samples[0].labels) == 2
    bug = (Category(5, "bug"),)
    assert dataset.with_categories(bug).categories == bug  # a model of one class knows what they are
    with pytest.raises(ValueError, match="'object'; possible classes: 'bug', 'ant'"):
        dataset.with_categories([*bug, Category(6, "ant")])


def test_the_attribute_of_most_regions_holds_the_class(write_via):
    bug = region({"name": "rect", "x": 1, "y": 1, "width": 5, "height": 5}, note="blurred", kind="bug")
    folder = write_via({"a.png": [bug, region(kind=" ant ")]})
    dataset = load_dataset(folder, strict=True)
    assert [category.name for category in dataset.categories] == ["ant", "bug"]
    by_note = load_dataset(folder, class_attribute="note")
    assert [category.name for category in by_note.categories] == ["blurred"]
    assert "one value of note; received None" in only_fault(by_note, "missing class").message
    with pytest.raises(ValueError, match="attribute 'color'; attributes with values: 'note', 'kind'"):
        load_dataset(folder, class_attribute="color")


def test_an_attribute_that_could_as_well_be_the_class_is_asked_about(write_via):
    folder = write_via({"a.png": [region(kind="bug", sex="male")]})
    with pytest.raises(ValueError, match="attributes kind, sex; name the class with --class-attribute"):
        load_dataset(folder)
    assert load_dataset(folder, class_attribute="sex", strict=True).categories == (Category(1, "male"),)
    assert load_dataset(write_via({"a.png": [region(kind="bug", tipo="bug")]}), strict=True).categories[0].name == "bug"


def test_a_check_box_names_the_class(write_via):
    dataset = load_dataset(write_via({"a.png": [region(kind={"bug": True, "ant": False})]}), strict=True)
    assert dataset.categories == (Category(1, "bug"),)
    both = load_dataset(write_via({"a.png": [region(kind={"bug": True, "ant": True})]}))
    only_fault(both, "several classes")


def test_class_attributes_are_vias_alone(write_coco):
    with pytest.raises(ValueError, match="Only VIA files have region attributes; received class_attribute='kind'"):
        load_dataset(write_coco([]), class_attribute="kind")


# ── faults ──


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"name": "point", "cx": 3, "cy": 4}, "received 'point'"),
        ({"name": "polyline", "all_points_x": [1, 2, 9], "all_points_y": [1, 5, 2]}, "received 'polyline'"),
        ({"name": "polygon", "all_points_x": [1, 2], "all_points_y": [1, 5]}, "at least 3 points; received 2"),
        ({"name": "polygon", "all_points_x": [1, 2, 9], "all_points_y": [1, 5]}, "as many numbers"),
        ({"name": "polygon", "all_points_x": [1, 2, "9"], "all_points_y": [1, 5, 2]}, "as many numbers"),
        ({"name": "polygon", "all_points_x": [1, 2, 1e300], "all_points_y": [1, 5, 2]}, "as many numbers"),
        ({"name": "rect", "x": 1, "y": 2, "width": 3}, "numbers x, y, width, height"),
        ({"name": "circle", "cx": 1, "cy": 2, "r": None}, "numbers cx, cy, r"),
        ({}, "received None"),
    ],
)
def test_a_shape_that_is_no_area_is_left_out(write_via, shape, words):
    dataset = load_dataset(write_via({"a.png": [region(), region(shape)]}))
    assert len(dataset.samples[0].labels) == 1
    fault = only_fault(dataset, "broken mask")
    assert words in fault.message and (fault.image_id, fault.annotation_id) == (1, 2)


@pytest.mark.parametrize("broken", [None, {"shape_attributes": []}, {"region_attributes": {}}])
def test_a_region_that_is_none_is_left_out(write_via, broken):
    dataset = load_dataset(write_via({"a.png": [broken, region()]}))
    assert only_fault(dataset, "broken annotation").annotation_id == 1
    np.testing.assert_array_equal(dataset.samples[0].annotation_ids, [2])


def test_a_region_that_reaches_out_is_cut_off(write_via):
    dataset = load_dataset(write_via({"a.png": [region({"name": "rect", "x": 25, "y": 5, "width": 9, "height": 4})]}))
    only_fault(dataset, "region outside of its image", repaired=True)
    np.testing.assert_array_equal(dataset.samples[0].boxes, [[25, 5, 30, 9]])
    rounded = {"name": "rect", "x": 25, "y": 5, "width": 5.9, "height": 4}
    assert load_dataset(write_via({"a.png": [region(rounded)]})).faults == []


def test_a_region_outside_is_left_out(write_via):
    dataset = load_dataset(write_via({"a.png": [region({"name": "circle", "cx": 99, "cy": 5, "r": 9})]}))
    only_fault(dataset, "empty mask")
    assert len(dataset.samples[0].labels) == 0


def test_a_region_that_comes_twice_counts_once(write_via):
    dataset = load_dataset(write_via({"a.png": [region(), region()]}))
    assert only_fault(dataset, "duplicate annotation").annotation_id == 2
    assert len(dataset.samples[0].labels) == 1


def test_images_that_are_not_there_are_left_out(write_via, tmp_path):
    folder = write_via({"a.png": [region()], "b.png": [region()]})
    (folder / "b.png").unlink()
    assert "(1 annotations)" in only_fault(load_dataset(folder), "missing image").message
    (folder / "b.png").write_bytes(b"no image")
    assert only_fault(load_dataset(folder), "unreadable image").image_id == 2
    dataset = load_dataset(write_via({"a.png": [], "../outside.png": []}))
    (tmp_path.parent / "outside.png").unlink()  # which other tests share
    only_fault(dataset, "file name outside of its folder")


@pytest.mark.parametrize("entry", [None, {"filename": 3, "regions": []}, {"filename": "b.png", "regions": "none"}])
def test_an_entry_that_is_no_image_is_left_out(tmp_path, entry):
    write_image(tmp_path / "a.png")
    entries = {"a": {"filename": "a.png", "size": 1, "regions": [region()]}, "b": entry}
    (tmp_path / "project.json").write_text(json.dumps({"_via_img_metadata": entries}))
    dataset = load_dataset(tmp_path)
    only_fault(dataset, "broken image entry")
    assert len(dataset) == 1


def test_of_two_entries_of_an_image_the_one_with_its_bytes_counts(tmp_path):
    write_image(tmp_path / "a.png")
    num_bytes = (tmp_path / "a.png").stat().st_size
    other = region({"name": "rect", "x": 20, "y": 5, "width": 6, "height": 4})

    def read(*entries: tuple[int, list[Any]]):
        content = {f"a.png{k}": {"filename": "a.png", "size": s, "regions": r} for k, (s, r) in enumerate(entries)}
        (tmp_path / "via.json").write_text(json.dumps(content))
        return load_dataset(tmp_path)

    chosen = read((num_bytes + 1, [other, region()]), (num_bytes, [other]))
    only_fault(chosen, "duplicate image", repaired=True)
    assert rle_area(chosen.samples[0].rles[0]) == 24 and len(chosen.samples[0].rles) == 1
    only_fault(read((1, [other]), (2, [other])), "duplicate image", repaired=True)
    with pytest.raises(ValueError, match="no usable image[^!]*listed 2 times; nobody knows"):
        read((1, [other]), (2, [region()]))


# ── the real one ──


@pytest.mark.parametrize(("part", "num_images", "num_bugs", "name"), [("train", 24, 520, "kudzu"), ("val", 16, 349, "object")])
def test_every_bug_is_there(shared_data, part, num_images, num_bugs, name):
    dataset = load_dataset(shared_data / "kudzu" / part, strict=True)
    assert (len(dataset), sum(len(sample.labels) for sample in dataset.samples)) == (num_images, num_bugs)
    assert [category.name for category in dataset.categories] == [name]
    content = json.loads((shared_data / "kudzu" / part / "via_region_data.json").read_text())
    outlines = [each["shape_attributes"] for entry in content.values() for each in entry["regions"]]
    areas = np.concatenate([sample.areas for sample in dataset.samples])
    for outline, area in zip(outlines, areas, strict=True):
        x, y = np.array(outline["all_points_x"]), np.array(outline["all_points_y"])
        exact = abs(np.sum(x * np.roll(y, 1) - y * np.roll(x, 1))) / 2
        perimeter = np.hypot(x - np.roll(x, 1), y - np.roll(y, 1)).sum()
        assert abs(area - exact) <= perimeter / 2
