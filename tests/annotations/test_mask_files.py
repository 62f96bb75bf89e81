"""One mask file for each object."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import MASKS, SIZE, assert_scene, save, write_images

from maskrcnn.data.dataset import load_dataset


def save_masks(folder, names: dict[str, str]) -> None:
    for kind, name in names.items():
        save(folder / f"{name}.png", MASKS[kind].astype(np.uint8) * 255)


def test_kaggles_data_science_bowl_is_read(tmp_path):
    for image in ("0a1b", "2c3d"):
        write_images(tmp_path / f"stage1_train/{image}/images", f"{image}.png")
        save_masks(tmp_path / f"stage1_train/{image}/masks", {"cat": "07a9bf10", "tree": "1af4", "dog": "9000"})
    for path in (tmp_path, tmp_path / "stage1_train"):
        data = load_dataset(path, strict=True)
        assert len(data) == 2
        assert_scene(data, named=False)


def test_folders_of_masks_name_their_classes(tmp_path):
    write_images(tmp_path / "images", "a.jpg", "b.jpg")
    save_masks(tmp_path / "masks/a", {"cat": "cat_0", "tree": "tree_12", "dog": "dog_3"})
    (tmp_path / "masks/b").mkdir()
    data = load_dataset(tmp_path, strict=True)
    assert_scene(data)
    assert len(data.samples[1].labels) == 0


def test_masks_that_begin_with_the_images_name_are_its_own(tmp_path):
    write_images(tmp_path / "images", "a.png", "a_2.png")
    for stem in ("a", "a_2"):
        save_masks(tmp_path / "masks", {kind: f"{stem}_{kind}_{k}" for k, kind in enumerate(MASKS)})
    data = load_dataset(tmp_path, strict=True)
    assert [len(sample.labels) for sample in data.samples] == [3, 3]
    for image in (0, 1):
        assert_scene(data, image)


def test_a_mask_of_another_size_or_without_pixels_is_reported(tmp_path):
    write_images(tmp_path / "images", "a.png")
    save_masks(tmp_path / "masks/a", {"cat": "cat_0", "tree": "tree_12", "dog": "dog_3"})
    save(tmp_path / "masks/a/cat_8.png", np.zeros(SIZE, np.uint8))
    save(tmp_path / "masks/a/cat_9.png", np.ones((4, 4), np.uint8))
    data = load_dataset(tmp_path)
    assert sorted(fault.kind for fault in data.faults) == ["broken mask", "empty mask"]
    assert_scene(data)


def test_a_folder_of_masks_without_its_image_is_reported(tmp_path):
    write_images(tmp_path / "images", "a.png")
    for stem in ("a", "z"):
        save_masks(tmp_path / "masks" / stem, {"cat": "cat_0"})
    data = load_dataset(tmp_path)
    assert [fault.kind for fault in data.faults] == ["missing image"] and "no image z" in data.faults[0].message
    with pytest.raises(ValueError, match="missing image"):
        load_dataset(tmp_path, strict=True)
