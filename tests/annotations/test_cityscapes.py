"""Cityscapes' folders."""

from __future__ import annotations

import numpy as np
from drawn import MASKS, SIZE, save, write_images

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
