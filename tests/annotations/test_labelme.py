"""LabelMe's JSON files."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from drawn import CAT, DOG, MASKS, SIZE, TREE, assert_scene, found, write_images

from maskrcnn.annotations import labelme
from maskrcnn.annotations.outlines import base64_of
from maskrcnn.data.dataset import load_dataset


def shape(label: str, points: list, kind: str = "polygon", **fields) -> dict:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}} | fields


TREE_MASK = base64_of(MASKS["tree"][4:24, 30:50])
SHAPES = [
    shape("cat", CAT),
    shape("tree", [[30.0, 4.0], [49.0, 23.0]], "mask", mask=TREE_MASK),
    shape("dog", DOG[0], group_id=3),
    shape("dog", DOG[1], group_id=3),
]


def write(folder, name: str = "a", shapes: list | None = None, **fields) -> None:
    content = {"version": "5.5.0", "flags": {}, "shapes": SHAPES if shapes is None else shapes, "imagePath": f"{name}.png"}
    content |= {"imageData": None, "imageHeight": SIZE[0], "imageWidth": SIZE[1]} | fields
    folder.mkdir(exist_ok=True, parents=True)
    (folder / f"{name}.json").write_text(json.dumps(content))


def test_polygons_masks_and_groups_are_objects(tmp_path):
    write_images(tmp_path, "a.png", "b.png")
    write(tmp_path)
    write(tmp_path, "b", [])
    data = load_dataset(tmp_path, strict=True)
    assert len(data) == 2 and len(data.samples[1].labels) == 0
    assert_scene(data)
    assert_scene(load_dataset(tmp_path / "a.json", strict=True))


def test_rectangles_and_circles_are_drawn(tmp_path):
    write_images(tmp_path, "a.png")
    write(tmp_path, shapes=[shape("cat", [[20, 15], [4, 5]], "rectangle"), shape("sun", [[30, 20], [38, 20]], "circle")])
    masks = found(load_dataset(tmp_path, strict=True))
    np.testing.assert_array_equal(masks["cat"], MASKS["cat"])
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    disc = (x - 30) ** 2 + (y - 20) ** 2 <= 64
    assert np.count_nonzero(masks["sun"] & disc) / np.count_nonzero(masks["sun"] | disc) > 0.95


@pytest.mark.parametrize("path", [r"..\photos\a.png", "C:\\Users\\me\\a.png", "/home/me/a.png", "renamed.png"])
def test_images_are_found_whatever_the_machine(tmp_path, path):
    write_images(tmp_path, "a.png")
    write(tmp_path, imagePath=path)
    assert_scene(load_dataset(tmp_path, strict=True))


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (shape("cat", [[1, 1], [5, 5]], "line"), "broken mask"),
        (shape("cat", [[1, 1], [5, 5]]), "broken mask"),
        (shape("cat", [[1, 1], [5, "x"], [3, 3]]), "broken mask"),
        (shape("cat", [[1, 1], [2, 2]], "mask", mask="no png"), "broken mask"),
        (shape("cat", [[1e9, 1], [5, 5], [5, 1]]), "broken mask"),
        (shape("cat", [[100, 100], [105, 100], [105, 105]]), "empty mask"),
        ({"points": TREE}, "broken annotation"),
    ],
)
def test_a_shape_that_cannot_be_used_is_reported(tmp_path, wrong, kind):
    write_images(tmp_path, "a.png")
    write(tmp_path, shapes=[*SHAPES, wrong])
    data = load_dataset(tmp_path)
    assert [fault.kind for fault in data.faults] == [kind]
    assert_scene(data)


def test_an_image_of_another_size_is_left_out(tmp_path):
    write_images(tmp_path, "a.png", "b.png")
    write(tmp_path, imageHeight=SIZE[1], imageWidth=SIZE[0])
    write(tmp_path, "b")
    data = load_dataset(tmp_path)
    assert [sample.file_name for sample in data.samples] == ["b.png"]
    assert "EXIF" in data.faults[0].message


def test_an_image_that_is_in_its_json_alone_is_unpacked_to_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MASKRCNN_HOME", str(tmp_path / "home"))
    write_images(tmp_path / "data", "b.png")
    write_images(tmp_path, "elsewhere.png")
    data = base64.b64encode((tmp_path / "elsewhere.png").read_bytes()).decode()
    write(tmp_path / "data", imageData=data, imagePath="..\\photos\\a.png")
    write(tmp_path / "data", "b", imageData=data)
    before = {path.name for path in (tmp_path / "data").iterdir()}
    for _ in range(2):
        read = load_dataset(tmp_path / "data")
        assert_scene(read)
        assert [(fault.kind, fault.repaired) for fault in read.faults] == [("image inside its JSON", True)]
        assert Path(read.samples[0].path).read_bytes() == (tmp_path / "elsewhere.png").read_bytes()
        assert Path(read.samples[1].path) == tmp_path / "data/b.png"
    assert {path.name for path in (tmp_path / "data").iterdir()} == before
    assert len(list((tmp_path / "home/labelme").iterdir())) == 1


@pytest.mark.parametrize(
    ("data", "words"), [("not base64", "is no base64"), ("aGVsbG8=", "unreadable image"), ("A" * 40, "up to 30 are read")]
)
def test_what_a_json_brings_along_may_be_no_image(tmp_path, monkeypatch, data, words):
    monkeypatch.setenv("MASKRCNN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(labelme, "MAX_EMBEDDED", 30)
    write(tmp_path, imageData=data)
    with pytest.raises(ValueError, match=words):
        load_dataset(tmp_path)
