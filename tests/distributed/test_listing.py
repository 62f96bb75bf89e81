"""What is named as images, listed once each."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest
from small_data import write_image

from maskrcnn.distributed.listing import Once, list_images
from maskrcnn.distributed.store import Store

pytest.importorskip("fsspec", reason="the extra ray is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.jpg", "deep/c.png"):
        write_image(tmp_path / name)
    (tmp_path / "notes.md").write_text("none")
    return tmp_path


@pytest.fixture
def bucket() -> Store:
    """In this process's memory."""
    store = Store(f"memory://{uuid.uuid4().hex}")
    for name in ("b.png", "a.jpg", "deep/c.png", "notes.md"):
        store.write(name, b"x")
    return store


def test_files_folders_and_globs_are_absolute_paths(folder, monkeypatch):
    monkeypatch.chdir(folder)
    expected = [str(folder / name) for name in ("deep/c.png", "a.jpg", "b.png")]
    assert list(list_images(["deep/c.png", "."])) == expected
    assert list(list_images(["**/c.png"])) == expected[:1]


def test_behind_an_address_they_are_addresses(bucket):
    place = bucket.place.replace("memory://", "memory:///")
    expected = [f"{place}/{name}" for name in ("a.jpg", "b.png")]
    assert list(list_images([bucket.place])) == expected
    assert list(list_images([f"{bucket.place}/**/*.png"])) == [f"{place}/b.png", f"{place}/deep/c.png"]
    assert list(list_images([f"{bucket.place}/b.png"])) == [f"{bucket.place}/b.png"]


def test_a_text_list_has_an_image_a_line(folder):
    (folder / "list.txt").write_text(f"\ufeffa.jpg\n\n  {folder}/b.png \r\ns3://bucket/d.png\n", "utf-8")
    assert list(list_images([folder / "list.txt"])) == [f"{folder}/a.jpg", f"{folder}/b.png", "s3://bucket/d.png"]


@pytest.mark.parametrize("column", ["image", "path", "url"])
def test_a_parquet_list_has_a_column(folder, bucket, column):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"number": [1, 2, 3], column: ["a.jpg", None, "s3://bucket/d.png"]})
    parquet.write_table(table, folder / "list.parquet")
    assert list(list_images([folder / "list.parquet"])) == [f"{folder}/a.jpg", "s3://bucket/d.png"]
    bucket.write("list.parquet", (folder / "list.parquet").read_bytes())
    assert list(list_images([f"{bucket.place}/list.parquet"])) == [f"{bucket.place}/a.jpg", "s3://bucket/d.png"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("list.txt", b"", "lists no images"),
        ("list.txt", b"\xff\xfe\xfa\n", "in UTF-8"),
        ("list.txt", b"x" * 70_000, "a line is longer than"),
        ("list.parquet", b"PAR1", "Cannot read the list .*list.parquet"),
        ("gone.txt", None, "There is no file .*gone.txt"),
        ("gone.png", None, "There is no file or folder .*gone.png"),
        ("empty", None, "There is no"),
    ],
)
def test_lists_and_inputs_that_are_none_are_refused(tmp_path, bucket, name, content, said):
    pytest.importorskip("pyarrow")
    if content is not None:
        (tmp_path / name).write_bytes(content)
        bucket.write(name, content)
    for place in (str(tmp_path), bucket.place):
        with pytest.raises(ValueError, match=said):
            list(list_images([f"{place}/{name}"]))


def test_a_parquet_list_of_other_columns_names_them(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"number": [1]}), tmp_path / "list.parquet")
    with pytest.raises(ValueError, match="its columns are number, none of image, path"):
        list(list_images([tmp_path / "list.parquet"]))


def test_each_name_comes_once_and_in_its_order():
    rng = np.random.default_rng(0)
    names = [f"image {number}" for number in rng.integers(0, 700, 2000)]
    once = Once()
    parts = list(once(names, 64))
    assert [len(part) for part in parts[:-1]] == [64] * (len(parts) - 1)
    assert [name for part in parts for name in part] == list(dict.fromkeys(names))
    assert once.num_repeated == 2000 - len(set(names))
