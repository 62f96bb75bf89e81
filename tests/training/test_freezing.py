"""Laws of freezing."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from small_network import make_batch, optimizer_of, small_config, small_network, train, with_small_backbone

from maskrcnn.model.mask_rcnn import Network
from maskrcnn.training.freezing import freeze

RUN = {"batch_size": 2, "num_steps": 10}


def learning(network) -> set[str]:
    return {weight.path for weight in network.trainable_weights}


def test_layers_that_begin_with_a_prefix_stop_learning_and_no_others():
    network = small_network(backbone__frozen_stages=2)
    before = learning(network)
    assert freeze(network, ["backbone/stage3", "fpn", "mask_head/conv"])[:3] == [
        "backbone/stage3_conv",
        "backbone/stage3_norm",
        "fpn",
    ]
    after = {path for path in before if not path.startswith(("stage3", "fpn/", "mask_head/conv"))}
    assert learning(network) == after
    assert {"stage4_conv/kernel", "rpn/conv/kernel", "mask_head/class_kernel", "mask_head/deconv1/bias"} <= after
    assert not any(path.startswith(("stage1", "stage2")) for path in after)  # what the configuration freezes stays so
    freeze(network, ["mask_head"])
    assert learning(network) == {path for path in after if not path.startswith("mask_head/")}


def test_one_prefix_may_stand_alone():
    assert freeze(small_network(), "fpn") == freeze(small_network(), ["fpn"])


def test_frozen_live_norms_keep_their_statistics():
    network = small_network(backbone__frozen_stages=0, fpn__norm="live")
    freeze(network, ["backbone", "fpn"])
    network.compile(optimizer_of("adam", 0.01, **RUN))
    before = {weight.path: np.array(keras.ops.convert_to_numpy(weight)) for weight in network.weights}
    train(network, make_batch(num_rows=40))
    assert any(weight.path.startswith("rpn/") for weight in network.weights) and len(before) > 20
    for weight in network.weights:
        moved = not np.array_equal(keras.ops.convert_to_numpy(weight), before[weight.path])
        assert moved == weight.path.startswith(("rpn/", "box_head/", "mask_head/")), weight.path


@pytest.mark.parametrize("prefixes", [["fpn", "backbone/stage4"], ["mask_head"], []])
def test_a_loaded_model_is_frozen_as_it_was_and_finds_its_optimizers_state(prefixes, tmp_path):
    with with_small_backbone():
        network = Network(small_config())
        freeze(network, prefixes)
        network.compile(optimizer_of("adam", **RUN, ema=0.9))
        network.optimizer.build(network.trainable_variables)
        for number, variable in enumerate(network.optimizer.variables):
            variable.assign(keras.ops.full(variable.shape, number, variable.dtype))
        network.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(
            tmp_path / "model.keras", {"Network": Network}
        )  # a warning, as of a state that is skipped, is an error
    assert learning(loaded) == learning(network)
    for number, variable in enumerate(loaded.optimizer.variables):
        assert np.all(keras.ops.convert_to_numpy(variable) == number)


def test_what_the_user_thaws_is_thawed_in_the_file_too(tmp_path):
    with with_small_backbone():
        network = Network(small_config(backbone__frozen_stages=2))
        network.set_frozen(())
        network.compile(optimizer_of("adam", **RUN))
        network.save(tmp_path / "model.keras")
        assert "stage1_conv/kernel" in learning(keras.saving.load_model(tmp_path / "model.keras", {"Network": Network}))


@pytest.mark.parametrize(
    ("prefixes", "words"),
    [
        (["fpn", "neck"], "'neck', so it cannot be frozen; possible: backbone, fpn, rpn, box_head, mask_head."),
        ([""], "possible: backbone, fpn"),
        (["rpn/fc"], "possible: rpn/conv, rpn/objectness, rpn/deltas."),
        (["backbone/conv"], "possible: backbone/stage1_conv, .*stage5_norm."),
        (["backbone", "fpn", "rpn", "box_head", "mask_head"], "nothing is left to learn"),
    ],
)
def test_what_cannot_be_frozen_is_refused_in_one_line_and_nothing_is_changed(prefixes, words):
    network = small_network()
    before = learning(network)
    with pytest.raises(ValueError, match=words) as refusal:
        freeze(network, prefixes)
    assert "\n" not in str(refusal.value)
    assert learning(network) == before
