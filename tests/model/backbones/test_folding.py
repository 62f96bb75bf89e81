"""Folding a norm into its convolution changes nothing but the time it takes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from small_network import make_batch, small_network, train
from tensors import compute, gradient

from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.backbones.build import build_backbone
from maskrcnn.model.backbones.folding import FoldedBackbone, fold
from maskrcnn.ops import native

IMAGES = np.random.default_rng(0).normal(size=(1, 64, 96, 3)).astype(np.float32)
KINDS = {
    "mobilenet_v2": {"name": "mobilenet_v2"},  # depthwise convolutions
    "resnet50": {"name": "resnet50"},
    "resnet50 with biases": {"name": "resnet50", "conv_bias": True},
    "resnext50": {"name": "resnet50", "groups": 32, "width_per_group": 4},
}


def with_statistics(backbone: keras.Model) -> keras.Model:
    """Norms with a mean, a variance, a scale and a shift of their own, as training leaves them."""
    rng = np.random.default_rng(1)
    for weight in backbone.weights:
        if "moving_variance" in weight.path or "gamma" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif "moving_mean" in weight.path or "beta" in weight.path or "bias" in weight.path:
            weight.assign(rng.normal(0, 0.3, weight.shape))
    return backbone


@pytest.mark.parametrize("kind", KINDS)
def test_the_features_are_those_of_the_backbone(kind):
    backbone = with_statistics(build_backbone(BackboneConfig(**KINDS[kind])))
    folded = fold(backbone)
    assert sum("folded" in layer.name for layer in folded.layers) == sum(
        isinstance(layer, keras.layers.BatchNormalization) for layer in backbone.layers
    )
    plain, fast = (compute(graph, IMAGES) for graph in (backbone, folded))
    for one, other in zip(plain, fast, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5 * np.abs(one).max())


@pytest.mark.parametrize("kernel", [1, 2, 3, 7])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("size", [(8, 11), (9, 10), (7, 7)])
@pytest.mark.parametrize("name", ["conv", "depthwise_conv"])
def test_the_backends_own_convolutions_are_those_of_keras(name, size, padding, strides, kernel):
    if getattr(native, name) is None:
        pytest.skip(f"{keras.backend.backend()} has no such kernel of its own")
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, *size, 6)).astype(np.float32)
    kernel = rng.normal(size=(kernel, kernel, 6, 1 if name == "depthwise_conv" else 4)).astype(np.float32)
    ours = compute(getattr(native, name), images, kernel, strides=(strides, strides), padding=padding)
    kerass = compute(getattr(keras.ops, name), images, kernel, strides=strides, padding=padding)
    np.testing.assert_allclose(ours, kerass, rtol=0, atol=1e-4)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("name", "pixels", "options"),
    [
        ("conv", 1, {"strides": (2, 2)}),
        ("conv", 2, {"strides": (1, 1)}),
        ("conv", 3, {"strides": (1, 1)}),
        ("conv", 3, {"strides": (2, 2)}),
        ("conv", 3, {"strides": (1, 1), "dilation_rate": (2, 1)}),
        ("conv in two groups", 3, {"strides": (1, 1)}),
        ("depthwise_conv", 2, {"strides": (1, 1)}),
        ("depthwise_conv", 3, {"strides": (1, 1)}),
        ("depthwise_conv", 3, {"strides": (2, 2)}),
    ],
)
def test_so_are_their_gradients(name, pixels, options, padding):
    name, channels = name.split(" ")[0], 3 if "groups" in name else 6
    if getattr(native, name) is None:
        pytest.skip(f"{keras.backend.backend()} has no such kernel of its own")
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 8, 11, 6)).astype(np.float32)
    kernel = rng.normal(size=(pixels, pixels, channels, 1 if name == "depthwise_conv" else 4)).astype(np.float32)
    weights = keras.ops.convert_to_tensor(rng.normal(size=(2, 8, 11, 6)).astype(np.float32))

    def total(conv, images, kernel):
        answer = conv(keras.ops.convert_to_tensor(images), keras.ops.convert_to_tensor(kernel), padding=padding, **options)
        _, height, width, filters = answer.shape
        return keras.ops.sum(answer * weights[:, :height, :width, :filters])

    for function, array in (
        (lambda conv: lambda images: total(conv, images, kernel), images),
        (lambda conv: lambda kernel: total(conv, images, kernel), kernel),
    ):
        ours, kerass = (gradient(function(conv), array) for conv in (getattr(native, name), getattr(keras.ops, name)))
        np.testing.assert_allclose(ours, kerass, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("kind", "name"), [("mobilenet_v2", "depthwise_conv"), ("resnext50", "conv")])
def test_they_take_the_place_of_kerass_where_norms_learn(kind, name):
    if getattr(native, name) is None:
        pytest.skip(f"{keras.backend.backend()} has no such kernel of its own")
    backbone = with_statistics(build_backbone(BackboneConfig(**KINDS[kind], norm="live")))
    swapped = fold(backbone, norms=False)
    assert not any(isinstance(layer, keras.layers.DepthwiseConv2D) for layer in swapped.layers)
    for one, other in zip(*(compute(graph, IMAGES) for graph in (backbone, swapped)), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5 * np.abs(one).max())


def test_the_second_graph_follows_the_weights_of_the_first():
    backbone = with_statistics(build_backbone(BackboneConfig(name="mobilenet_v2")))
    folded = FoldedBackbone(backbone)
    before = keras.ops.convert_to_numpy(folded(IMAGES)[0])
    backbone.set_weights([weight * 1.1 for weight in backbone.get_weights()])
    plain, after = (keras.ops.convert_to_numpy(graph(IMAGES)[0]) for graph in (backbone, folded))
    assert np.abs(after - before).max() > 0.01 * np.abs(before).max()
    np.testing.assert_allclose(plain, after, rtol=0, atol=2e-5 * np.abs(plain).max())


def test_norms_that_learn_still_do_and_a_model_counts_its_weights_once():
    network = small_network()
    count, names = len(network.weights), [layer.name for layer in network.layers]
    mean = next(weight for weight in network.backbone.weights if weight.path.endswith("stage3_norm/moving_mean"))
    before = keras.ops.convert_to_numpy(mean)
    network.compile("sgd")
    train(network, make_batch(), steps=1)
    network.infer(np.zeros((1, 64, 96, 3), np.float32), np.array([[64, 96]], np.int32))
    assert not np.array_equal(before, keras.ops.convert_to_numpy(mean))
    assert (len(network.weights), [layer.name for layer in network.layers]) == (count, names)
