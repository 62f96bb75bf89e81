"""Data sets as a whole."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from small_data import annotation

from maskrcnn.config.model import Category
from maskrcnn.data.dataset import load_dataset


def faulty(write_coco):
    return write_coco(
        [
            annotation(1),
            annotation(2, category_id=99),
            annotation(3, category_id=98),
            annotation(4, category_id=3, bbox=[-9, 3, 21, 8]),
        ]
    )


def test_strict_refuses_all_faults_at_once(write_coco):
    with pytest.raises(ValueError, match="3 faults") as error:
        load_dataset(faulty(write_coco), strict=True)
    for words in ("annotation 2", "annotation 3", "annotation 4", "unknown category", "box outside of its image"):
        assert words in str(error.value)


def test_the_summary_counts_what_is_there_and_what_is_not(write_coco):
    assert load_dataset(faulty(write_coco)).summary().splitlines() == [
        "data.json: images 1 (0 without objects), objects 4 (2 of them crowds), classes 2",
        "3 faults, 1 of them repaired:",
        "2 × unknown category (left out)",
        "    image 1, annotation 2: no category has the id 99",
        "    image 1, annotation 3: no category has the id 98",
        "1 × box outside of its image (repaired)",
        "    image 1, annotation 4: bbox [-9, 3, 21, 8] in an image of 20×30; clipped",
    ]


def test_the_summary_shows_the_first_few_of_many(write_coco):
    dataset = load_dataset(write_coco([annotation(1), *(annotation(k, category_id=99) for k in range(2, 12))]))
    assert "10 × unknown category" in dataset.summary() and "… and 7 more" in dataset.summary()


def test_labels_follow_their_names_into_other_categories(write_coco):
    dataset = load_dataset(write_coco([annotation(1), annotation(2, category_id=3)]))
    other = (Category(1, "bird"), Category(2, "dog"), Category(3, "cat"))
    translated = dataset.with_categories(other)
    assert translated.categories == other
    np.testing.assert_array_equal(translated.samples[0].labels, [2, 1])
    np.testing.assert_array_equal(dataset.samples[0].labels, [0, 1])


def test_objects_of_a_class_that_is_not_there_are_an_error(write_coco):
    dataset = load_dataset(write_coco([annotation(1)]))
    assert len(dataset.with_categories([Category(1, "cat")])) == 1  # the data set names dogs, but has none
    with pytest.raises(ValueError, match="'cat'; possible classes: 'bird'"):
        dataset.with_categories([Category(1, "bird")])


def test_a_path_that_holds_nothing_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no data set"):
        load_dataset(tmp_path / "nothing.json")


def test_importing_the_room_imports_no_keras():
    code = "import sys, maskrcnn.data; sys.exit(any(name in sys.modules for name in ('keras', 'tensorflow', 'torch', 'jax')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
