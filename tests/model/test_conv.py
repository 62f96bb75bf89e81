"""Laws of the convolutions that are computed in another way than Keras's."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from keras import layers, ops
from tensors import compute, gradient

from maskrcnn.model.conv import Conv2D, Conv2DTranspose, Dense, interleave

SIDE, CHANNELS = 5, 3


@functools.cache
def doubled_by(kind: str, num_doublings: int):
    """One channel of an image (N, 5, 5, 3) after so many doublings, (N, M, M); Keras's way or ours, with the same weights."""
    widths = [4] * (num_doublings - 1) + [1]
    if kind == "keras":
        chain = [layers.Conv2DTranspose(width, 2, strides=2, activation="elu") for width in widths]
    else:
        chain = [Conv2DTranspose(width, activation="elu") for width in widths]
    rng = np.random.default_rng(0)
    for layer, width in zip(chain, [CHANNELS, *widths]):
        layer.build((None, None, None, width))
        layer.set_weights([rng.normal(size=weight.shape) for weight in layer.weights])

    def double(x):
        for layer in chain:
            x = layer(x)
        if kind == "keras":
            return ops.squeeze(x, -1)
        return interleave(ops.reshape(x, (-1, SIDE * SIDE * 4**num_doublings)), SIDE, num_doublings)

    return double


@pytest.mark.parametrize("num_doublings", [1, 2, 3])
def test_doublings_are_kerass(num_doublings):
    x = np.random.default_rng(1).normal(size=(2, SIDE, SIDE, CHANNELS)).astype(np.float32)
    ours, kerass = (compute(doubled_by(kind, num_doublings), x) for kind in ("ours", "keras"))
    assert ours.shape == (2, SIDE * 2**num_doublings, SIDE * 2**num_doublings)
    np.testing.assert_allclose(ours, kerass, rtol=1e-5, atol=1e-5)


def test_so_is_their_gradient():
    x = np.random.default_rng(1).normal(size=(1, SIDE, SIDE, CHANNELS)).astype(np.float32)
    weights = np.random.default_rng(2).normal(size=(1, 4 * SIDE, 4 * SIDE)).astype(np.float32)

    def gradient_by(kind: str) -> np.ndarray:
        return gradient(lambda x: ops.sum(ops.convert_to_tensor(weights) * doubled_by(kind, 2)(x)), x)

    np.testing.assert_allclose(gradient_by("ours"), gradient_by("keras"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("width", [3, 256])
@pytest.mark.parametrize("kind", [Dense, Conv2D, Conv2DTranspose])
def test_the_gradient_of_a_bias_in_16_bits_is_the_sum_over_all_places(kind, width):
    """A sum in bfloat16 stands still as soon as it is 256 times a summand: with Keras's layers TensorFlow's was 2, not 47."""
    layer = kind(width, dtype="mixed_bfloat16") if kind is not Conv2D else kind(width, 1, dtype="mixed_bfloat16")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 100, 80, 2)).astype(np.float32)
    layer(x)
    slope = rng.uniform(0.9, 1.1, layer(x).shape).astype(np.float32) / 512

    def total(bias):
        weights = [bias if weight is layer.bias else weight.value for weight in layer.weights]
        answer, _ = layer.stateless_call(weights, [], ops.convert_to_tensor(x))
        return ops.sum(ops.cast(answer, "float32") * ops.convert_to_tensor(slope))

    found = gradient(total, np.zeros(width, np.float32))
    np.testing.assert_allclose(found, slope.reshape(-1, width).sum(axis=0), rtol=1e-2)
