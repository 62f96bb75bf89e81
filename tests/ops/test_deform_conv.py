"""Deformable convolution beside torchvision's and beside a plain one."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from ops.conftest import FOLDER
from tensors import compute, gradient

from maskrcnn.ops.deform_conv import deform_conv

KINDS = {"plain": 1, "strided": 2, "grouped": 1}  # and their strides


def arrays_of(kind: str) -> dict[str, np.ndarray]:
    """torchvision's, channels last; `tests/golden/torchvision_deform_conv.py` made them."""
    with np.load(FOLDER.parent / "golden" / "torchvision_deform_conv.npz") as arrays:
        found = {name.removeprefix(f"{kind}."): arrays[name] for name in arrays.files if name.startswith(f"{kind}.")}
    return {
        name: array.transpose((2, 3, 1, 0) if name.startswith("kernel") else (0, 2, 3, 1)).copy()
        for name, array in found.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_answer_and_gradients_are_torchvisions(kind):
    arrays = arrays_of(kind)
    names = [name for name in ("x", "offsets", "kernel", "factors") if name in arrays]
    inputs = {name: arrays[name] for name in names}
    found = compute(deform_conv, *inputs.values(), stride=KINDS[kind])
    np.testing.assert_allclose(found, arrays["answer"], atol=2e-5)
    tensors = {name: keras.ops.convert_to_tensor(array) for name, array in inputs.items()}
    weights = keras.ops.convert_to_tensor(arrays["weights"])
    for name in names:

        def weighed(tensor, name=name):
            answer = deform_conv(*(tensors | {name: tensor}).values(), stride=KINDS[kind])
            return keras.ops.sum(answer * weights)

        np.testing.assert_allclose(gradient(weighed, inputs[name]), arrays[f"{name}.gradient"], atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_without_offsets_it_is_a_plain_convolution(stride):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(1, 5, 6, 3)).astype(np.float32), rng.normal(size=(3, 3, 3, 2)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    plain = compute(keras.ops.conv, padded, kernel, strides=stride, padding="valid")
    offsets = np.zeros((1, *plain.shape[1:3], 18), np.float32)
    np.testing.assert_allclose(compute(deform_conv, x, offsets, kernel, stride=stride), plain, atol=1e-5)
