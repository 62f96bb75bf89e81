"""Cityscapes' folders."""

from __future__ import annotations

import json

import numpy as np
from drawn import CAT, MASKS, SIZE, TREE, filled, save, write_images

from maskrcnn.data.dataset import load_dataset
from maskrcnn.geometry.rle import rle_to_mask


def write(folder, split: str, number: int) -> None:
    values = np.full(SIZE, 7, np.uint16)  # road
    values[MASKS["cat"]] = 24000
    values[MASKS["tree"]] = 26003
    values[MASKS["dog"]] = 26  # cars that nobody told apart
    stem = f"town_00000{number}_000019"
    save(folder / f"gtFine/{split}/town/{stem}_gtFine_instanceIds.png", values)
    write_images(folder / f"leftImg8bit/{split}/town", f"{stem}_leftImg8bit.png")


def test_instances_are_objects_and_groups_are_crowd_regions(tmp_path):
    write(tmp_path, "train", 0)
    write(tmp_path, "val", 1)
    data = load_dataset(tmp_path, strict=True)
    assert len(data) == 2 and [category.name for category in data.categories][:3] == ["person", "rider", "car"]
    sample = data.samples[0]
    truth = {(0, False): "cat", (2, False): "tree", (2, True): "dog"}
    assert len(sample.labels) == len(truth)
    for label, crowd, rle in zip(sample.labels.tolist(), sample.crowd.tolist(), sample.rles):
        np.testing.assert_array_equal(rle_to_mask(rle), MASKS[truth[label, crowd]])


def test_a_split_is_read_alone(tmp_path):
    write(tmp_path, "train", 0)
    write(tmp_path, "val", 1)
    (sample,) = load_dataset(tmp_path, split="val", strict=True).samples
    assert sample.file_name.startswith("town_000001")


def test_polygons_are_painted_in_their_order_where_there_are_no_instance_ids(tmp_path):
    write(tmp_path, "train", 0)
    ids = next(tmp_path.glob("gtFine/*/*/*"))
    lid = [[4, 5], [20, 5], [20, 8], [4, 8]]  # of a stuff class, above the person's head
    objects = [
        {"label": "road", "polygon": [[0, 0], [60, 0], [60, 40], [0, 40]]},
        {"label": "person", "polygon": CAT},
        {"label": "cargroup", "polygon": TREE},
        {"label": "sky", "polygon": lid},
        {"label": "car", "polygon": [[1, 1]]},
        {"label": "bus", "polygon": TREE, "deleted": 1},
    ]
    content = {"imgHeight": SIZE[0], "imgWidth": SIZE[1], "objects": objects}
    polygons = ids.with_name(ids.name.replace("_instanceIds.png", "_polygons.json"))
    polygons.write_text(json.dumps(content))
    assert len(load_dataset(tmp_path, strict=True).samples[0].labels) == 3  # of the instance ids
    ids.unlink()
    data = load_dataset(tmp_path)
    (sample,) = data.samples
    assert [(data.categories[label].name, crowd) for label, crowd in zip(sample.labels, sample.crowd.tolist())] == [
        ("person", False), ("car", True)
    ]  # fmt: skip
    np.testing.assert_array_equal(rle_to_mask(sample.rles[0]), filled(CAT) & ~filled(lid))
    assert [fault.kind for fault in data.faults] == ["broken mask"]
    polygons.write_text(json.dumps(content | {"imgHeight": 5}))
    write(tmp_path, "val", 1)
    assert "says height × width 5×60" in load_dataset(tmp_path).faults[0].message
