"""A run that was cut short goes on as if nothing had happened."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from small_network import with_small_backbone

from maskrcnn.api import MaskRCNN, load_model
from maskrcnn.config.augment import AugmentConfig
from maskrcnn.data.shapes import make_shapes
from maskrcnn.training.state import FILE, State, load_state, save_state
from maskrcnn.verbs.train import train

SETTINGS: dict[str, Any] = {
    "init": None,
    "image_size": 64,
    "epochs": 2,
    "batch_size": 1,
    "ema": 0.9,
    "dropout": 0.2,
    "augment": AugmentConfig(jitter=(0.8, 1.2), brightness=0.1),
    "optimizer": "sgd",  # Adam turns rounding about 0 into whole steps
    "learning_rate": 1e-3,
    "fpn__channels": 8,
    "box_head__hidden": 16,
    "mask_head__channels": 8,
    "mask_head__num_convs": 1,
    "rpn__train_top_k": 30,
    "rpn__train_proposals": 30,
    "rpn__proposals": 30,
    "roi_sampler__num_sampled": 16,
    "detect__score": 0.0,
    "log": lambda text: None,
    "verbose": 0,
}


@pytest.fixture(scope="module", autouse=True)
def small_backbones():
    with with_small_backbone():
        yield


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> tuple[Path, Path]:
    return make_shapes(tmp_path_factory.mktemp("shapes"), num_train=4, num_val=2, seed=3)


class Cut(keras.callbacks.Callback):
    """Ends the run in the middle: at a batch of an epoch, before its state is saved."""

    def __init__(self, epoch: int, batch: int):
        super().__init__()
        self.place = (epoch, batch)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.place:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def whole(shapes, tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    out = tmp_path_factory.mktemp("whole")
    return out, values_of(train(*shapes, out, **SETTINGS))


def values_of(model: keras.Model) -> dict[str, np.ndarray]:
    return {weight.path: np.array(ops.convert_to_numpy(weight)) for weight in model.weights}


def history_of(out: Path) -> list[dict[str, float]]:
    with open(out / "history.csv", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


# TensorFlow's threads add in any order, and what is sampled turns on the last bit: of two runs that nobody cut, weights differ
# by 2e-4, and losses now and then by a quarter, where another RoI was drawn.
TOLERANCE, OF_HISTORY = (1e-2, 0.5) if keras.backend.backend() == "tensorflow" else (1e-5, 1e-3)


def assert_alike(out: Path, values: dict[str, np.ndarray], whole: tuple[Path, dict[str, np.ndarray]]) -> None:
    for name, value in whole[1].items():
        np.testing.assert_allclose(values[name], value, atol=TOLERANCE, err_msg=name)
    rows, expected = history_of(out), history_of(whole[0])
    assert len(rows) == len(expected)
    for row, other in zip(rows, expected, strict=True):
        assert row == pytest.approx(other, rel=OF_HISTORY, abs=OF_HISTORY)
    ended, other = load_state(out).arrays, load_state(whole[0]).arrays
    exact = [name for name in other if "seed" in name or "iteration" in name]
    assert len(exact) >= 3  # the network's, dropout's, the optimizer's
    for name in exact:
        np.testing.assert_array_equal(ended[name], other[name], err_msg=name)


SLOW = (pytest.mark.slow, pytest.mark.eager)


@pytest.mark.parametrize(
    "place",
    [pytest.param((0, 2), marks=SLOW), pytest.param((1, 0), marks=SLOW), pytest.param((1, 2), marks=pytest.mark.backend)],
)
def test_a_run_that_was_cut_short_goes_on_as_if_nothing_had_happened(whole, shapes, tmp_path, place):
    with pytest.raises(KeyboardInterrupt):
        train(*shapes, tmp_path, **SETTINGS, save_minutes=0, callbacks=[Cut(*place)])
    state = load_state(tmp_path)
    assert state is not None and (state.epoch, state.step) == place
    model = train(*shapes, tmp_path, **SETTINGS, resume=True)
    assert_alike(tmp_path, values_of(model), whole)
    model.detect(np.zeros((64, 64, 3), np.uint8))
    model.save(tmp_path / "after.keras")  # on JAX `detect` gives away what the averaged weights once shared with the model


class Interrupt(keras.callbacks.Callback):
    """Ends the run when an epoch's steps are done and its state is not kept yet."""

    def on_test_begin(self, logs=None):
        raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.eager
def test_a_run_that_was_cut_short_while_it_evaluated_goes_on(whole, shapes, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(*shapes, tmp_path, **SETTINGS, save_minutes=0, callbacks=[Interrupt()])
    assert_alike(tmp_path, values_of(train(*shapes, tmp_path, **SETTINGS, resume=True)), whole)


@pytest.mark.slow
@pytest.mark.eager
def test_a_run_that_was_cut_short_before_its_first_save_begins_anew(whole, shapes, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(*shapes, tmp_path, **SETTINGS, callbacks=[Cut(0, 1)])
    assert (load_state(tmp_path).epoch, load_state(tmp_path).step) == (0, 0)
    assert_alike(tmp_path, values_of(train(*shapes, tmp_path, **SETTINGS, resume=True)), whole)


def test_a_finished_run_stays_as_it_is(whole, shapes):
    out, values = whole
    before = (out / "best.keras").read_bytes()
    lines: list[str] = []
    model = train(*shapes, out, **{**SETTINGS, "log": lines.append}, resume=True)
    assert any("is finished" in line for line in lines)
    assert (out / "best.keras").read_bytes() == before and len(history_of(out)) == 2
    assert {name: value.shape for name, value in values_of(model).items()} == {
        name: each.shape for name, each in values.items()
    }


def test_without_a_state_resuming_begins(shapes, tmp_path):
    train(*shapes, tmp_path, **{**SETTINGS, "epochs": 1}, resume=True)
    assert len(history_of(tmp_path)) == 1


@pytest.mark.parametrize(
    ("change", "words"), [({"learning_rate": 0.1}, "learning_rate = 0.001, now it is 0.1"), ({"epochs": 9}, "epochs")]
)
def test_other_settings_are_refused(whole, shapes, change, words):
    with pytest.raises(ValueError, match=words):
        train(*shapes, whole[0], **{**SETTINGS, **change}, resume=True)


def test_a_run_that_was_cut_short_is_not_begun_anew_unasked(shapes, tmp_path):
    for epoch, step in ((1, 0), (0, 3)):
        save_state(tmp_path, State(epoch, step, {"epochs": 2, "patience": None}))
        with pytest.raises(ValueError, match=rf"cut short after {epoch} of 2 epochs and {step} steps; .*resume=True"):
            train(*shapes, tmp_path, **SETTINGS)
    assert load_state(tmp_path) is not None


@pytest.mark.parametrize("state", [(2, 0, None, 0), (0, 0, None, 0), (1, 0, 3, 3)], ids=["finished", "hardly begun", "stopped"])
def test_of_a_run_that_is_replaced_no_file_is_left_and_it_is_told(shapes, tmp_path, monkeypatch, state):
    epoch, step, patience, waited = state
    memories = {"early_stopping": [0.5, waited]}
    save_state(tmp_path, State(epoch, step, {"epochs": 2, "patience": patience}, memories))
    for name in ("best.keras", "metrics.json", "history.csv"):
        (tmp_path / name).write_text("of the earlier run")
    monkeypatch.setattr(MaskRCNN, "fit", lambda *_, **__: None)
    told = []
    train(*shapes, tmp_path, **{**SETTINGS, "log": told.append})
    assert told == [f"{tmp_path} held an earlier run, which this one replaces: best.keras, history.csv, metrics.json, {FILE}."]
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize("keep", [0, 7, 100, -3])
def test_a_damaged_state_says_to_delete_it(tmp_path, keep):
    save_state(tmp_path, State(1, 2, arrays={"model/0/kernel": np.arange(40.0)}))
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:keep])
    with pytest.raises(ValueError, match=r"damaged.*delete it") as error:
        load_state(tmp_path)
    assert "\n" not in str(error.value)


def test_a_state_comes_back_as_it_was(tmp_path):
    arrays = {"a": np.array(3.5, np.float32), "b": np.arange(6, dtype=np.uint32).reshape(2, 3), "c": np.array([True, False])}
    save_state(tmp_path, State(3, 4, {"seed": 1}, {"models": 0.25}, arrays))
    state = load_state(tmp_path)
    assert (state.epoch, state.step, state.settings, state.memories) == (3, 4, {"seed": 1}, {"models": 0.25})
    for name, value in arrays.items():
        np.testing.assert_array_equal(state.arrays[name], value)
        assert state.arrays[name].dtype == value.dtype
    assert load_state(tmp_path / "nowhere") is None


def test_no_half_written_state_takes_the_place_of_a_whole_one(tmp_path, monkeypatch):
    save_state(tmp_path, State(1, 0))

    def fail(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        save_state(tmp_path, State(2, 0))
    assert load_state(tmp_path).epoch == 1 and [path.name for path in tmp_path.iterdir()] == [FILE]


KILLED = """
import os, signal, sys
sys.path[:0] = [{tests!r}]
from training import test_resume as law
from small_network import with_small_backbone

class Kill(law.Cut):
    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.place:
            os.kill(os.getpid(), signal.SIGKILL)

with with_small_backbone():
    law.train({data!r}, {val!r}, {out!r}, **law.SETTINGS, save_minutes=0, callbacks=[Kill(1, 2)])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_process_leaves_whole_files_and_goes_on(whole, shapes, tmp_path):
    tests = str(Path(__file__).parents[1])
    script = KILLED.format(tests=tests, data=str(shapes[0]), val=str(shapes[1]), out=str(tmp_path))
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    load_model(tmp_path / "best.keras")
    assert len(history_of(tmp_path)) == 1
    assert_alike(tmp_path, values_of(train(*shapes, tmp_path, **SETTINGS, resume=True)), whole)
