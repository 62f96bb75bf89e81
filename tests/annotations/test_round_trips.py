"""What is written and read again: every pixel, in every format that is written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskrcnn.annotations.formats import WRITERS, write_annotations
from maskrcnn.annotations.objects import TrueObject, make_sample
from maskrcnn.config.model import Category
from maskrcnn.data.dataset import Dataset, load_dataset
from maskrcnn.geometry.masks import mask_to_box
from maskrcnn.geometry.rle import mask_to_rle, rle_to_mask

CATEGORIES = (Category(7, "tree"), Category(3, "tall cat"), Category(12, "Hündchen"))
UNNAMED = {"label-maps"}  # formats without names of classes
WITH_CROWDS = {"coco", "parquet", "parquet-images", "qupath", "shards"}


@st.composite
def drawings(draw) -> tuple[np.ndarray, list[int]]:
    """(H, W) numbers of objects that do not overlap, 0 = background, and their labels: holes, parts, single pixels, borders."""
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(0, 4))
    if draw(st.booleans()):  # noise: many parts and holes
        numbers = rng.integers(0, count + 1, (height, width))
    else:  # boxes with holes
        numbers = np.zeros((height, width), int)
        for number in range(1, count + 1):
            rows, columns = np.sort(rng.integers(0, height + 1, 2)), np.sort(rng.integers(0, width + 1, 2))
            numbers[rows[0] : rows[1], columns[0] : columns[1]] = number
            numbers[rows[0] + 1 : rows[1] - 1, columns[0] + 1 : columns[1] - 1] = 0
    return numbers, rng.integers(0, len(CATEGORIES), count).tolist()


def dataset_of(drawings: list[tuple[np.ndarray, list[int]]], crowds: bool = False) -> Dataset:
    samples = []
    next_id = 1
    for image_id, (numbers, labels) in enumerate(drawings, start=1):
        objects = []
        for number, label in enumerate(labels, start=1):
            mask = numbers == number
            if mask.any():
                crowd = crowds and number == 1
                objects.append(TrueObject(mask_to_box(mask), label, crowd, mask_to_rle(mask), float(mask.sum()), next_id))
                next_id += 1
        image = np.full((*numbers.shape, 3), 40 * image_id % 256, np.uint8)
        sample = make_sample(image_id, f"päge {image_id}.png", Path(), numbers.shape, objects)
        samples.append(sample.replace(path="", image=image))
    return Dataset(samples, CATEGORIES, name="drawn")


def objects_of(data: Dataset, *, named: bool) -> list[list[tuple[str, bool, bytes]]]:
    """Of each image, in the order of their names, class, crowd and pixels of every object."""
    return [
        sorted(
            (data.categories[label].name if named else "", bool(crowd), rle_to_mask(rle).tobytes())
            for label, crowd, rle in zip(sample.labels, sample.crowd, sample.rles, strict=True)
        )
        for sample in sorted(data.samples, key=lambda sample: Path(sample.path or sample.file_name).stem)
    ]


@pytest.mark.parametrize("name", sorted(WRITERS))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(drawings(), min_size=1, max_size=2))
def test_reading_undoes_writing(name, drawn, tmp_path_factory):
    out = tmp_path_factory.mktemp("written")
    data = dataset_of(drawn)
    write_annotations(data, name, out)
    # Noise looks like numbers of classes to who reads label maps; what it is, the writer knows.
    masks = {"masks": "instances"} if name in ("label-maps", "rle-csv") else {}
    again = load_dataset(out, format=name, strict=True, **masks)
    assert objects_of(again, named=name not in UNNAMED) == objects_of(data, named=name not in UNNAMED)


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_what_a_format_cannot_say_is_counted(name, tmp_path):
    numbers = np.zeros((20, 30), int)
    numbers[2:9, 3:12], numbers[10:18, 15:28] = 1, 2
    data = dataset_of([(numbers, [0, 1])], crowds=True)
    told = {fault.kind for fault in write_annotations(data, name, tmp_path)}
    again = load_dataset(tmp_path)
    num_crowds = int(again.samples[0].crowd.sum())
    assert len(again.samples[0].labels) == 1 + num_crowds
    assert num_crowds == (name in WITH_CROWDS)
    assert ("crowd regions" in told) == (name not in WITH_CROWDS and name != "voc")


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_a_written_folder_is_recognised_as_what_it_is(name, tmp_path):
    numbers = np.zeros((20, 30), int)
    numbers[2:9, 3:12], numbers[10:18, 15:28] = 1, 2
    data = dataset_of([(numbers, [0, 1]), (numbers.T.copy(), [2, 1])])
    write_annotations(data, name, tmp_path)
    again = load_dataset(tmp_path, strict=True)
    assert objects_of(again, named=name not in UNNAMED) == objects_of(data, named=name not in UNNAMED)


AWKWARD = (
    *(
        "a b#c?d%20",
        'it\'s "quoted" & <b>',
        "cell[1]",
        "a.b",
        "a.b.c",
        "a..b",
        "-x",
        "50%",
        "a;b,c",
        "=1+1",
        "日本語 ü",
        "0012",
    ),
    *("ab12cd34-x", "{x}", "$HOME", "~x", "x_mask_", "# x"),
)


@pytest.mark.skipif(os.name == "nt", reason="Windows takes no such names")
@pytest.mark.parametrize("name", sorted(WRITERS))
def test_files_of_any_name_are_found_again(name, tmp_path):
    """What means something in addresses, patterns, tables and pages is part of a name."""
    numbers = np.zeros((20, 30), int)
    numbers[2:9, 3:12] = 1
    drawn = dataset_of([(np.roll(numbers, shift, axis=1), [0]) for shift in range(len(AWKWARD))])
    samples = [sample.replace(file_name=f"{stem}.png") for sample, stem in zip(drawn.samples, AWKWARD, strict=True)]
    data = Dataset(samples, CATEGORIES[:1], name="named")
    write_annotations(data, name, tmp_path)
    masks = {"masks": "instances"} if name in ("label-maps", "rle-csv") else {}
    again = load_dataset(tmp_path, format=name, strict=True, **masks)
    assert sorted(Path(sample.path).stem for sample in again.samples) == sorted(AWKWARD)
    assert objects_of(again, named=False) == objects_of(data, named=False)
