"""Laws of the losses of masks."""

from __future__ import annotations

from typing import get_args

import keras
import numpy as np
import pytest
from references import gradients
from references import mask_losses as reference
from tensors import compute, gradient

from maskrcnn.ops.mask_losses import MaskLoss, mask_loss, outline_distance

KINDS = get_args(MaskLoss)
SIDE = 7


def masks_of(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Targets and logits (1, 4, M, M): a disc, a corner, one pixel, and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    shapes = [(y - 3) ** 2 + (x - 2) ** 2 < 6, (y < 2) & (x > 4), (y == 5) & (x == 1), rng.random((SIDE, SIDE)) < 0.5]
    return np.stack(shapes)[None].astype(np.float32), rng.normal(0, 2, (1, 4, SIDE, SIDE)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_gradients_are_those_of_the_papers(kind):
    target, logits = masks_of()
    found = compute(mask_loss, target, logits, kind=kind)
    expected = [reference.mask_loss(target[0, row], logits[0, row], kind) for row in range(4)]
    np.testing.assert_allclose(found[0], expected, rtol=1e-4)
    one = keras.ops.convert_to_tensor(target[0, 0])
    answer = gradient(lambda values: mask_loss(one, values, kind), logits[0, 0])
    slope = gradients.numeric(lambda values: reference.mask_loss(target[0, 0], values, kind), logits[0, 0])
    np.testing.assert_allclose(answer, slope, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_without_a_fault_has_no_loss_and_a_whole_fault_the_most(kind):
    target, _ = masks_of()
    target[0, 3] = 0.0  # an empty one too
    right, wrong = (compute(mask_loss, target, sign * (2 * target - 1) * 30.0, kind=kind) for sign in (1.0, -1.0))
    np.testing.assert_allclose(right, 0, atol=1e-6)
    assert (wrong > 0.9).all()


def test_a_fault_counts_the_more_the_farther_it_is_from_the_outline():
    """The same number of wrong pixels, beside the object and away from it."""
    target = np.zeros((1, 2, 9, 9), np.float32)
    target[..., :, :3] = 1
    drawn = target.copy()
    drawn[0, 0, :, 3] = 1
    drawn[0, 1, :, 8] = 1
    near, far = compute(mask_loss, target, (2 * drawn - 1) * 30.0, kind="boundary")[0]
    same, other = compute(mask_loss, target, (2 * drawn - 1) * 30.0, kind="binary_crossentropy")[0]
    np.testing.assert_allclose([same, other, far - near], [30 / 9, 30 / 9, 5 / 9 / 9], rtol=1e-4)


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_a_target_that_is_all_or_nothing_has_no_outline(fill):
    assert (compute(outline_distance, np.full((1, 1, 5, 5), fill, np.float32)) == 0).all()
