"""Laws of mixed precision: the whole network on 16-bit numbers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from small_network import evaluate, make_batch, optimizer_of, predict, small_config, small_network, train, with_small_backbone

from maskrcnn.model.mask_rcnn import Network
from maskrcnn.training.optimizers import averaged
from maskrcnn.training.precision import POLICIES, precision_policy


def test_the_policy_holds_for_what_is_made_inside_and_not_after():
    before = keras.config.dtype_policy().name
    for precision, policy in POLICIES.items():
        with precision_policy(precision):
            assert keras.config.dtype_policy().name == policy
            layer = keras.layers.Dense(1)
        assert layer.dtype_policy.name == policy
    with pytest.raises(KeyError), precision_policy("float16"):
        raise KeyError  # an error inside leaves no policy behind
    assert keras.config.dtype_policy().name == before
    with pytest.raises(ValueError, match="possible: float32, bfloat16, float16") as refusal, precision_policy("half"):
        pass
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_losses_are_those_of_float32_and_weights_stay_float32(precision, network, tmp_path):
    batch = make_batch()
    expected = evaluate(network, batch)
    with with_small_backbone(), precision_policy(precision):
        mixed = Network(small_config())
    assert mixed.fpn.output_convs[0].compute_dtype == mixed.backbone.get_layer("stage1_conv").compute_dtype == precision
    assert {keras.backend.standardize_dtype(weight.dtype) for weight in mixed.weights} == {"float32"}
    mixed.set_weights(network.get_weights())
    mixed.compile(optimizer_of("sgd", 1e-3, batch_size=2, num_steps=10, schedule="constant", warm_up_steps=0, ema=0.9))
    if precision == "float16" or keras.backend.backend() != "jax":  # which takes long to compile it
        losses = {name: values[0] for name, values in train(mixed, batch).items()}
        # In training other RoIs are sampled after a rounding: few masks, and box_loss is not compared at all.
        for name, apart in {"loss": 0.1, "class_loss": 0.1, "rpn_objectness_loss": 0.1, "mask_loss": 0.2}.items():
            assert losses[name] == pytest.approx(expected[name], rel=apart), name
        assert all(np.isfinite(keras.ops.convert_to_numpy(weight)).all() for weight in mixed.weights)
        moved = np.abs(keras.ops.convert_to_numpy(mixed.fpn.lateral[0].kernel - network.fpn.lateral[0].kernel)).max()
        assert moved > 1e-8
        scaled = mixed.optimizer
        assert isinstance(scaled, keras.optimizers.LossScaleOptimizer) == (precision == "float16")
        with averaged(mixed) as found:
            assert found
        mixed.save(tmp_path / "model.keras")
        with with_small_backbone():
            loaded = keras.saving.load_model(tmp_path / "model.keras", {"Network": Network})
        assert loaded.fpn.output_convs[0].compute_dtype == "float32"
        for variable, other in zip(loaded.optimizer.variables, scaled.variables, strict=True):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), keras.ops.convert_to_numpy(other))
        mixed.set_weights(network.get_weights())
    actual = evaluate(mixed, batch)
    for name, value in expected.items():
        assert actual[name] == pytest.approx(value, rel=0.02, abs=1e-4), name
    detections = predict(mixed, batch)
    assert all(values.dtype == np.float32 for values in (detections.boxes, detections.scores, detections.masks))
    assert np.isfinite(detections.boxes).all() and np.isfinite(detections.masks).all() and detections.valid.any()


def test_the_network_is_float32_where_nothing_is_said():
    assert small_network().fpn.output_convs[0].compute_dtype == "float32"
