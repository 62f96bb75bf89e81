"""What to train on and what to validate with."""

from __future__ import annotations

import pytest
from drawn import numbers, save, write_images

from maskrcnn.data.parts import read_parts


def write(folder, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        write_images(folder / "images", f"{number}.png")
        save(folder / f"masks/{number}.png", numbers())


def names(data) -> list[str]:
    return [sample.file_name for sample in data.samples]


@pytest.mark.parametrize("val", [0.3, "0.3", None])
def test_a_fraction_is_split_off_and_told(tmp_path, val):
    write(tmp_path, 10)
    told: list[str] = []
    train, rest = read_parts(tmp_path, val, seed=3, log=told.append, strict=True)
    assert len(rest) == (2 if val is None else 3) and sorted(names(train) + names(rest)) == [f"{k}.png" for k in range(10)]
    assert told == [f"{len(rest)} of 10 images are kept to validate with, classes shared out evenly (seed 3)."]
    again = read_parts(tmp_path, val, seed=3)
    assert names(again[1]) == names(rest)


def test_two_paths_are_two_data_sets(tmp_path):
    write(tmp_path / "one", 2)
    write(tmp_path / "two", 1, first=5)
    (tmp_path / "two/images").rename(tmp_path / "elsewhere")
    train, rest = read_parts(tmp_path / "one", tmp_path / "two", seed=0, val_images=tmp_path / "elsewhere", strict=True)
    assert (names(train), names(rest)) == (["0.png", "1.png"], ["5.png"])


def test_one_path_twice_means_its_parts(tmp_path):
    write(tmp_path / "train", 2)
    write(tmp_path / "valid", 1, first=5)
    train, rest = read_parts(tmp_path, tmp_path, seed=0, strict=True)
    assert (names(train), names(rest)) == (["0.png", "1.png"], ["5.png"])


@pytest.mark.parametrize(("val", "words"), [("1.5", "A fraction lies between"), ("nothing.json", "no data set nothing.json")])
def test_what_is_neither_is_an_error(tmp_path, val, words):
    write(tmp_path, 3)
    with pytest.raises(ValueError, match=words):
        read_parts(tmp_path, val, seed=0)


def test_a_part_without_objects_says_so(tmp_path):
    write(tmp_path / "one", 2)
    write_images(tmp_path / "two/images", "a.png")
    save(tmp_path / "two/masks/a.png", numbers() * 0)
    train, val = read_parts(tmp_path / "one", tmp_path / "two", seed=0, strict=True)
    assert train.has_objects and not val.has_objects
