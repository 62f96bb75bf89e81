"""The same weights and images give the same answer on TensorFlow, JAX and PyTorch, and a training step the same weights."""

from __future__ import annotations

import os
import subprocess
import sys

import agreement
import keras
import numpy as np
import pytest
from references import samples
from small_network import FRAME, make_batch

from maskrcnn import backend as backends
from maskrcnn.model.mask_rcnn import LOSSES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compares all backends, so once is enough"),
]
PAIRS = [("tensorflow", "jax"), ("tensorflow", "torch"), ("jax", "torch")]


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[str, dict[str, np.ndarray]]:
    """Of every backend that is installed."""
    folder = tmp_path_factory.mktemp("agreement")
    np.savez(folder / "given.npz", **given_of())
    processes = {}
    for name in backends.installed():
        environment = {
            **os.environ,
            "KERAS_BACKEND": name,
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        command = [sys.executable, agreement.__file__, folder / "given.npz", folder / f"{name}.npz"]
        processes[name] = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    found = {}
    for name, process in processes.items():
        output = process.communicate(timeout=600)[0]
        assert process.returncode == 0, output
        with np.load(folder / f"{name}.npz") as arrays:
            found[name] = {key: arrays[key] for key in arrays.files}
    return found


def given_of() -> dict[str, np.ndarray]:
    """Weights whose answers are far enough apart that rounding does not change their order, images, RoIs and labels."""
    batch = make_batch()
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    network = agreement.make_network()
    network.set_weights(
        [
            weight * rng.uniform(0.8, 1.2, weight.shape) + rng.normal(0, 0.02, weight.shape) * (weight.ndim == 1)
            for weight in network.get_weights()
        ]
    )
    given = {
        "images": batch["images"],
        "sizes": batch["sizes"],
        "rois": np.stack([samples.boxes(rng, 12, side=FRAME[0]) for _ in range(2)]),
        "labels": rng.integers(0, 3, (2, 12)).astype(np.int32),
    }
    for name, layer, spread in (
        ("P2", network.fpn.output_convs[0], 1.0),
        ("P3", network.fpn.output_convs[1], 1.0),
        ("P4", network.fpn.output_convs[2], 1.0),
        ("P5", network.fpn.output_convs[3], 1.0),
        ("RPN logits", network.rpn.objectness, 3.0),
        ("RPN deltas", network.rpn.deltas, 0.3),
        ("class logits", network.box_head.classes, 2.0),
        ("box deltas", network.box_head.deltas, 1.0),
    ):
        layer.kernel.assign(layer.kernel * (spread / agreement.stages(network, tensors_of(given))[name].numpy().std()))
    return {**given, **{f"weight {place}": weight for place, weight in enumerate(network.get_weights())}}


def tensors_of(given: dict[str, np.ndarray]) -> dict:
    return keras.tree.map_structure(keras.ops.convert_to_tensor, given)


def both(answers, pair) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    for name in pair:
        if name not in answers:
            pytest.skip(f"{name} is not installed")
    return answers[pair[0]], answers[pair[1]]


def assert_close(one: np.ndarray, other: np.ndarray, name: str) -> None:
    """To 1e-4 of the largest value."""
    assert np.isfinite(one).all(), name
    assert np.abs(one - other).max() <= 1e-4 * np.abs(one).max(), name


@pytest.mark.parametrize("pair", PAIRS)
def test_features_logits_deltas_and_masks_agree(answers, pair):
    one, other = both(answers, pair)
    for name in ("P2", "P3", "P4", "P5", "P6", "RPN logits", "RPN deltas", "class logits", "box deltas", "mask logits"):
        assert_close(one[name], other[name], name)
        assert one[name].std() > 1e-3, f"{name} says something"


@pytest.mark.parametrize("pair", PAIRS)
def test_detections_agree(answers, pair):
    one, other = both(answers, pair)
    assert one["detected valid"].any(axis=1).all()
    for name in ("detected valid", "detected labels"):
        np.testing.assert_array_equal(one[name], other[name], name)
    np.testing.assert_allclose(one["detected boxes"], other["detected boxes"], atol=0.01)  # pixels
    for name in ("detected scores", "detected masks"):
        assert_close(one[name], other[name], name)


@pytest.mark.parametrize("pair", PAIRS)
def test_a_training_step_agrees(answers, pair):
    """The losses do; of the step every tensor to 2% and half of them to 1e-4 of its largest value.

    Where the input of a ReLU is zero but for rounding, one backend lets a gradient through and the other does not.
    That is a hundredth of the step of the layers below, in a network as small as this.
    """
    one, other = both(answers, pair)
    for name in LOSSES:
        assert_close(one[name], other[name], name)
    steps = {name: (one[name], other[name]) for name in one if name.startswith("step of ")}
    assert len(steps) > 50
    apart = {name: np.abs(a - b).max() / max(np.abs(a).max(), 1e-30) for name, (a, b) in steps.items()}
    assert max(apart.values()) <= 0.02, max(apart, key=apart.get)
    assert np.median(list(apart.values())) <= 1e-4
