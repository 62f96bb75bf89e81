"""Laws of the pyramid."""

from __future__ import annotations

import numpy as np
import pytest
from tensors import compute

from maskrcnn.config.model import FpnConfig
from maskrcnn.model.necks.fpn import FPN, STRIDES

WIDTHS = (3, 4, 5, 6)


@pytest.fixture(scope="module")
def fpn() -> FPN:
    layer = FPN(FpnConfig(channels=2))
    layer.build([(None, None, None, width) for width in WIDTHS])
    rng = np.random.default_rng(0)
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    layer.built = True
    return layer


def features_of(seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        rng.normal(size=(2, 64 // stride, 96 // stride, width)).astype(np.float32) for stride, width in zip(STRIDES, WIDTHS)
    ]


def convolve(feature: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """3 × 3 with zeros around, shifted copies added up."""
    padded = np.pad(feature, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = feature.shape[1:3]
    return bias + sum(padded[:, y : y + height, x : x + width] @ kernel[y, x] for y in range(3) for x in range(3))


def test_the_pyramid_is_that_of_the_paper(fpn):
    features = features_of()
    answer = compute(fpn, features)
    merged = None
    for level in (3, 2, 1, 0):
        kernel, bias = (np.array(weight) for weight in fpn.lateral[level].get_weights())
        lateral = features[level] @ kernel[0, 0] + bias
        merged = lateral if merged is None else lateral + merged.repeat(2, axis=1).repeat(2, axis=2)
        expected = convolve(merged, *fpn.output_convs[level].get_weights())
        np.testing.assert_allclose(answer[level], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(answer[4], answer[3][:, ::2, ::2])
    assert [pyramid.shape for pyramid in answer] == [(2, -(-64 // stride), -(-96 // stride), 2) for stride in STRIDES]


def test_every_level_sees_the_coarser_ones_and_none_of_the_finer(fpn):
    plain = compute(fpn, features_of())
    for changed in range(4):
        features = features_of()
        features[changed] = features[changed] + 1
        answer = compute(fpn, features)
        for level in range(4):
            assert np.array_equal(answer[level], plain[level]) == (level > changed)
