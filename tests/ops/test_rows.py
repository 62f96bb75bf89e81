"""Laws of choosing rows."""

from __future__ import annotations

import numpy as np
import pytest
from references import rows as reference
from tensors import compute

from maskrcnn.ops import rows as row_ops


def scores_of(kind: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(3, 40)).astype(np.float32)
    if kind == "equal":
        scores[:] = 0.5
    if kind == "few values":
        scores = np.round(scores) + np.float32(0)  # no -0, which JAX ranks below 0
    if kind == "some left out":
        scores[rng.random(scores.shape) < 0.5] = -np.inf
    if kind == "one image left out":
        scores[1] = -np.inf
    return scores


@pytest.mark.parametrize("kind", ["different", "equal", "few values", "some left out", "one image left out"])
@pytest.mark.parametrize("num_rows", [1, 25, 40, 60])
def test_top_is_the_head_of_a_stable_sort(kind, num_rows):
    scores = scores_of(kind)
    values, indices, valid = compute(row_ops.top, scores, num_rows=num_rows)
    for image in range(len(scores)):
        expected = reference.top(scores[image], num_rows)
        np.testing.assert_array_equal(values[image], expected[0])
        np.testing.assert_array_equal(indices[image], expected[1])
        np.testing.assert_array_equal(valid[image], expected[2])
    assert indices.dtype == np.int32


@pytest.mark.parametrize("num_scores", [1, 17])
def test_top_gives_as_many_rows_as_wanted_whatever_there_is(num_scores):
    values, indices, valid = compute(row_ops.top, np.zeros((2, num_scores), np.float32), num_rows=20)
    assert values.shape == indices.shape == valid.shape == (2, 20)
    np.testing.assert_array_equal(valid.sum(axis=1), num_scores)
    assert not indices[~valid].any()


@pytest.mark.parametrize("rest", [(), (4,), (3, 2)])
@pytest.mark.parametrize("kind", [np.float32, np.int32, np.uint8, bool])
def test_gather_takes_each_images_own_rows(rest, kind):
    rng = np.random.default_rng(1)
    values, indices = rng.integers(0, 200, (2, 5, *rest)).astype(kind), rng.integers(0, 5, (2, 7)).astype(np.int32)
    expected = np.stack([values[image][indices[image]] for image in range(2)])
    np.testing.assert_array_equal(compute(row_ops.gather, values, indices), expected)


def test_sample_takes_the_candidates_of_highest_priority():
    rng = np.random.default_rng(2)
    candidates, priority = rng.random((4, 30)) < np.array([[0.0], [0.1], [0.6], [1.0]]), rng.random((4, 30)).astype(np.float32)
    indices, valid = compute(row_ops.sample, candidates, priority, num_rows=8)
    for image in range(4):
        ranked = [row for row in np.argsort(-priority[image]) if candidates[image, row]]
        np.testing.assert_array_equal(indices[image][valid[image]], ranked[:8])
        assert valid[image].sum() == min(8, candidates[image].sum())
