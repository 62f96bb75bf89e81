"""What callbacks save, when they stop, and what they tell."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image
from small_network import with_small_backbone
from training.test_resume import SETTINGS

from maskrcnn.data.dataset import load_dataset
from maskrcnn.data.shapes import make_shapes
from maskrcnn.training.callbacks import Best, CocoEvaluation, EarlyStopping, WriteHistory
from maskrcnn.training.state import load_state
from maskrcnn.training.tensorboard import NUM_IMAGES, WIDTH, TensorBoard
from maskrcnn.verbs.train import train


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> tuple[Path, Path]:
    return make_shapes(tmp_path_factory.mktemp("shapes"), num_train=4, num_val=2, seed=3)


@pytest.mark.parametrize(
    ("monitor", "values", "better"),
    [
        ("val_mask_ap", [0.1, 0.3, 0.3, 0.2, float("nan"), 0.4], [True, True, False, False, False, True]),
        ("val_loss", [2.0, 3.0, float("inf"), 1.0], [True, False, False, True]),
        ("val_mask_loss", [-1.0, -2.0], [True, True]),
    ],
)
def test_less_is_better_for_losses_and_more_for_everything_else(monitor, values, better):
    best = Best(monitor)
    assert [best.improves({monitor: value}) for value in values] == better


def test_a_small_improvement_is_none():
    best = Best("val_mask_ap", min_delta=0.1)
    assert [best.improves({"val_mask_ap": value}) for value in (0.1, 0.15, 0.25, 0.3)] == [True, False, True, False]


def test_an_unknown_monitor_names_the_possible_ones():
    with pytest.raises(ValueError, match=r"as 'val_ap'; possible: loss, val_mask_ap\."):
        Best("val_ap").improves({"val_mask_ap": 0.1, "loss": 1.0})


def stopped_after(values: list[float], *, patience: int, memory: list[Any] | None = None) -> int | None:
    stopping = EarlyStopping("val_mask_ap", patience=patience)
    if memory is not None:
        stopping.memory = memory
    stopping.set_model(SimpleNamespace(stop_training=False))
    for epoch, value in enumerate(values):
        stopping.on_epoch_end(epoch, {"val_mask_ap": value})
        if stopping.model.stop_training:
            return epoch
    return None


def test_training_stops_after_as_many_epochs_without_improvement_as_patience_has():
    assert stopped_after([0.1, 0.2, 0.2, 0.1, 0.3], patience=2) == 3
    assert stopped_after([0.1, 0.2, 0.2, 0.3, 0.3], patience=2) is None


def test_patience_that_is_used_up_is_remembered():
    assert stopped_after([0.1, 0.5], patience=3, memory=[0.2, 2]) == 0
    assert stopped_after([0.3, 0.1], patience=3, memory=[0.2, 2]) is None


def test_history_holds_every_epoch_and_every_name(tmp_path):
    history = WriteHistory(tmp_path / "history.csv")
    history.memory = [{"epoch": 0, "loss": 2.0}]
    history.on_epoch_end(1, {"loss": 1.0, "val_mask_ap": 0.5})
    with open(tmp_path / "history.csv", newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"epoch": "0", "loss": "2.0", "val_mask_ap": ""}, {"epoch": "1", "loss": "1.0", "val_mask_ap": "0.5"}
        ]  # fmt: skip


def test_early_stopping_ends_a_run_and_resuming_leaves_it_ended(shapes, tmp_path):
    settings = {**SETTINGS, "epochs": 6, "learning_rate": 0.0, "ema": 0.0, "monitor": "val_loss", "patience": 2}
    with with_small_backbone():
        train(*shapes, tmp_path, **settings)
        assert load_state(tmp_path).epoch == 3  # nothing is learned at a rate of 0
        lines: list[str] = []
        train(*shapes, tmp_path, **{**settings, "log": lines.append}, resume=True)
    assert any("finished: 3 epochs" in line for line in lines)


@pytest.mark.parametrize("arguments", [{"patience": 0}, {"patience": 2, "val": None}])
def test_patience_without_anything_to_wait_for_is_refused(shapes, tmp_path, arguments):
    val = arguments.pop("val", shapes[1])
    with pytest.raises(ValueError, match="patience is at least 1"):
        train(shapes[0], val, tmp_path / "run", **SETTINGS, **arguments)


def spoil(model: keras.Model) -> None:
    """Makes a weight NaN, as a gradient that is not finite would."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()
    bias = model.box_head.classes.bias  # behind it is no ReLU, of which TensorFlow's makes 0 of NaN
    bias.assign(ops.full(bias.shape, float("nan")))


class SpoilAfter(keras.callbacks.Callback):
    def __init__(self, batch: int):
        super().__init__()
        self.batch = batch

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.batch:
            spoil(self.model)


@pytest.mark.backend
@pytest.mark.parametrize(("batch", "words"), [(1, "loss became nan in epoch 1, step 3"), (3, "weights .* epoch 1, step 4")])
def test_weights_that_are_not_finite_reach_no_file_though_the_loss_was(shapes, tmp_path, batch, words):
    settings = {**SETTINGS, "epochs": 1, "ema": 0.0, "augment": "none"}
    with with_small_backbone(), pytest.raises(ValueError, match=words):
        train(*shapes, tmp_path, **settings, save_minutes=0, callbacks=[SpoilAfter(batch)])
    state = load_state(tmp_path)
    assert (state.epoch, state.step) == (0, 1 if batch == 1 else 3)
    assert all(np.isfinite(value).all() for value in state.arrays.values())
    assert not list(tmp_path.glob("*.keras"))


@pytest.mark.backend
def test_a_loss_that_is_not_finite_ends_the_run_and_names_its_images(shapes, tmp_path):
    class Poison(keras.callbacks.Callback):
        """Makes a weight NaN before the third step, as a step of infinite length would."""

        def on_train_batch_begin(self, batch, logs=None):
            if batch == 2:
                spoil(self.model)

    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append(self.model)

    with with_small_backbone(), pytest.raises(ValueError, match=r"epoch 1, step 3, with the images \d+\.png") as error:
        train(*shapes, tmp_path, **{**SETTINGS, "augment": "none"}, callbacks=[Poison(), Watch()])
    assert "\n" not in str(error.value)
    assert all(np.isfinite(ops.convert_to_numpy(weight)).all() for weight in seen[0].weights)
    assert all(np.isfinite(value).all() for value in load_state(tmp_path).arrays.values())
    with np.load(tmp_path / "nonfinite" / "batch.npz") as batch:
        number, height, width = int(batch["image_ids"][0]), *batch["images"].shape[1:3]
    sample = next(sample for sample in load_dataset(shapes[0]).samples if sample.image_id == number)
    assert sample.file_name in str(error.value)
    with Image.open(tmp_path / "nonfinite" / f"1_{number}.png") as image:
        assert image.size == (width, height)


def test_tensorboard_gets_scores_by_class_and_a_sheet_of_images(shapes, tmp_path):
    told: dict[str, Any] = {}

    class Writer:
        def add_scalar(self, name, value, step):
            told[name] = (value, step)

        def add_image(self, name, image, step, dataformats):
            told[name] = (image, step)

        def flush(self):
            pass

    evaluation = CocoEvaluation(load_dataset(shapes[1]))
    evaluation.scores = {"per_class": {"circle": {"mask_AP": 0.25}, "square": {"mask_AP": None}}}
    board = TensorBoard(tmp_path, evaluation=evaluation)
    board.writer = Writer()
    with with_small_backbone():
        model = train(shapes[0], None, tmp_path, **{**SETTINGS, "epochs": 1})
    board.set_model(model)
    board.on_epoch_end(4, {"loss": 1.5, "val_mask_ap": 0.5})
    assert told["training/loss"] == (1.5, 5) and told["validation/mask_ap"] == (0.5, 5)
    assert told["mask_ap_by_class/circle"] == (0.25, 5) and "mask_ap_by_class/square" not in told
    assert told["training/learning_rate"][0] > 0
    sheet, _ = told["validation/truth_and_found"]
    assert sheet.shape[1:] == (WIDTH, 3) and len(evaluation.dataset) <= NUM_IMAGES


@pytest.mark.slow
@pytest.mark.eager
def test_what_cannot_be_scored_is_not_logged_and_the_loss_tells_the_best_model(shapes, tmp_path):
    empty = load_dataset(shapes[1])
    nothing = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int32), "crowd": np.zeros(0, bool), "rles": []}
    nothing |= {"areas": np.zeros(0, np.float32), "annotation_ids": np.zeros(0, np.int64)}
    empty = replace(empty, samples=[sample.replace(**nothing) for sample in empty.samples])
    told: list[str] = []
    with with_small_backbone():
        train(load_dataset(shapes[0]), empty, tmp_path, **{**SETTINGS, "epochs": 2, "log": told.append})
    assert any("hold no object: nothing can be scored" in line for line in told)
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 and not [name for name in rows[0] if name.endswith(("_ap", "_ap50"))]
    losses = [float(row["val_loss"]) for row in rows]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["epoch"] == 1 + losses.index(min(losses)) and metrics["mask"]["AP"] is None
