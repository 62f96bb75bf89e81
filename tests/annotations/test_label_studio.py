"""Label Studio's JSON export."""

from __future__ import annotations

import json

import numpy as np
import pytest
from drawn import CAT, DOG, MASKS, SIZE, TREE, assert_scene, found, write_images

from maskrcnn.annotations.brush_rle import decode_brush, encode_brush
from maskrcnn.data.dataset import load_dataset


def percent(corners: list[list[float]]) -> list[list[float]]:
    return [[100 * x / SIZE[1], 100 * y / SIZE[0]] for x, y in corners]


def region(number: int, kind: str, label: str | None, **value) -> dict:
    labels = {} if label is None else {kind: [label]}
    sides = {"original_width": SIZE[1], "original_height": SIZE[0], "image_rotation": 0}
    return {"id": f"r{number}", "type": kind, "from_name": "label", "to_name": "image", "value": value | labels} | sides


POLYGONS = [
    region(k, "polygonlabels", name, points=percent(corners), closed=True)
    for k, (name, corners) in enumerate((("cat", CAT), ("tree", TREE), ("dog", DOG[0]), ("dog", DOG[1])))
]


def write(folder, results: list, name: str = "/data/upload/1/ab12cd34-a.png", **fields):
    task = {"id": 1, "data": {"image": name}, "annotations": [{"id": 1, "result": results}]} | fields
    write_images(folder, "a.png")
    (folder / "project-1-at-2025.json").write_text(json.dumps([task]))
    return folder


@pytest.mark.parametrize(
    "name", ["/data/upload/1/ab12cd34-a.png", "/data/local-files/?d=set%2Fa.png", "s3://bucket/set/a.png", "C:\\set\\a.png"]
)
def test_polygons_are_read_wherever_the_image_was(tmp_path, name):
    assert_scene(load_dataset(write(tmp_path, POLYGONS, name), strict=True), holes=False, parts=False)


def brush_by_hand(mask: np.ndarray) -> list[int]:
    """The bits as the format's description has them: literal words only, no runs."""
    words = np.repeat(mask.ravel(), 4) * 255
    bits = f"{words.size:032b}" + f"{7:05b}" + "".join(f"{length - 1:04b}" for length in (3, 4, 8, 16))
    for start in range(0, words.size, 256):
        chunk = words[start : start + 256].tolist()
        bits += "0" + "10" + f"{len(chunk) - 1:08b}" + "".join(f"{word:08b}" for word in chunk)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[k : k + 8], 2) for k in range(0, len(bits), 8)]


def test_brush_masks_are_read_as_the_format_describes_them(tmp_path):
    results = [
        region(k, "brushlabels", name, format="rle", rle=brush_by_hand(mask)) for k, (name, mask) in enumerate(MASKS.items())
    ]
    assert_scene(load_dataset(write(tmp_path, results), strict=True))


def test_encoding_undoes_decoding(tmp_path):
    rng = np.random.default_rng(0)
    for size in ((1, 1), (3, 5), (200, 300)):
        mask = rng.random(size) < 0.5
        np.testing.assert_array_equal(decode_brush(encode_brush(mask), *size).reshape(size), mask)
    whole = np.ones((300, 300), bool)  # runs longer than one token
    np.testing.assert_array_equal(decode_brush(encode_brush(whole), 300, 300).reshape(300, 300), whole)


@pytest.mark.parametrize("rle", [[], [1, 2, 3], ["a"], [300], encode_brush(np.ones((3, 3), bool)), 7 * [255]])
def test_damaged_brush_masks_are_reported(tmp_path, rle):
    results = [*POLYGONS, region(9, "brushlabels", "cat", format="rle", rle=rle)]
    data = load_dataset(write(tmp_path, results))
    assert [fault.kind for fault in data.faults] == ["broken mask"]
    assert_scene(data, holes=False, parts=False)


def test_rectangles_turn_about_their_corner_and_ellipses_are_drawn(tmp_path):
    results = [
        region(0, "rectanglelabels", "cat", x=100 * 20 / 60, y=100 * 5 / 40, width=100 * 10 / 60, height=40, rotation=90),
        region(1, "ellipselabels", "dog", x=50, y=50, radiusX=10, radiusY=10, rotation=0),
    ]
    masks = found(load_dataset(write(tmp_path, results), strict=True))
    np.testing.assert_array_equal(masks["cat"], MASKS["cat"])
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    inside = ((x - 30) / 6) ** 2 + ((y - 20) / 4) ** 2 <= 1
    assert np.count_nonzero(masks["dog"] & inside) / np.count_nonzero(masks["dog"] | inside) > 0.9


def test_shape_and_label_may_come_apart(tmp_path):
    shape = region(1, "polygon", None, points=percent(CAT))
    label = region(1, "labels", "cat")
    assert set(found(load_dataset(write(tmp_path, [shape, label]), strict=True))) == {"cat"}


def test_of_several_annotations_ground_truth_is_used(tmp_path):
    annotations = [
        {"result": POLYGONS, "ground_truth": True},
        {"result": POLYGONS[:1]},
        {"result": [], "was_cancelled": True},
    ]
    data = load_dataset(write(tmp_path, [], annotations=annotations))
    assert_scene(data, holes=False, parts=False)
    assert [fault.kind for fault in data.faults] == ["several annotations"]


def test_json_min_is_read_and_tasks_without_annotations_are_counted(tmp_path):
    write_images(tmp_path, "a.png", "b.png")
    regions = [{**entry["value"], "original_width": SIZE[1], "original_height": SIZE[0]} for entry in POLYGONS]
    rows = [{"image": "/data/upload/1/a.png", "label": regions, "annotator": 1}, {"image": "b.png", "id": 3}]
    (tmp_path / "project.json").write_text(json.dumps(rows))
    data = load_dataset(tmp_path)
    assert_scene(data, holes=False, parts=False)
    assert len(data) == 1 and [fault.kind for fault in data.faults] == ["image without annotations"]
