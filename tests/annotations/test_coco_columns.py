"""Annotations in columns, part by part: the same objects and the same faults as one by one."""

from __future__ import annotations

import copy
import gc
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_data import annotation, write_image

from maskrcnn.annotations import coco, json_parts, place
from maskrcnn.annotations.coco_columns import Columns, ImagePlace, UnusualError
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.place import ReadOptions
from maskrcnn.data.dataset import load_dataset

CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}, {"id": 9, "name": "cat"}]
RLE = {"size": [20, 30], "counts": [43, 8, 12, 8, 529]}
SHAPES = [
    [[2, 3, 12, 3, 12, 11, 2, 11]],
    [[2.5, 3, 12, 3.25, 12, 11, 2, 11], [20, 2, 26, 2, 26, 8]],
    [[20, 5, 45, 5, 45, 15, 20, 15]],  # reaches out of its image
    RLE,
    {**RLE, "counts": [43.0, 8, 12, 8, 529]},
    {**RLE, "size": [30, 20]},
    [],
    None,
    [2, 3, 12, 3, 12, 11],
    [[2, 3], [12, 3], [12, 11]],
    [[2, 3, 12, 3]],
    [[2, 3, 12, 3], [2, 3, 12, 3, 12, 11, 2, 11]],
    [[100, 100, 110, 100, 110, 110]],
    [[0.1, 0.1, 0.5, 0.1, 0.5, 0.5]],
    [["2", 3, 12, 3, 12, 11]],
    "[[2, 3, 12, 3, 12, 11, 2, 11]]",
    [[2, 3, 12, 3, float("inf"), 11]],
    [[10**400, 3, 12, 3, 12, 11]],
]
BOXES = [
    [2, 3, 10, 8], [2, 3, 10.5, 8], [20, 5, 25, 10], [20, 5, 10, 10], [3, 2, 2, 8], None, [2, 3, 0, 8], [2, 3, 10],
    ["2", 3, 10, 8], [0.1, 0.1, 0.4, 0.4], [2, 3, 10, 10**400], [-5, 3, 17, 8], [200, 3, 10, 8], [2, 3, 24, 8],
]  # fmt: skip
odd = {
    "segmentation": st.sampled_from(SHAPES),
    "bbox": st.sampled_from(BOXES),
    "area": st.sampled_from([80, 80.0, 10, 5000, 0, -1, None, "80"]),
    "iscrowd": st.sampled_from([0, 1, None, 2, True, "1"]),
    "category_id": st.sampled_from([7, 3, 9, 44]),
    "image_id": st.sampled_from([1, 2, 3, 4, 5, 66]),
}
usual = {key: st.just(value) for key, value in annotation(1).items() if key in odd} | {
    "segmentation": st.sampled_from(SHAPES[:2]),
    "image_id": st.sampled_from([1, 2]),
}
entries = st.lists(st.fixed_dictionaries(odd) | st.fixed_dictionaries(usual), max_size=25)


def content_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    images = [{"id": k, "file_name": f"{k}.png", "height": 20, "width": 30} for k in range(1, 6)]
    images[2] |= {"height": 30, "width": 20}  # another size than the file's
    images[3] |= {"file_name": "gone.png"}
    images[4] |= {"file_name": "1.png", "height": None}  # listed before
    annotations = [{"id": 10 * k, **row} for k, row in enumerate(rows, start=1)]
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("columns")
    for number in (1, 2, 3):
        write_image(path / f"{number}.png")
    return path


def assert_same(one: Annotations, other: Annotations) -> None:
    assert one.categories == other.categories
    assert sorted(map(repr, one.faults)) == sorted(map(repr, other.faults))
    assert len(one.samples) == len(other.samples)
    for mine, theirs in zip(one.samples, other.samples):
        assert (mine.image_id, mine.path, mine.size) == (theirs.image_id, theirs.path, theirs.size)
        order, their_order = np.argsort(mine.annotation_ids), np.argsort(theirs.annotation_ids)
        for name in ("annotation_ids", "labels", "crowd", "areas", "boxes"):
            values, their_values = getattr(mine, name), getattr(theirs, name)
            assert values.dtype == their_values.dtype
            np.testing.assert_array_equal(values[order], their_values[their_order], err_msg=name)
        assert [mine.rles[k] for k in order] == [theirs.rles[k] for k in their_order]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=entries, crowds=st.booleans(), classes=st.sampled_from([None, ("dog",), ("dog", "cat")]))
def test_columns_give_what_reading_one_by_one_gives(folder, rows, crowds, classes):
    content = content_of(rows)
    options = ReadOptions(crowds_are_objects=crowds, classes=classes, verify_images=False)
    columns = coco._read_in_columns(lambda: iter(content.items()), folder / "a.json", options)
    assert_same(columns, coco._read_one_by_one(copy.deepcopy(content), folder / "a.json", options))


@pytest.mark.parametrize("order", [("images", "annotations", "categories"), ("annotations", "categories", "images")])
def test_large_files_are_read_part_by_part_in_any_order_of_their_lists(folder, monkeypatch, order):
    content = content_of([annotation(1, image_id=1 + k % 2, segmentation=SHAPES[k % 2], category_id=3) for k in range(40)])
    del content["images"][2:]
    path = folder / "large.json"
    path.write_text(json.dumps({"info": {"year": 2017}, **{key: content[key] for key in order}}))
    whole = load_dataset(path)
    monkeypatch.setattr(place, "LARGE_JSON", 0)
    monkeypatch.setattr(json_parts, "PART", 500)
    monkeypatch.setattr(place.Place, "json", property(lambda _: pytest.fail("it was read as a whole")))
    parts = load_dataset(path)
    both = [Annotations(data.samples, data.categories, data.faults) for data in (whole, parts)]
    assert_same(*both)
    assert sum(len(sample.labels) for sample in parts.samples) == 2  # of 20 twins in each image one is used


@pytest.mark.parametrize("is_on", [True, False])
def test_garbage_collection_is_left_as_it_was(folder, monkeypatch, is_on):
    seen = []
    monkeypatch.setattr(coco, "locate_images", lambda *_: seen.append(gc.isenabled()) or pytest.fail("stopped"))
    (gc.enable if is_on else gc.disable)()
    try:
        with pytest.raises(pytest.fail.Exception):
            coco.read_coco(content_of([annotation(1)]), folder / "a.json")
        assert seen == [True] and gc.isenabled() == is_on
    finally:
        gc.enable()


def test_a_large_file_that_is_no_data_set_says_why(folder, monkeypatch):
    monkeypatch.setattr(place, "LARGE_JSON", 0)
    path = folder / "part.json"
    content = content_of([annotation(1)])
    path.write_text(json.dumps(content)[:-80])
    with pytest.raises(ValueError, match=r"part\.json as JSON: it ends"):
        load_dataset(path)
    del content["categories"]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="missing: categories"):
        load_dataset(path)
    path.write_text(json.dumps({"images": content["images"], "categories": []}))
    with pytest.raises(ValueError, match="COCO without annotations, as of a test set"):
        load_dataset(path)


@pytest.mark.parametrize(
    "changes", [{"id": "7"}, {"id": 7.0}, {"id": 2**70}, {"id": None}, {"image_id": "1"}, {"category_id": True}]
)
def test_ids_that_are_none_are_left_to_the_slower_way(folder, changes):
    with pytest.raises(UnusualError):
        Columns({1: ImagePlace(0, (20, 30))}).add([annotation(1), annotation(2, **changes)])
    twice = Columns({1: ImagePlace(0, (20, 30))})
    twice.add([annotation(5)])
    twice.add([annotation(5)])
    with pytest.raises(UnusualError):
        twice.check_ids()
