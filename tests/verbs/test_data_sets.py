"""A data set written anew: in parts, joined, or less of it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn import MASKS, SIZE, assert_scene, save

from maskrcnn.data.dataset import Dataset, load_dataset
from maskrcnn.data.selection import Selection
from maskrcnn.verbs.data_sets import merge_data, sample_data, select_data, split_data


def photos(folder: Path, scenes: list[int], prefix: str = "") -> Dataset:
    """Photos of numbered scenes, those of the same number nearly alike, each with the objects of the drawn scene."""
    for k, number in enumerate(scenes):
        coarse = np.random.default_rng(number).integers(0, 256, (4, 6, 3)).astype(np.float32)
        image = cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC).clip(0, 255)
        save(folder / f"images/{prefix}{k}.png", (image * (1 - 0.03 * k)).astype(np.uint8))
        for place, (name, mask) in enumerate(MASKS.items()):
            save(folder / f"masks/{prefix}{k}/{name}_{place}.png", mask.astype(np.uint8))
    return load_dataset(folder, strict=True)


def files_of(data: Dataset) -> set[str]:
    return {sample.file_name.rpartition("/")[2] for sample in data.samples}


def test_a_split_keeps_together_what_is_alike(tmp_path):
    data = photos(tmp_path / "data", [0, 1, 2, 0, 3, 1, 4, 0])
    looked: list[int] = []
    written = split_data(data, tmp_path / "parts", val=0.4, progress=lambda: looked.append(1))
    assert len(looked) == 8
    parts = [files_of(load_dataset(tmp_path / "parts", split=name, strict=True)) for name in ("train", "val")]
    assert parts[0] | parts[1] == {f"{k}.png" for k in range(8)} and not parts[0] & parts[1]
    assert all(len(parts[1] & alike) in (0, len(alike)) for alike in ({"0.png", "3.png", "7.png"}, {"1.png", "5.png"}))
    assert len(parts[1]) in (3, 4)
    assert "5 images that are nearly the same, in 2 sets, stay together." in written.summary()
    assert_scene(load_dataset(tmp_path / "parts/val"))


def test_a_split_keeps_groups_together_in_three_parts(tmp_path):
    data = photos(tmp_path / "data", list(range(12)))
    written = split_data(data, tmp_path / "parts", val=0.25, test=0.25, group_by=r"^\d", keep_alike=False, to="yolo")
    assert list(written.parts) == ["train", "val", "test"]
    assert [len(part) for part in written.parts.values()] == [6, 3, 3]
    assert sum({"1.png", "10.png", "11.png"} <= files_of(part) for part in written.parts.values()) == 1
    assert "10 groups by ^\\d stay together, the largest of 3 images." in written.notes
    for name, part in written.parts.items():
        assert files_of(load_dataset(tmp_path / "parts", split=name, strict=True)) == files_of(part)


def test_one_large_group_is_told(tmp_path):
    written = split_data(photos(tmp_path / "data", [0, 0, 0, 0, 1]), tmp_path / "parts", val=0.2)
    assert "The largest group has 4 of 5 images" in written.notes[-1]
    assert [len(part) for part in written.parts.values()] == [4, 1]


@pytest.mark.parametrize(("val", "test"), [(0.0, 0.0), (0.6, 0.4), (0.2, -0.1), (float("nan"), 0.0)])
def test_a_split_without_anything_to_train_on_is_refused(tmp_path, val, test):
    with pytest.raises(ValueError, match="fractions that leave something to train on"):
        split_data(photos(tmp_path / "data", [0, 1]), tmp_path / "parts", val=val, test=test)


def test_sets_are_merged_with_their_images(tmp_path):
    one, two = photos(tmp_path / "one", [0, 1]), photos(tmp_path / "two", [2])
    written = merge_data([one, tmp_path / "two"], tmp_path / "both", rename={"dog": "Cat"})
    assert written.notes == ["Classes that may be one: cat, Cat; joined by renaming one to the other."] or written.notes == [
        "Classes that may be one: Cat, cat; joined by renaming one to the other."
    ]
    both = load_dataset(tmp_path / "both", strict=True)
    assert files_of(both) == {"0.png", "1.png", "0_2.png"}
    assert sorted(category.name for category in both.categories) == ["Cat", "cat", "tree"]
    assert len(two) == 1


def test_a_selection_and_a_sample_are_written(tmp_path):
    data = photos(tmp_path / "data", list(range(6)))
    written = select_data(data, tmp_path / "trees", Selection(classes=["tree"], min_area=350))
    assert written.notes == ["0 of 1 classes have objects; without any tree."]  # its hole does not count
    assert sum(len(sample.labels) for sample in load_dataset(tmp_path / "trees").samples) == 0
    sample_data(data, tmp_path / "small", count=2, images="link")
    small = load_dataset(tmp_path / "small", strict=True)
    assert len(small) == 2
    assert_scene(small)


def test_an_error_leaves_no_folder(tmp_path):
    with pytest.raises(ValueError, match="has no class 'owl'"):
        select_data(photos(tmp_path / "data", [0]), tmp_path / "out", Selection(classes=["owl"]))
    assert {path.name for path in tmp_path.iterdir()} == {"data"}
