"""YOLO's segmentation labels."""

from __future__ import annotations

import time

import numpy as np
import pytest
from drawn import CAT, DOG, SIZE, TREE, assert_scene, found, write_images

from maskrcnn.annotations.formats import write_annotations
from maskrcnn.data.dataset import Dataset, load_dataset
from maskrcnn.geometry.rle import rle_to_mask


def row(label: int, corners: list[list[int]]) -> str:
    return " ".join([str(label), *(f"{x / SIZE[1]:.6f} {y / SIZE[0]:.6f}" for x, y in corners)])


ROWS = "\n".join([row(1, CAT), row(0, TREE), row(2, DOG[0]), row(2, DOG[1])])


@pytest.fixture
def folder(tmp_path):
    """Ultralytics' layout: two images to train on, one to validate."""
    for split, names in (("train", ("a.png", "b.png")), ("val", ("c.png",))):
        write_images(tmp_path / "images" / split, *names)
        (tmp_path / "labels" / split).mkdir(parents=True)
        for name in names:
            (tmp_path / "labels" / split / name).with_suffix(".txt").write_text(ROWS)
    (tmp_path / "data.yaml").write_text(
        "path: /somewhere/else\ntrain: images/train\nval: images/val\nnames: [tree, cat, dog]\n"
    )
    return tmp_path


def test_rows_are_polygons_and_names_come_from_the_yaml(folder):
    for path in (folder, folder / "data.yaml"):
        data = load_dataset(path, strict=True)
        assert len(data) == 3 and [category.name for category in data.categories] == ["tree", "cat", "dog"]
        assert_scene(data, holes=False, parts=False)


def test_a_split_is_read_alone(folder):
    assert [sample.file_name for sample in load_dataset(folder, split="val", strict=True).samples] == ["images/val/c.png"]
    with pytest.raises(ValueError, match="names no image that is there"):
        load_dataset(folder, split="test")


def test_roboflows_folders_and_numbered_names_are_read(tmp_path):
    write_images(tmp_path / "train/images", "a.png")
    (tmp_path / "train/labels").mkdir()
    (tmp_path / "train/labels/a.txt").write_text(ROWS)
    (tmp_path / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnames:\n  0: tree\n  1: cat\n  2: dog\n")
    assert_scene(load_dataset(tmp_path, strict=True), holes=False, parts=False)


def test_without_a_yaml_classes_are_numbers_or_those_that_are_named(folder):
    (folder / "data.yaml").unlink()
    for split in ("train", "val"):
        (folder / "images" / split).rename(folder / split)
        (folder / "labels" / split).rename(folder / f"{split}-labels")
    (folder / "images").rmdir()
    (folder / "labels").rmdir()
    (folder / "train").rename(folder / "images")
    (folder / "train-labels").rename(folder / "labels")
    assert set(found(load_dataset(folder, strict=True))) == {"class 0", "class 1", "class 2", "class 2 2"}
    assert_scene(load_dataset(folder, classes=["tree", "cat", "dog"], strict=True), holes=False, parts=False)


def test_a_list_of_images_is_followed_but_not_out_of_the_folder(folder):
    (folder / "train.txt").write_text("./images/train/a.png\n../outside.png\n")
    write_images(folder.parent, "outside.png")
    (folder / "data.yaml").write_text("train: train.txt\nnames: [tree, cat, dog]\n")
    assert [sample.file_name for sample in load_dataset(folder, strict=True).samples] == ["images/train/a.png"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("1 0.1 0.1 0.5 0.5", "missing mask"),  # a box: an ignored region
        ("1 0.1 0.1 0.5", "broken mask"),
        ("1 10 10 20 10 20 20", "broken mask"),  # pixels
        ("1 nan 0.1 0.2 0.1 0.2 0.2", "broken mask"),
        ("9 0.1 0.1 0.5 0.1 0.5 0.5", "unknown category"),
        ("cat 0.1 0.1 0.5 0.1 0.5 0.5", "broken annotation"),
    ],
)
def test_a_row_that_cannot_be_used_is_reported_with_its_line(folder, line, kind):
    (folder / "labels/train/a.txt").write_text(f"{ROWS}\n{line}\n")
    data = load_dataset(folder)
    (fault,) = data.faults
    assert fault.kind == kind and "a.txt, line 5" in fault.message
    assert_scene(data, holes=False, parts=False)
    assert data.samples[0].crowd.sum() == (kind == "missing mask")


def test_images_without_labels_are_empty_and_counted(folder):
    (folder / "labels/train/a.txt").unlink()
    data = load_dataset(folder)
    assert len(data) == 3 and len(data.samples[0].labels) == 0
    assert "1 of 3 images" in data.faults[0].message and data.faults[0].repaired
    for file in (folder / "labels").rglob("*.txt"):
        file.unlink()
    with pytest.raises(ValueError, match="None of 3 images has a file"):
        load_dataset(folder / "data.yaml")


def test_a_yaml_that_unfolds_is_read_without_its_anchors(folder):
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\n" + (folder / "data.yaml").read_text()
    (folder / "data.yaml").write_text(bomb)
    assert len(load_dataset(folder, strict=True)) == 3


def test_an_object_of_a_thousand_parts_is_written_in_a_moment(tmp_path):
    """Masks of a model that has hardly learned are noise."""
    mask = np.zeros((70, 70), bool)
    mask[1::2, 1::2] = True
    data = Dataset.from_arrays([np.zeros((70, 70, 3), np.uint8)], [mask[None]], [[0]], classes=["noise"])
    start = time.process_time()
    write_annotations(data, "yolo", tmp_path)
    assert time.process_time() - start < 5  # with all distances measured again for each part: minutes
    (sample,) = load_dataset(tmp_path, split="train").samples
    np.testing.assert_array_equal(rle_to_mask(sample.rles[0]), mask)
