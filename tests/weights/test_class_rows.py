"""Laws of carrying the rows of classes from one model to another."""

from __future__ import annotations

import numpy as np
import pytest

from maskrcnn.weights.class_rows import belongs_to_classes, carry, shared

WIDTH = 5
SHAPES = {  # of each weight with so many classes
    "box_head/classes/kernel": lambda k: (WIDTH, k + 1),
    "box_head/classes/bias": lambda k: (k + 1,),
    "box_head/deltas/kernel": lambda k: (WIDTH, 4 * k),
    "box_head/deltas/bias": lambda k: (4 * k,),
    "box_head/stage2/classes/kernel": lambda k: (WIDTH, k + 1),
    "box_head/stage2/deltas/kernel": lambda k: (WIDTH, 4 * k),
    "mask_head/class_kernel": lambda k: (k, WIDTH),
    "mask_head/class_bias": lambda k: (k,),
    "mask_head/stage2/class_bias": lambda k: (k,),
}


def weights(path: str, num_classes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPES[path](num_classes)).astype(np.float32)


def of_class(path: str, values: np.ndarray, row: int | None) -> np.ndarray:
    """What a weight holds of one class, or of the background (None), written out."""
    if path.startswith("mask_head"):
        return values[row]
    if "deltas" in path:
        return values[..., 4 * row : 4 * row + 4]
    return values[..., 0 if row is None else row + 1]


@pytest.mark.parametrize("path", SHAPES)
def test_each_class_keeps_its_rows_whatever_the_order(path):
    old, new = ["a", "b", "c"], ["c", "d", "a", "b"]
    found, fresh = weights(path, 3), weights(path, 4, seed=1)
    answer = carry(path, found, fresh, old, new)
    assert answer.shape == fresh.shape
    for row, name in enumerate(new):
        expected = of_class(path, fresh, row) if name == "d" else of_class(path, found, old.index(name))
        np.testing.assert_array_equal(of_class(path, answer, row), expected, err_msg=name)
    if "/classes/" in path:
        np.testing.assert_array_equal(of_class(path, answer, None), of_class(path, found, None))


def test_weights_with_rows_for_the_classes_are_known_by_their_paths():
    assert all(map(belongs_to_classes, SHAPES))
    for layer in ("box_head/fc1", "box_head/shared_deltas", "box_head/stage2/shared_deltas", "rpn/deltas"):
        assert not belongs_to_classes(f"{layer}/kernel"), layer


@pytest.mark.parametrize("path", SHAPES)
def test_carrying_there_and_back_changes_nothing(path):
    found, names, turned = weights(path, 3), ["a", "b", "c"], ["b", "c", "a"]
    there = carry(path, found, np.zeros_like(found), names, turned)
    assert (there != found).any()
    np.testing.assert_array_equal(carry(path, there, np.zeros_like(found), turned, names), found)


@pytest.mark.parametrize("path", SHAPES)
def test_another_number_of_rows_than_names_is_refused(path):
    with pytest.raises(ValueError, match="do not fit"):
        carry(path, weights(path, 3), weights(path, 2), ["a", "b"], ["b", "a"])


def test_shared_classes_stand_in_the_targets_order():
    assert shared(["a", "b", "c"], ["d", "c", "a"]) == ["c", "a"]
