"""Parquet with the images in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import MASKS, SIZE, assert_scene, write_images

from maskrcnn.annotations import shards
from maskrcnn.data.dataset import load_dataset
from maskrcnn.geometry.rle import mask_to_rle, rle_to_json
from maskrcnn.images import content, parquet_rows
from maskrcnn.images.images import read_image
from maskrcnn.verbs.data import convert_data

pa = pytest.importorskip("pyarrow", reason="the extra ray is not installed")
parquet = pytest.importorskip("pyarrow.parquet")


def objects(*names: str) -> list[dict[str, Any]]:
    return [{"class": name, "rle": rle_to_json(mask_to_rle(MASKS[name]))["counts"]} for name in names]


@pytest.fixture
def png(tmp_path: Path) -> bytes:
    write_images(tmp_path / "images", "a.png")
    return (tmp_path / "images/a.png").read_bytes()


def pack(path: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), path, **options)
    return path


def test_images_of_a_file_and_of_a_folder_in_either_form(tmp_path, png):
    plain = [
        {"image": png, "file_name": "a.png", "objects": objects("tree", "cat", "dog"), "height": SIZE[0], "width": SIZE[1]}
    ]
    nested = [{"image": {"bytes": png, "path": "x/b.png"}, "objects": objects("cat")}] * 5
    assert_scene(load_dataset(pack(tmp_path / "one.parquet", [*plain, plain[0] | {"objects": []}]), strict=True))
    pack(tmp_path / "all/0.parquet", plain, compression="zstd")
    pack(tmp_path / "all/1.parquet", nested, row_group_size=2)
    data = load_dataset(tmp_path / "all", strict=True)
    assert len(data) == 6 and [len(sample.labels) for sample in data.samples] == [3, 1, 1, 1, 1, 1]
    assert [Path(sample.path).name for sample in data.samples] == ["a.png", *["b.png"] * 5]
    assert data.samples[-1].path.endswith("1.parquet#2+0/b.png")
    for sample in data.samples:
        np.testing.assert_array_equal(read_image(sample.path), read_image(tmp_path / "images/a.png"))


def test_a_data_set_is_cut_into_files_and_comes_back(tmp_path, png, monkeypatch):
    rows = [{"image": png, "file_name": f"{k}.png", "objects": objects("cat", "dog")} for k in range(5)]
    first = load_dataset(pack(tmp_path / "first.parquet", rows))
    monkeypatch.setattr(shards, "SHARD_BYTES", 2 * len(png))
    convert_data(first, to="parquet-images", out=tmp_path / "again")
    names = sorted(path.name for path in (tmp_path / "again").iterdir())
    assert names == ["00000.parquet", "00001.parquet", "00002.parquet", "categories.json"]
    convert_data(tmp_path / "again", to="coco", out=tmp_path / "coco")
    last = load_dataset(tmp_path / "coco", strict=True)
    assert [category.name for category in last.categories] == ["cat", "dog"]
    assert len(first) == len(last) == 5
    for one, other in zip(first.samples, last.samples, strict=True):
        assert one.rles == other.rles and Path(other.path).read_bytes() == png
    with pytest.raises(ValueError, match="Parquet of images holds the images themselves"):
        convert_data(first, to="parquet-images", out=tmp_path / "none", images="none")


def test_what_is_wrong_in_a_file_is_a_fault(tmp_path, png):
    rows = [
        {
            "image": png,
            "objects": [*objects("cat"), {"class": "dog", "rle": "12"}, {"class": "dog", "rle": None}],
            "height": None,
        },
        {"image": png, "objects": objects("cat"), "height": 7},
        {"image": b"none", "objects": [], "height": None},
        {"image": None, "objects": [], "height": None},
    ]
    whole = pack(tmp_path / "all/0.parquet", [{key: row[key] for key in ("image", "objects")} for row in rows[:1] + rows[2:]])
    pack(tmp_path / "all/1.parquet", [{"image": png, "objects": objects("cat"), "height": 7, "width": SIZE[1]}])
    (tmp_path / "all/2.parquet").write_bytes(whole.read_bytes()[:-40])
    (tmp_path / "all/3.parquet").write_bytes(b"PAR1 and no more")
    pack(tmp_path / "all/4.parquet", [{"image": "a.png", "objects": objects("cat")}])  # a path is no image
    data = load_dataset(tmp_path / "all")
    assert sorted(fault.kind for fault in data.faults) == [
        "broken annotations",
        *["broken mask"] * 2,
        *["broken shard"] * 3,
        *["unreadable image"] * 2,
    ]
    assert all("\n" not in fault.message for fault in data.faults)
    assert len(data) == 1 and len(data.samples[0].labels) == 1


def test_no_path_in_a_file_is_opened(tmp_path, png):
    """A name is what the image is called; what is there by that name on the disk is another."""
    write_images(tmp_path / "secret", "a.png")
    name = str(tmp_path / "secret/a.png")
    data = load_dataset(pack(tmp_path / "0.parquet", [{"image": {"bytes": png, "path": name}, "objects": objects("cat")}]))
    assert data.samples[0].path == f"{tmp_path / '0.parquet'}#0+0/a.png"
    none = [{"image": {"bytes": None, "path": name}, "objects": objects("cat")}] * 2 + [
        {"image": {"bytes": png, "path": "b.png"}, "objects": objects("cat")}
    ]
    data = load_dataset(pack(tmp_path / "1.parquet", none))
    assert len(data) == 1 and [fault.kind for fault in data.faults] == ["unreadable image"] * 2


def test_sizes_are_bounded(tmp_path, png, monkeypatch):
    path = pack(tmp_path / "0.parquet", [{"image": png, "objects": objects("cat")}] * 3)
    data = load_dataset(path)
    monkeypatch.setattr(content, "MAX_MEMBER_BYTES", len(png) - 1)
    with pytest.raises(ValueError, match=r"Cannot read .*0.parquet#0\+2/.*: it has more than 0 MB"):
        read_image(data.samples[2].path)
    monkeypatch.setattr(parquet_rows, "MAX_GROUP_BYTES", 100)
    with pytest.raises(ValueError, match="a row group has more than 0 MB in a column; write smaller ones"):
        read_image(data.samples[2].path)
    with pytest.raises(ValueError, match="a row group has more than 0 MB in a column"):
        load_dataset(path, strict=True)


@pytest.mark.parametrize(
    ("place", "words"), [("9+0", "has 1 row groups"), ("0+3", "has no such row"), ("0+99999999999999", "no such row")]
)
def test_a_row_that_is_not_there_is_said(tmp_path, png, place, words):
    path = pack(tmp_path / "0.parquet", [{"image": png, "objects": objects("cat")}] * 3)
    with pytest.raises(ValueError, match=words) as error:
        read_image(f"{path}#{place}/a.png")
    assert "\n" not in str(error.value)
