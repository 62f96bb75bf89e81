"""Laws of the norms behind the convolutions of the pyramid and the heads."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from small_network import make_batch, small_network, train
from tensors import compute

from maskrcnn.model.norm import make_norms

PARTS = ("fpn", "box_head", "mask_head")


def network_with(norm: str, **changes):
    return small_network(**{f"{part}__norm": norm for part in PARTS}, fpn__channels=32, mask_head__channels=32, **changes)


KINDS = [("frozen", "2fc"), ("live", "4conv1fc"), ("group", "2fc")]


# Each takes JAX long to compile, so there group norm alone.
@pytest.mark.parametrize(("kind", "box_head"), KINDS[2:] if keras.backend.backend() == "jax" else KINDS)
def test_norms_learn_where_they_are_not_frozen(kind, box_head):
    network = network_with(kind, box_head__kind=box_head, box_head__hidden=64, box_head__conv_channels=32)
    before = {
        weight.path: keras.ops.convert_to_numpy(weight)
        for weight in network.weights
        if weight.path.split("/")[0] in PARTS and "_norm/" in weight.path
    }
    assert {path.split("/")[0] for path in before} == set(PARTS)
    network.compile(keras.optimizers.Adam(0.01))  # whose step does not vanish with the gradient
    train(network, make_batch(), steps=1)
    for weight in network.weights:
        if weight.path in before:
            moved = not np.array_equal(before[weight.path], keras.ops.convert_to_numpy(weight))
            statistics = weight.path.endswith(("moving_mean", "moving_variance"))
            assert moved == (kind == "live" if statistics else kind != "frozen"), weight.path


def test_a_convolution_with_a_norm_behind_it_has_no_bias_and_a_dense_layer_keeps_it():
    paths = {weight.path for weight in network_with("frozen", box_head__kind="2fc", box_head__hidden=32).weights}
    assert {"fpn/lateral2/bias", "fpn/output5/bias", "mask_head/conv1/bias"}.isdisjoint(paths)
    assert {"box_head/fc1/bias", "box_head/fc2/bias", "fpn/lateral2_norm/gamma", "box_head/fc2_norm/beta"} <= paths


@pytest.mark.parametrize("kind", ["frozen", "live"])
def test_inference_takes_the_stored_statistics_and_the_epsilon(kind):
    norm = make_norms(kind, 0.5, ["norm"])[0]
    norm.build((None, 3))
    gamma, beta, mean, variance = np.random.default_rng(0).uniform(0.5, 2, (4, 3)).astype(np.float32)
    norm.set_weights([gamma, beta, mean, variance])
    values = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    expected = (values - mean) / np.sqrt(variance + 0.5) * gamma + beta
    np.testing.assert_allclose(compute(norm, values, training=False), expected, rtol=1e-5, atol=1e-6)


def test_none_is_none():
    assert make_norms("none", 1e-5, ["one", "two"]) == []


def test_channels_that_make_no_groups_are_refused_in_one_line():
    with pytest.raises(ValueError, match="Group norm has 32 groups, .* lateral2_norm received 48") as refusal:
        small_network(fpn__norm="group", fpn__channels=48)
    assert "\n" not in str(refusal.value)
