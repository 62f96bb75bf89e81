"""Datumaro's JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from drawn import CAT, DOG, MASKS, SIZE, assert_scene, write_images

from maskrcnn.data.dataset import load_dataset
from maskrcnn.geometry.rle import mask_to_rle, rle_to_json

NAMES = ["tree", "cat", "dog"]


def flat(points: list[list[int]]) -> list[float]:
    return [float(value) for point in points for value in point]


def entry(kind: str, label: str, group: int = 0, **fields: Any) -> dict[str, Any]:
    return {"id": 0, "type": kind, "attributes": {}, "group": group, "label_id": NAMES.index(label), **fields}


SCENE = [
    entry("polygon", "cat", points=flat(CAT)),
    entry("mask", "tree", 1, rle=rle_to_json(mask_to_rle(MASKS["tree"]))),
    entry("bbox", "tree", 1, bbox=[30, 4, 20, 20]),
    *(entry("polygon", "dog", 2, points=flat(part)) for part in DOG),
    {"type": "label", "label_id": 0},
]


def write(folder, annotations: list[Any], **changes: Any):
    write_images(folder / "images/train", "a.png")
    image = {"path": "a.png", "size": list(SIZE)}
    items = [{"id": "a", "annotations": annotations, "image": image | changes}, "odd"]
    content = {
        "info": {},
        "categories": {"label": {"labels": [{"name": name, "parent": ""} for name in NAMES]}},
        "items": items,
    }
    (folder / "annotations").mkdir()
    (folder / "annotations/train.json").write_text(json.dumps(content))
    return folder


def test_polygons_masks_and_groups_are_objects(tmp_path):
    data = load_dataset(write(tmp_path, SCENE))
    assert [category.name for category in data.categories] == NAMES
    assert_scene(data)
    assert [fault.kind for fault in data.faults] == ["broken image entry"]


def test_boxes_alone_and_crowds_are_ignored_regions(tmp_path):
    crowd = entry("polygon", "cat", points=flat(CAT), attributes={"is_crowd": True})
    data = load_dataset(write(tmp_path, [entry("bbox", "tree", bbox=[30, 4, 20, 20]), crowd]))
    assert data.samples[0].crowd.tolist() == [True, True]
    np.testing.assert_array_equal(data.samples[0].boxes, [[30, 4, 50, 24], [4, 5, 20, 15]])
    assert [fault.kind for fault in data.faults] == ["broken image entry", "missing mask"]


@pytest.mark.parametrize(
    "wrong",
    [
        entry("polygon", "cat", points=[1.0, 2.0]),
        entry("mask", "cat", rle={"size": [3, 3], "counts": "1"}),
        entry("mask", "cat"),
        entry("bbox", "cat", bbox=[1, 2, "3", 4]),
        entry("cuboid_3d", "cat"),
    ],
)
def test_broken_shapes_are_named_and_the_rest_is_read(tmp_path, wrong):
    data = load_dataset(write(tmp_path, [wrong, SCENE[0]]))
    assert len(data.samples[0].labels) == 1
    fault = data.faults[1]
    assert fault.kind == "broken mask" and "annotation 1 ('cat')" in fault.message


def test_an_ellipse_fills_its_box_and_another_size_leaves_the_image_out(tmp_path):
    data = load_dataset(write(tmp_path / "one", [entry("ellipse", "cat", points=[10.0, 10.0, 30.0, 20.0])]))
    np.testing.assert_array_equal(data.samples[0].boxes, [[10, 10, 30, 20]])
    assert data.samples[0].areas[0] == pytest.approx(np.pi * 10 * 5, rel=0.03)
    with pytest.raises(ValueError, match="the JSON says height × width 60×40, the file has 40×60"):
        load_dataset(write(tmp_path / "two", SCENE, size=[60, 40]))


@pytest.mark.parametrize("group", [{}, [1], None, "x", 1e400, 0])
def test_a_group_that_is_no_number_joins_nothing(tmp_path, group):
    shapes = [entry("polygon", "dog", points=flat(part)) | {"group": group} for part in DOG]
    assert len(load_dataset(write(tmp_path, shapes)).samples[0].labels) == 2
