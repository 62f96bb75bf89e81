"""COCO panoptic."""

from __future__ import annotations

import json

import numpy as np
from drawn import MASKS, SIZE, assert_scene, save, write_images

from maskrcnn.config.model import Category
from maskrcnn.data.dataset import load_dataset


def test_things_are_objects_and_stuff_is_counted(tmp_path):
    ids = {"cat": 70_000, "tree": 300, "dog": 5, "grass": 9}
    values = np.full(SIZE, ids["grass"])
    for name, mask in MASKS.items():
        values[mask] = ids[name]
    colours = np.stack([values & 255, values >> 8 & 255, values >> 16], axis=2).astype(np.uint8)
    save(tmp_path / "panoptic_train/a.png", colours)
    write_images(tmp_path / "images", "a.jpg")
    categories = [{"id": 4 * k, "name": name, "isthing": int(name != "grass")} for k, name in enumerate(ids, start=1)]
    segments = [{"id": number, "category_id": 4 * k, "iscrowd": 0} for k, number in enumerate(ids.values(), start=1)]
    content = {
        "images": [{"id": 17, "file_name": "a.jpg"}],
        "annotations": [{"image_id": 17, "file_name": "a.png", "segments_info": segments}],
        "categories": categories,
    }
    (tmp_path / "panoptic_train.json").write_text(json.dumps(content))
    data = load_dataset(tmp_path)
    assert_scene(data)
    assert data.samples[0].image_id == 17
    assert data.categories == (Category(4, "cat"), Category(8, "tree"), Category(12, "dog"))
    assert [(fault.kind, fault.repaired) for fault in data.faults] == [("stuff", True)]
    segments.pop(0)
    (tmp_path / "panoptic_train.json").write_text(json.dumps(content))
    assert "unknown segment" in {fault.kind for fault in load_dataset(tmp_path).faults}
