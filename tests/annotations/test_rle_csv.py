"""Kaggle's tables of run lengths."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import MASKS, assert_scene, write_images

from maskrcnn.data.dataset import load_dataset


def encode(mask: np.ndarray, order: str = "F") -> str:
    """ "start length …", pixels counted from 1, found one by one."""
    runs: list[list[int]] = []
    for place, pixel in enumerate(mask.ravel(order).tolist(), start=1):
        if pixel and runs and place == sum(runs[-1]):
            runs[-1][1] += 1
        elif pixel:
            runs.append([place, 1])
    return " ".join(f"{start} {length}" for start, length in runs)


def write(folder, header: str, rows: list[str], images: str = "train"):
    write_images(folder / images, "a.png", "b.png")
    (folder / "train.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def test_one_row_is_one_object_and_an_empty_one_an_image_without(tmp_path):
    rows = [f"a,{encode(mask)}" for mask in MASKS.values()] + ["b,"]
    data = load_dataset(write(tmp_path, "ImageId,EncodedPixels", rows), strict=True)
    assert len(data) == 2 and len(data.samples[1].labels) == 0
    assert_scene(data, named=False)


def test_columns_may_come_in_any_order_with_classes(tmp_path):
    rows = [f"{name},a.png,{encode(mask)}" for name, mask in MASKS.items()]
    assert_scene(load_dataset(write(tmp_path, "class,image_id,rle", rows, "train_images"), strict=True))


def test_image_and_class_may_be_one_column(tmp_path):
    rows = [f"a.png_{k},{encode(mask)}" for k, mask in enumerate(MASKS.values(), start=1)] + ["b.png_1,"]
    data = load_dataset(write(tmp_path, "ImageId_ClassId,EncodedPixels", rows), strict=True)
    assert [category.name for category in data.categories] == ["class 1", "class 2", "class 3"]
    assert len(data) == 2


def test_pixels_counted_row_by_row_are_noticed(tmp_path):
    rows = [f"a,{encode(mask, 'C')},60,40,{name}" for name, mask in MASKS.items()]
    data = load_dataset(write(tmp_path, "id,annotation,width,height,cell_type", rows))
    assert_scene(data)
    assert [(fault.kind, fault.repaired) for fault in data.faults] == [("order of pixels", True)]


def test_rows_of_whole_classes_are_asked_about(tmp_path):
    discs = np.zeros((40, 60), bool)
    for top in (2, 14, 26):
        discs[top : top + 8, 5:15] = discs[top : top + 8, 30:44] = True
    folder = write(tmp_path, "ImageId,EncodedPixels", [f"a,{encode(discs)}", f"b,{encode(discs)}"])
    with pytest.raises(ValueError, match="most rows have several separate pieces.*--masks semantic"):
        load_dataset(folder)
    assert [len(sample.labels) for sample in load_dataset(folder, masks="semantic").samples] == [6, 6]
    assert [len(sample.labels) for sample in load_dataset(folder, masks="instances").samples] == [1, 1]


@pytest.mark.parametrize("runs", ["1 2 3", "0 5", "2399 3", "a b", "-4 2", "5 99999999999999999999"])
def test_runs_that_cannot_be_are_reported_with_their_line(tmp_path, runs):
    rows = [f"a,{encode(mask)}" for mask in MASKS.values()]
    data = load_dataset(write(tmp_path, "ImageId,EncodedPixels", [*rows, f"a,{runs}"]))
    assert [fault.kind for fault in data.faults] == ["broken mask"] and "line 5" in data.faults[0].message
    assert_scene(data, named=False)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_table_that_a_spreadsheet_wrote_is_read(tmp_path, delimiter):
    """With a byte order mark, and columns parted as where a comma stands in fractions."""
    rows = [f"{name},a.png,{encode(mask)}" for name, mask in MASKS.items()]
    folder = write(tmp_path, "class,image_id,rle", rows)
    table = folder / "train.csv"
    table.write_text("\ufeff" + table.read_text().replace(",", delimiter).replace("\n", "\r\n"), encoding="utf-8", newline="")
    assert_scene(load_dataset(folder, strict=True))
