"""Tar shards."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import MASKS, SIZE, assert_scene, write_images

from maskrcnn.annotations import shards
from maskrcnn.config.model import ImageConfig, ModelConfig
from maskrcnn.data.dataset import load_dataset
from maskrcnn.data.loader import make_loader
from maskrcnn.geometry.rle import mask_to_rle, rle_to_json
from maskrcnn.images.images import read_image
from maskrcnn.verbs.data import convert_data


def truth(*names: str, **changes: Any) -> bytes:
    objects = [{"class": name, "rle": rle_to_json(mask_to_rle(MASKS[name]))} for name in names]
    return json.dumps({"file_name": "a.png", "height": SIZE[0], "width": SIZE[1], "objects": objects} | changes).encode()


def pack(path: Path, *members: tuple[str, bytes], mode: str = "w:") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path.parent


@pytest.fixture
def png(tmp_path: Path) -> bytes:
    write_images(tmp_path / "images", "a.png")
    return (tmp_path / "images/a.png").read_bytes()


def test_images_and_objects_side_by_side_in_either_order(tmp_path, png):
    pairs = [("x/1.png", png), ("x/1.json", truth("tree", "cat", "dog")), ("2.json", truth(file_name="b.png")), ("2.png", png)]
    data = load_dataset(pack(tmp_path / "shards/0.tar", *pairs), strict=True)
    assert_scene(data)
    assert [Path(sample.path).name for sample in data.samples] == ["a.png", "b.png"]
    for sample in data.samples:
        np.testing.assert_array_equal(read_image(sample.path), read_image(tmp_path / "images/a.png"))


def test_what_has_no_partner_or_is_no_file_is_passed_over(tmp_path, png):
    folder = pack(tmp_path / "shards/0.tar", ("1.png", png), ("1.json", truth("cat")), ("2.png", png), ("3.json", truth()))
    with tarfile.open(folder / "1.tar", "w:") as tar:
        link = tarfile.TarInfo("4.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
    assert len(load_dataset(folder, strict=True)) == 1


def test_what_is_wrong_in_a_shard_is_a_fault(tmp_path, png):
    odd = json.loads(truth("cat"))["objects"] + ["odd", {"class": 5, "rle": {"size": list(SIZE), "counts": "12"}}]
    members = [("1.png", png), ("1.json", truth(objects=odd)), ("2.png", png), ("2.json", truth(height=7)), ("3.png", b"none")]
    folder = pack(tmp_path / "shards/0.tar", *members, ("3.json", truth("cat")), ("4.png", png), ("4.json", b"[1"))
    pack(folder / "1.tar", ("1.png", png), mode="w:gz")
    content = (folder / "0.tar").read_bytes()
    (folder / "2.tar").write_bytes(content[: len(png) // 2])
    data = load_dataset(folder)
    assert sorted(fault.kind for fault in data.faults) == [
        "broken annotations",
        "broken mask",
        "broken mask",
        "broken shard",
        "broken shard",
        "unreadable image",
    ]
    assert len(data) == 1 and len(data.samples[0].labels) == 1


def test_a_data_set_is_cut_into_shards_and_comes_back(tmp_path, monkeypatch):
    write_images(tmp_path / "images", *(f"{number}.png" for number in range(5)))
    members = [((tmp_path / f"images/{number}.png").read_bytes(), truth("cat", "dog")) for number in range(5)]
    pairs = [[(f"{k}.png", image), (f"{k}.json", own)] for k, (image, own) in enumerate(members)]
    first = load_dataset(pack(tmp_path / "first/0.tar", *itertools.chain(*pairs)))
    monkeypatch.setattr(shards, "SHARD_BYTES", 2 * len(members[0][0]))
    convert_data(first, to="shards", out=tmp_path / "again")
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [
        "00000.tar",
        "00001.tar",
        "00002.tar",
        "categories.json",
    ]
    convert_data(tmp_path / "again", to="coco", out=tmp_path / "coco")
    last = load_dataset(tmp_path / "coco", strict=True)
    assert len(last) == 5 and [category.name for category in last.categories] == ["cat", "dog"]
    for one, other, (image, _) in zip(first.samples, last.samples, members, strict=True):
        assert one.rles == other.rles and Path(other.path).read_bytes() == image
    with pytest.raises(ValueError, match="Shards hold the images themselves"):
        convert_data(first, to="shards", out=tmp_path / "none", images="none")


def test_a_loader_reads_them_in_any_order(tmp_path, png):
    pairs = [[(f"{k}.png", png), (f"{k}.json", truth("cat"))] for k in range(6)]
    data = load_dataset(pack(tmp_path / "shards/0.tar", *itertools.chain(*pairs)))
    config = ModelConfig(categories=data.categories, image=ImageConfig(short_side=SIZE[0], long_side=SIZE[1]))
    batches = list(make_loader(data, config, batch_size=2, shuffle=True, seed=1))
    ids = np.concatenate([batch["image_ids"] for batch in batches]).tolist()
    assert sorted(ids) == [1, 2, 3, 4, 5, 6] != ids
    np.testing.assert_array_equal(batches[0]["images"][1, : SIZE[0], : SIZE[1]], read_image(tmp_path / "images/a.png"))


def test_a_shard_that_was_cut_since_is_said(tmp_path, png):
    data = load_dataset(pack(tmp_path / "shards/0.tar", ("1.json", truth("cat")), ("1.png", png)))
    path = tmp_path / "shards/0.tar"
    path.write_bytes(path.read_bytes()[:1600])
    with pytest.raises(ValueError, match=r"Cannot read .*0.tar#\d+\+\d+/a.png: .*0.tar is shorter than it was"):
        read_image(data.samples[0].path)


def test_other_tar_files_are_no_data(tmp_path, png):
    folder = pack(tmp_path / "other/0.tar", ("1.png", png), ("readme.txt", b"none"))
    with pytest.raises(ValueError, match="a folder with 0.tar"):
        load_dataset(folder)
