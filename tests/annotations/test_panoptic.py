"""COCO panoptic."""

from __future__ import annotations

import json

import numpy as np
import pytest
from drawn import MASKS, SIZE, assert_scene, save, write_images

from maskrcnn.config.model import Category
from maskrcnn.data.dataset import load_dataset


def write(tmp_path):
    """The scene with grass below; gives the JSON's content."""
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
    return content


def test_things_are_objects_and_stuff_is_counted(tmp_path):
    content = write(tmp_path)
    data = load_dataset(tmp_path)
    assert_scene(data)
    assert data.samples[0].image_id == 17
    assert data.categories == (Category(4, "cat"), Category(8, "tree"), Category(12, "dog"))
    assert [(fault.kind, fault.repaired) for fault in data.faults] == [("stuff", True)]
    content["annotations"][0]["segments_info"].pop(0)
    (tmp_path / "panoptic_train.json").write_text(json.dumps(content))
    assert "unknown segment" in {fault.kind for fault in load_dataset(tmp_path).faults}


def test_images_may_have_names_for_ids(tmp_path):
    """As Cityscapes' own converter writes them."""
    content = write(tmp_path)
    content["images"][0]["id"] = content["annotations"][0]["image_id"] = "aachen_000000_000019"
    (tmp_path / "panoptic_train.json").write_text(json.dumps(content))
    data = load_dataset(tmp_path)
    assert_scene(data)
    assert data.samples[0].image_id == 1


@pytest.mark.parametrize("odd", [{"a": 1}, [1], None, 1e400, "x", True])
def test_ids_that_are_none_and_lists_that_are_none_are_told(tmp_path, odd):
    whole = write(tmp_path)
    for change in (
        lambda content: content["annotations"][0].update(image_id=odd),
        lambda content: content["annotations"][0].update(segments_info=odd),
        lambda content: content["annotations"][0]["segments_info"][0].update(category_id=odd, id=odd),
        lambda content: content["images"][0].update(id=odd),
        lambda content: content["categories"][0].update(id=odd),
        lambda content: content.update(images=odd),
        lambda content: content.update(categories=odd),
    ):
        content = json.loads(json.dumps(whole))
        change(content)
        (tmp_path / "panoptic_train.json").write_text(json.dumps(content))
        try:
            faults = {fault.kind for fault in load_dataset(tmp_path).faults}
        except ValueError as error:
            faults = {str(error)}
        assert faults - {"stuff"}
