"""Laws of ResNets with deformable convolutions."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from tensors import compute

from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.backbones.deformable import DeformableConv2D
from maskrcnn.model.backbones.resnet import _ResNet


def block(deformable: str, strides: int = 2) -> keras.Model:
    """A single block of C3, from 8 channels on."""
    config = BackboneConfig(width_per_group=2, conv_bias=False, stride_in="3x3", deformable=deformable)
    images = keras.Input((None, None, 8))
    make = _ResNet(config)._bottleneck
    return keras.Model(images, make(images, 3, strides=strides, first=True, name="conv3_block1"))


@pytest.mark.parametrize(("deformable", "channels"), [("offsets", 18), ("modulated", 27)])
def test_a_block_begins_as_a_plain_one_whose_taps_then_move(deformable, channels):
    images = np.random.default_rng(0).normal(size=(1, 6, 10, 8)).astype(np.float32)
    plain, deformed = block("none"), block(deformable)
    offset = deformed.get_layer("conv3_block1_2_offset")
    assert offset.filters == channels
    weights = {weight.path: weight for weight in plain.weights}
    for weight in deformed.weights:
        if not weight.path.startswith(offset.name):
            factor = 2.0 if deformable == "modulated" and "2_conv" in weight.path else 1.0  # sigmoid(0) is a half
            weight.assign(factor * keras.ops.convert_to_numpy(weights[weight.path]))
    before = compute(deformed, images)
    np.testing.assert_allclose(before, compute(plain, images), atol=1e-4)
    offset.bias.assign(np.full(channels, 0.7, np.float32))
    assert np.abs(compute(lambda x: deformed(x), images) - before).max() > 1e-3  # compiled anew on JAX


def test_c2_stays_as_it_is_and_other_backbones_are_refused():
    images = keras.Input((None, None, 8))
    make = _ResNet(BackboneConfig(deformable="offsets"))._bottleneck
    model = keras.Model(images, make(images, 2, strides=1, first=True, name="conv2_block1"))
    assert not any(isinstance(layer, DeformableConv2D) for layer in model.layers)
    for name in ("resnet18", "mobilenet_v2"):
        with pytest.raises(ValueError, match=f"backbone.deformable is for .*received it with backbone.name='{name}'"):
            BackboneConfig(name=name, deformable="modulated")
