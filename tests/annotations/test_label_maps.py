"""Folders of label maps: what is read, and every fault that is found."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
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
    with pytest.raises(ValueError, match="images/ and masks/"):
        load_dataset(tmp_path)
