"""Folders of label maps: what is read, and every fault that is found."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from drawn import MASKS, SIZE, assert_scene, found, numbers, save, write_images
from PIL import Image
from small_data import write_image

from maskrcnn.config.model import Category
from maskrcnn.data.dataset import load_dataset
from maskrcnn.geometry.rle import rle_to_mask


def label_map() -> np.ndarray:
    values = np.zeros((20, 30), np.uint16)
    values[2:6, 3:9] = 1
    values[10:15, 20:22] = 700  # numbers may be left out
    values[12:18, 2:5] = 5
    return values


@pytest.fixture
def folder(tmp_path):
    write_image(tmp_path / "images/a.jpg")
    (tmp_path / "masks").mkdir()
    Image.fromarray(label_map()).save(tmp_path / "masks/a.png")
    return tmp_path


def test_each_value_is_an_object(folder):
    dataset = load_dataset(folder, strict=True)
    (sample,) = dataset.samples
    assert dataset.categories == (Category(1, "object"),)
    assert (sample.image_id, sample.file_name, sample.size) == (1, "a.jpg", (20, 30))
    np.testing.assert_array_equal(sample.boxes, [[3, 2, 9, 6], [2, 12, 5, 18], [20, 10, 22, 15]])
    np.testing.assert_array_equal(sample.areas, [24, 18, 10])
    np.testing.assert_array_equal(sample.labels, [0, 0, 0])
    np.testing.assert_array_equal(sample.annotation_ids, [1, 2, 3])
    for value, rle in zip((1, 5, 700), sample.rles, strict=True):
        np.testing.assert_array_equal(rle_to_mask(rle), label_map() == value)


def test_tiff_and_png_of_many_images_are_numbered_through(folder):
    write_image(folder / "images/b.png")
    write_image(folder / "images/c.bmp")
    tifffile.imwrite(folder / "masks/b.tif", label_map().astype(np.uint32))
    tifffile.imwrite(folder / "masks/c.tiff", np.zeros((20, 30), np.uint8))
    dataset = load_dataset(folder, strict=True)
    assert [sample.image_id for sample in dataset.samples] == [1, 2, 3]
    assert [sample.annotation_ids.tolist() for sample in dataset.samples] == [[1, 2, 3], [4, 5, 6], []]


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda folder: write_image(folder / "images/b.png"), "missing label map"),
        (lambda folder: Image.fromarray(label_map()).save(folder / "masks/b.png"), "missing image"),
        (lambda folder: write_image(folder / "images/a.png"), "ambiguous name"),
        (lambda folder: Image.fromarray(label_map()).save(folder / "masks/a.tif"), "ambiguous name"),
        (lambda folder: Image.fromarray(label_map()[:10]).save(folder / "masks/a.png"), "broken label map"),
        (lambda folder: write_image(folder / "masks/a.png"), "broken label map"),
        (lambda folder: (folder / "masks/a.png").write_bytes(b"no image"), "broken label map"),
        (lambda folder: (folder / "images/a.jpg").write_bytes(b"no image"), "unreadable image"),
    ],
)
def test_what_cannot_be_used_is_left_out_and_reported(folder, spoil, kind):
    write_image(folder / "images/z.png")
    Image.fromarray(label_map()).save(folder / "masks/z.png")
    spoil(folder)
    dataset = load_dataset(folder)
    (fault,) = dataset.faults
    assert (fault.kind, fault.repaired) == (kind, False)
    assert dataset.samples[-1].file_name == "z.png"


def test_a_folder_without_images_and_masks_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no annotations of a known format, and no images/ with masks/"):
        load_dataset(tmp_path)


# ── other habits, and values that are no numbers of objects ──


@pytest.mark.parametrize(
    ("images", "masks", "ending"),
    [
        ("images", "masks", "_mask"),
        ("img", "gt", ""),
        ("imgs", "labels", ""),
        ("image", "annotations", "_label"),
        ("train_images", "train_masks", "_masks"),
        (".", ".", "_cp_masks"),
        (".", ".", "_masks"),
    ],
)
def test_folders_and_endings_of_other_habits_are_found(tmp_path, images, masks, ending):
    for name in ("a", "b"):
        write_image(tmp_path / images / f"{name}.png", SIZE)
        save(tmp_path / masks / f"{name}{ending}.png", numbers())
    data = load_dataset(tmp_path, strict=True)
    assert [sample.file_name for sample in data.samples] == ["a.png", "b.png"]
    assert_scene(data, named=False)


def test_colours_and_palettes_number_objects(tmp_path):
    write_image(tmp_path / "images/a.png", SIZE)
    save(tmp_path / "masks/a.png", sum(mask[..., None] * np.uint8((9, k, 200)) for k, mask in enumerate(MASKS.values())))
    assert_scene(load_dataset(tmp_path, strict=True), named=False)
    image = Image.fromarray(numbers().astype(np.uint8)).convert("P")
    image.putdata(numbers().ravel().tolist())
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    image.save(tmp_path / "masks/a.png")
    assert_scene(load_dataset(tmp_path, strict=True), named=False)


def write_cells(folder, value, count: int = 3) -> None:
    """Images with four discs each, all of `value`, or in turn of its values."""
    y, x = np.mgrid[:40, :60]
    for number in range(count):
        values = np.zeros((40, 60), np.uint8)
        for k, centre in enumerate(((10, 10), (10, 45), (30, 12), (30, 40))):
            values[(y - centre[0]) ** 2 + (x - centre[1] - number) ** 2 <= 25] = value[k % len(value)]
        write_image(folder / f"images/{number}.png", SIZE)
        save(folder / f"masks/{number}.png", values)


def test_black_and_white_masks_are_asked_about(tmp_path):
    write_cells(tmp_path, [255])
    with pytest.raises(ValueError, match="one value 255, in 12 separate pieces.*--masks binary.*--masks semantic") as error:
        load_dataset(tmp_path)
    assert "\n" not in str(error.value)
    assert [len(sample.labels) for sample in load_dataset(tmp_path, masks="binary", strict=True).samples] == [4, 4, 4]
    assert [len(sample.labels) for sample in load_dataset(tmp_path, masks="instances", strict=True).samples] == [1, 1, 1]


def test_maps_of_classes_are_asked_about_and_take_names(tmp_path):
    write_cells(tmp_path, [1, 2])
    with pytest.raises(ValueError, match="share 2 values.*numbers of classes"):
        load_dataset(tmp_path)
    data = load_dataset(tmp_path, masks="semantic", strict=True)
    assert [category.name for category in data.categories] == ["class 1", "class 2"]
    assert [sorted(sample.labels.tolist()) for sample in data.samples] == [[0, 0, 1, 1]] * 3
    named = load_dataset(tmp_path, masks="semantic", classes=["tree", "cat"], strict=True)
    assert [category.name for category in named.categories] == ["tree", "cat"]
    (tmp_path / "classes.txt").write_text("0 background\n1 tree\n2 tall cat\n")
    named = load_dataset(tmp_path, masks="semantic", strict=True)
    assert [category.name for category in named.categories] == ["tree", "tall cat"]


def test_an_object_in_parts_now_and_then_is_no_reason_to_ask(tmp_path):
    for number in range(4):
        write_image(tmp_path / f"images/{number}.png", SIZE)
        save(tmp_path / f"masks/{number}.png", numbers())  # one of three has two parts, in every image
    assert [len(sample.labels) for sample in load_dataset(tmp_path, strict=True).samples] == [3] * 4


def test_what_masks_hold_is_no_question_of_other_formats(write_coco):
    with pytest.raises(ValueError, match="received masks='binary' for .* COCO JSON"):
        load_dataset(write_coco([]), masks="binary")
    with pytest.raises(ValueError, match="instances, semantic, binary; received 'odd'"):
        load_dataset(write_coco([]), masks="odd")


@pytest.mark.parametrize(
    ("file", "lines"),
    [
        ("classes.txt", ["255,0,0 tall tree", "0 0 255: cat"]),
        ("labelmap.txt", ["# label:color_rgb:parts:actions", "background:0,0,0::", "tall tree:255,0,0::", "cat:0,0,255::"]),
        ("class_dict.csv", ["name,r,g,b", "tall tree,255,0,0", "cat, 0, 0, 255"]),
    ],
)
def test_colours_number_classes_by_a_table(tmp_path, file, lines):
    colours = np.zeros((*SIZE, 3), np.uint8)
    colours[MASKS["tree"]], colours[MASKS["cat"]] = (255, 0, 0), (0, 0, 255)
    save(tmp_path / "masks/a.png", colours)
    write_images(tmp_path / "images", "a.png")
    (tmp_path / file).write_text("\n".join(lines))
    data = load_dataset(tmp_path, masks="semantic", strict=True)
    masks = found(data)
    assert set(masks) == {"tall tree", "cat"} == {category.name for category in data.categories}
    np.testing.assert_array_equal(masks["cat"], MASKS["cat"])


def test_napari_s_labels_belong_to_the_one_image_beside_them(tmp_path):
    write_images(tmp_path, "cells.png")
    tifffile.imwrite(tmp_path / "Labels.tif", numbers().astype(np.uint32))
    assert_scene(load_dataset(tmp_path, strict=True), named=False)
    write_images(tmp_path, "more.png")
    with pytest.raises(ValueError, match="images without annotations"):
        load_dataset(tmp_path)
