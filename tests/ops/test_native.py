"""A backend's own kernel gives the answer of the code that every backend runs."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from references import samples
from tensors import compute, gradient

from maskrcnn.ops.native import KERNELS, PORTABLE
from maskrcnn.ops.roi_align import roi_align

needs_pooling = pytest.mark.skipif(
    KERNELS.pool_levels is PORTABLE.pool_levels,
    reason=f"{keras.backend.backend()} has no kernel of its own to pool with",
)

STRIDES = (4, 8, 16, 32)


def features_of(height: int, width: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(2, height // stride, width // stride, 4)).astype(np.float32) for stride in STRIDES]


def boxes_of(kind: str) -> np.ndarray:
    """(2, N, 4) in a frame of 96 × 160 pixels."""
    rng = np.random.default_rng(1)
    if kind == "across the edges":
        return np.stack([samples.boxes(rng, 40, side=160, least=1, most=160) for _ in range(2)])
    if kind == "one level alone":
        return np.stack([samples.boxes(rng, 12, side=80, least=4, most=10) for _ in range(2)])
    if kind == "second image alone beyond P2":
        return np.stack([samples.boxes(rng, 12, side=80, least=low, most=low + 40) for low in (3, 60)])
    if kind == "the whole frame":
        return np.tile(np.array([0, 0, 160, 96], np.float32), (2, 3, 1))
    return np.clip(np.stack([samples.DEGENERATE] * 2), -200, 400)  # farther out the kernel's own coordinates lose digits


@needs_pooling
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("pool_size", "sampling_ratio"), [(7, 2), (14, 2), (3, 1), (2, 3)])
@pytest.mark.parametrize(
    "kind", ["across the edges", "one level alone", "second image alone beyond P2", "the whole frame", "degenerate"]
)
def test_the_kernel_equals_the_portable_path_to_float32(kind, pool_size, sampling_ratio, aligned):
    options = {"strides": STRIDES, "pool_size": pool_size, "sampling_ratio": sampling_ratio, "aligned": aligned}
    answers = [
        compute(roi_align, features_of(96, 160), boxes_of(kind), canonical_size=56.0, kernels=way, **options)
        for way in (KERNELS, PORTABLE)
    ]
    assert np.abs(answers[0] - answers[1]).max() <= 1e-5 * np.abs(answers[1]).max()


@needs_pooling
@pytest.mark.parametrize("level", range(4))
@pytest.mark.parametrize("kind", ["across the edges", "one level alone"])
def test_the_kernels_gradient_equals_that_of_the_portable_path(kind, level):
    features = [keras.ops.convert_to_tensor(feature) for feature in features_of(96, 160)]
    boxes = keras.ops.convert_to_tensor(boxes_of(kind))
    weights = keras.ops.convert_to_tensor(np.random.default_rng(2).normal(size=(2, boxes.shape[1], 3, 3, 4)).astype(np.float32))

    def total(feature, way):
        maps = [*features[:level], feature, *features[level + 1 :]]
        return keras.ops.sum(weights * roi_align(maps, boxes, strides=STRIDES, pool_size=3, canonical_size=56.0, kernels=way))

    array = keras.ops.convert_to_numpy(features[level])
    ours, portable = (gradient(functools.partial(total, way=way), array) for way in (KERNELS, PORTABLE))
    assert np.abs(ours - portable).max() <= 1e-5 * max(np.abs(portable).max(), 1.0)
    if kind == "one level alone" and level == 3:
        assert not ours.any()


@needs_pooling
def test_large_maps_keep_the_accuracy():
    """A frame of 1344 pixels: places far from the origin lose digits in the kernel's own coordinates."""
    features = [keras.ops.convert_to_tensor(feature) for feature in features_of(800, 1344)]
    boxes = np.stack([samples.boxes(np.random.default_rng(image), 20, side=1000, least=8, most=600) for image in range(2)])
    ours, portable = (
        keras.ops.convert_to_numpy(
            roi_align(features, keras.ops.convert_to_tensor(boxes), strides=STRIDES, pool_size=7, kernels=way)
        )
        for way in (KERNELS, PORTABLE)
    )
    assert np.abs(ours - portable).max() <= 1e-4 * np.abs(portable).max()


@pytest.mark.skipif(KERNELS.num_used is PORTABLE.num_used, reason=f"shapes are fixed on {keras.backend.backend()}")
@pytest.mark.parametrize(
    ("valid", "wanted"),
    [([[1, 1, 0, 0], [1, 0, 0, 0]], 2), ([[0, 0, 1, 0], [1, 0, 0, 0]], 3), ([[0] * 4] * 2, 1), ([[1] * 4] * 2, 4)],
)
def test_so_many_rows_hold_every_valid_one(valid, wanted):
    assert int(KERNELS.num_used(keras.ops.convert_to_tensor(np.array(valid, bool)))) == wanted
