"""Parquet of images and objects."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from drawn import MASKS, SIZE, write_images

from maskrcnn.annotations.parquet import TITLE
from maskrcnn.data.dataset import load_dataset
from maskrcnn.geometry.rle import mask_to_rle
from maskrcnn.results.parquet import ImageRow, ObjectRow, encode_images, encode_objects
from maskrcnn.verbs.data import convert_data

pyarrow = pytest.importorskip("pyarrow", reason="the extra ray is not installed")
CAT, DOG = mask_to_rle(MASKS["cat"]), mask_to_rle(MASKS["dog"])


def write(
    folder: Path,
    images: list[ImageRow],
    objects: list[ObjectRow],
    categories: list[dict[str, object]] | None = None,
) -> Path:
    for kind, content in (("images", encode_images(images)), ("objects", encode_objects(objects))):
        (folder / kind).mkdir(parents=True)
        (folder / kind / "part-00000000.parquet").write_bytes(content)
    if categories is not None:
        (folder / "manifest.json").write_text(json.dumps({"categories": categories}))
    return folder


def found(image: str, number: int, name: str, rle: dict[str, object], score: float | None = 0.75, plane: int = 1) -> ObjectRow:
    return ObjectRow(image, plane, number, name, {"cat": 5, "dog": 9}[name], score, [0.0, 0.0, 1.0, 1.0], 1, rle)


def test_rows_are_the_objects_of_their_images_with_their_scores(tmp_path):
    write_images(tmp_path / "photos", "a.png", "b.png")
    a, b = (str(tmp_path / "photos" / name) for name in ("a.png", "b.png"))
    images = [ImageRow(a, 1, *SIZE, 2), ImageRow(b, 1, *SIZE, 0)]
    objects = [found(a, 1, "dog", DOG, 0.75), found(a, 2, "cat", CAT, 0.5)]
    categories = [{"id": 5, "name": "cat"}, {"id": 7, "name": "cow"}, {"id": 9, "name": "dog"}, "odd"]
    data = load_dataset(write(tmp_path / "found", images, objects, categories))
    assert data.faults == []
    assert [(category.id, category.name) for category in data.categories] == [(5, "cat"), (7, "cow"), (9, "dog")]
    assert [Path(sample.path).name for sample in data.samples] == ["a.png", "b.png"]
    first, second = data.samples
    assert first.labels.tolist() == [2, 0] and len(second.labels) == 0
    np.testing.assert_array_equal(first.scores, np.array([0.75, 0.5], np.float32))
    assert first.rles == [DOG, CAT]


def test_scores_go_along_to_another_format(tmp_path):
    write_images(tmp_path / "photos", "a.png")
    a = str(tmp_path / "photos/a.png")
    folder = write(tmp_path / "found", [ImageRow(a, 1, *SIZE, 1)], [found(a, 1, "cat", CAT, 0.25)])
    convert_data(folder, to="coco", out=tmp_path / "coco")
    (row,) = json.loads((tmp_path / "coco/annotations.json").read_text())["annotations"]
    assert row["score"] == 0.25


def test_what_is_wrong_with_rows_is_a_fault(tmp_path):
    write_images(tmp_path / "found", "a.png", "b.png", "c.png")
    images = [
        ImageRow("a.png", 1, *SIZE, 1),
        ImageRow("b.png", 1, SIZE[0] + 1, SIZE[1], 0),
        ImageRow("c.png", 1, error="cut off"),
        ImageRow("c.png", 2, *SIZE, 0),
        ImageRow("../d.png", 1, *SIZE, 0),
    ]
    broken = {"size": list(SIZE), "counts": b"12"}
    objects = [found("a.png", 1, "cat", broken), found("gone.png", 1, "cat", CAT), found("a.png", 1, "dog", DOG, plane=2)]
    data = load_dataset(write(tmp_path / "found", images, objects))
    assert sorted(fault.kind for fault in data.faults) == [
        "broken annotations",
        "broken mask",
        "file name outside of its folder",
        "objects without an image",
        "plane of a stack",
        "unreadable image",
    ]
    assert len(data.samples) == 1 and len(data.samples[0].labels) == 0


def test_files_of_other_columns_are_refused(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = write(tmp_path / "found", [ImageRow("a.png", 1, *SIZE, 0)], [])
    parquet.write_table(pyarrow.table({"image": ["a.png"]}), folder / "objects/part-00000000.parquet")
    with pytest.raises(ValueError, match=r"Cannot read .*objects.part-00000000.parquet: it has no column plane, object, class"):
        load_dataset(folder)
    (folder / "objects/part-00000000.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match=r"Cannot read .*objects.part-00000000.parquet: "):
        load_dataset(folder, format="parquet")


def test_a_folder_without_objects_is_no_such_data(tmp_path):
    folder = write(tmp_path / "found", [], [])
    (folder / "objects/part-00000000.parquet").unlink()
    with pytest.raises(ValueError, match=f"is not {TITLE[:7]}"):
        load_dataset(folder, format="parquet")
