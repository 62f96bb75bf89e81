"""A data set in another tool's format."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import MASKS, SIZE, assert_scene, numbers, save, write_images

from maskrcnn.annotations.formats import WRITERS
from maskrcnn.data.dataset import Dataset, load_dataset
from maskrcnn.verbs.data import convert_data


@pytest.fixture
def scene(tmp_path):
    """A folder of one mask file an object."""
    write_images(tmp_path / "data/images", "a.png")
    for k, (name, mask) in enumerate(MASKS.items()):
        save(tmp_path / f"data/masks/a/{name}_{k}.png", mask.astype(np.uint8))
    return tmp_path / "data"


@pytest.mark.parametrize("to", sorted(WRITERS))
def test_a_path_goes_in_and_a_folder_comes_out(scene, tmp_path, to):
    converted = convert_data(scene, to=to, out=tmp_path / "out")
    assert converted.data.faults == []
    assert [fault.kind for fault in converted.lost] == (["classes"] if to == "label-maps" else [])
    assert_scene(load_dataset(tmp_path / "out", format=to, strict=True), named=to != "label-maps")


def test_images_may_be_linked_to_or_left_where_they_are(scene, tmp_path):
    convert_data(scene, to="coco", out=tmp_path / "linked", images="link")
    assert (tmp_path / "linked/images/a.png").samefile(scene / "images/a.png")
    convert_data(scene, to="coco", out=tmp_path / "left", images="none")
    assert not (tmp_path / "left/images").exists()
    assert_scene(load_dataset(tmp_path / "left", images=scene / "images", strict=True))


def test_what_is_lost_is_told(scene, tmp_path):
    image = np.zeros((*SIZE, 3), np.uint8)
    data = Dataset.from_arrays([image], [np.stack([MASKS["cat"], MASKS["cat"] | MASKS["tree"]])], [["cat", "tree"]])
    converted = convert_data(data, to="label-maps", out=tmp_path / "out")
    assert converted.summary().splitlines()[1:] == [
        "not written: 1 objects lie over others, which lose those pixels",
        "not written: 2 classes are not written: all objects are of one",
    ]


def test_folders_with_something_in_them_and_unknown_formats_are_refused(scene, tmp_path):
    with pytest.raises(ValueError, match="is not empty; name a new folder"):
        convert_data(scene, to="coco", out=scene)
    with pytest.raises(ValueError, match="written as coco, .*; received 'odd'"):
        convert_data(scene, to="odd", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_that_come_twice_are_numbered(tmp_path):
    first = load_written(tmp_path, "one")
    second = load_written(tmp_path, "two")
    both = Dataset([*first.samples, *second.samples], first.categories, name="both")
    convert_data(both, to="yolo", out=tmp_path / "out")
    files = sorted(file.name for file in (tmp_path / "out").rglob("*.png"))
    assert files == ["a.png", "a_2.png"]
    assert len(load_dataset(tmp_path / "out", strict=True)) == 2


def load_written(folder, name: str) -> Dataset:
    save(folder / f"{name}-set/masks/a.png", numbers())
    write_images(folder / f"{name}-set/images", "a.png")
    return load_dataset(folder / f"{name}-set", strict=True)
