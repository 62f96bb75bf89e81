"""Supervisely's projects."""

from __future__ import annotations

import base64
import io
import json
import zlib

import numpy as np
import pytest
from drawn import CAT, MASKS, SIZE, TREE, TREE_HOLE, assert_scene, found, write_images
from PIL import Image

from maskrcnn.data.dataset import load_dataset


def polygon(title: str, exterior: list, *interior: list) -> dict:
    return {"classTitle": title, "geometryType": "polygon", "points": {"exterior": exterior, "interior": list(interior)}}


def bitmap(title: str, mask: np.ndarray, origin: list[int]) -> dict:
    file = io.BytesIO()
    Image.fromarray(np.dstack([mask * np.uint8(255)] * 4)).save(file, "PNG")
    data = base64.b64encode(zlib.compress(file.getvalue())).decode()
    return {"classTitle": title, "geometryType": "bitmap", "bitmap": {"data": data, "origin": origin}}


OBJECTS = [polygon("cat", CAT), polygon("tree", TREE, TREE_HOLE), bitmap("dog", MASKS["dog"][25:36, 5:28], [5, 25])]


def write(folder, objects: list):
    write_images(folder / "ds0/img", "a.png")
    (folder / "ds0/ann").mkdir()
    content = {"size": {"height": SIZE[0], "width": SIZE[1]}, "tags": [], "objects": objects}
    (folder / "ds0/ann/a.png.json").write_text(json.dumps(content))
    (folder / "meta.json").write_text(json.dumps({"classes": [{"title": name} for name in ("tree", "cat", "dog")]}))
    return folder


def test_polygons_with_holes_and_bitmaps_are_objects(tmp_path):
    data = load_dataset(write(tmp_path, OBJECTS), strict=True)
    assert [category.name for category in data.categories] == ["tree", "cat", "dog"]
    assert_scene(data)


def test_rectangles_count_their_last_pixels(tmp_path):
    box = {"classTitle": "cat", "geometryType": "rectangle", "points": {"exterior": [[4, 5], [19, 14]], "interior": []}}
    np.testing.assert_array_equal(found(load_dataset(write(tmp_path, [box]), strict=True))["cat"], MASKS["cat"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"classTitle": "cat", "geometryType": "point", "points": {"exterior": [[1, 1]]}},
        {"classTitle": "cat", "geometryType": "bitmap", "bitmap": {"data": "====", "origin": [0, 0]}},
        {"classTitle": "cat", "geometryType": "bitmap", "bitmap": {"data": "", "origin": [0.5, 0]}},
        {"classTitle": "cat", "geometryType": "bitmap"},
        polygon("cat", [[1, 1], [2, 2]]),
    ],
)
def test_an_object_that_cannot_be_used_is_reported(tmp_path, wrong):
    data = load_dataset(write(tmp_path, [*OBJECTS, wrong]))
    assert [fault.kind for fault in data.faults] == ["broken mask"]
    assert_scene(data)
