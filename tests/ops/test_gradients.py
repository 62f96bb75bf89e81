"""Laws of what changes gradients alone."""

from __future__ import annotations

import keras
import numpy as np
from tensors import compute, gradient

from maskrcnn.ops.gradients import scale_gradient

VALUES = np.random.default_rng(0).normal(0, 100, (3, 5)).astype(np.float32)


def test_values_stay_as_they_are():
    np.testing.assert_array_equal(compute(scale_gradient, VALUES, scale=1 / 3), VALUES)


def test_gradients_are_scaled():
    of_scaled = gradient(lambda values: keras.ops.sum(keras.ops.square(scale_gradient(values, 0.25))), VALUES)
    np.testing.assert_allclose(of_scaled, 0.25 * 2 * VALUES, rtol=1e-5)
