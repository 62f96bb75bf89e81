"""Training from files to files."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import small_checkpoint
from PIL import Image
from small_checkpoint import with_shallow_resnet, write_torchvision
from small_data import write_discs
from small_network import optimizer_of, with_small_backbone
from typer.testing import CliRunner

from maskrcnn.api import MaskRCNN, load_model
from maskrcnn.cli import app
from maskrcnn.config.run import RunConfig
from maskrcnn.data.dataset import Dataset, load_dataset
from maskrcnn.data.imbalance import repeat_factors
from maskrcnn.data.shapes import make_shapes
from maskrcnn.inference.scoring import evaluate
from maskrcnn.training.folder import settings_of_run
from maskrcnn.verbs.train import train
from maskrcnn.weights.files.read import read_tensors

ROOT = Path(__file__).parents[2]
SMALL = {
    "model": "mobilenet_v2_fpn",
    "init": None,
    "image_size": 96,
    "fpn__channels": 16,
    "box_head__hidden": 32,
    "mask_head__channels": 16,
    "rpn__train_top_k": 50,
    "rpn__train_proposals": 50,
    "rpn__proposals": 50,
    "verbose": 0,
}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> tuple[Path, Path]:
    return make_shapes(tmp_path_factory.mktemp("shapes"), num_train=4, num_val=2, seed=3)


class Seen(keras.callbacks.Callback):
    """Writes down what a user's callback is told."""

    def __init__(self):
        super().__init__()
        self.logs = []

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append(dict(logs))


@pytest.fixture(scope="module")
def run(shapes, tmp_path_factory) -> tuple[Path, Seen]:
    out, seen = tmp_path_factory.mktemp("run"), Seen()
    train(*shapes, out, epochs=2, batch_size=2, callbacks=[seen], log=lambda text: None, **SMALL)
    return out, seen


def test_a_run_leaves_everything_in_its_folder(run):
    out, _ = run
    assert {path.name for path in out.iterdir()} == {
        "best.keras", "last.keras", "history.csv", "config.json", "metrics.json", "tensorboard", "resume.safetensors",
        "report.html",
    }  # fmt: skip
    assert any((out / "tensorboard").iterdir())
    with open(out / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert {"loss", "mask_loss", "val_loss", "val_mask_ap", "val_box_ap"} <= set(rows[0])


def test_callbacks_see_the_average_precision(run):
    _, seen = run
    assert all({"val_mask_ap", "val_mask_ap50", "val_box_ap", "val_mask_loss"} <= set(logs) for logs in seen.logs)


def test_metrics_are_those_of_the_best_model(run, shapes):
    out, seen = run
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["mask"]["AP"] == pytest.approx(max(logs["val_mask_ap"] for logs in seen.logs))
    scores = evaluate(load_model(out), load_dataset(shapes[1]))
    assert scores["mask"]["AP"] == pytest.approx(metrics["mask"]["AP"], abs=1e-3)


def test_the_configuration_says_how_it_was_made(run):
    settings = json.loads((run[0] / "config.json").read_text())
    assert settings["arguments"]["epochs"] == 2
    assert settings["model"]["image"]["short_side"] == 96
    assert [category["name"] for category in settings["model"]["categories"]] == ["circle", "square", "triangle"]


def test_numbers_of_numpy_are_written_as_numbers():
    config = RunConfig(learning_rate=np.float32(0.5), epochs=np.int64(3), changes={"anchors__ratios": np.ones(2)})
    settings = settings_of_run(config, "train.json", Path("val.json"))
    assert settings == json.loads(json.dumps(settings))
    expected = {"learning_rate": 0.5, "epochs": 3, "anchors__ratios": [1.0, 1.0], "data": "train.json", "val": "val.json"}
    assert expected.items() <= settings.items()


def test_training_starts_from_a_model_of_ours(run, shapes, tmp_path):
    model = train(shapes[0], None, tmp_path, epochs=1, batch_size=4, **{**SMALL, "init": run[0] / "last.keras"},
                  backbone__norm="live", learning_rate=0.0)  # fmt: skip
    before = load_model(run[0] / "last.keras")
    np.testing.assert_array_equal(model.fpn.get_weights()[0], before.fpn.get_weights()[0])
    assert (tmp_path / "best.keras").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"epochs": 0}, "at least 1"),
        ({"optimizer": "lion"}, "possible: adam, adamw, sgd"),
        ({"model": "vgg"}, "Unknown preset"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(shapes, tmp_path, arguments, words):
    with pytest.raises(ValueError, match=words):
        train(*shapes, tmp_path / "run", **{**SMALL, **arguments})
    assert not (tmp_path / "run").exists()


def test_every_argument_reaches_what_it_is_about(shapes, tmp_path, monkeypatch):
    fitted: dict[str, Any] = {}
    loaders: list[dict[str, Any]] = []
    load = MaskRCNN.loader

    def remember(self: MaskRCNN, data: Dataset, **options: Any) -> Any:
        loaders.append(options)
        return load(self, data, **options)

    monkeypatch.setattr(MaskRCNN, "loader", remember)
    monkeypatch.setattr(MaskRCNN, "fit", lambda self, batches, **options: fitted.update(options))
    of_the_loss = {"class_weights": {"circle": 1.0, "square": 2.0, "triangle": 3.0}, "focal_gamma": 2.0, "label_smoothing": 0.1}
    of_layers = {"dropout": 0.3, "stochastic_depth": 0.2, "precision": "bfloat16", "freeze": ["fpn"]}
    of_steps = {"optimizer": "sgd", "learning_rate": 0.4, "schedule": "constant", "warm_up_steps": 0, "weight_decay": 0.02}
    of_steps |= {"clip_norm": 3.0, "accumulate": 2, "ema": 0.9, "backbone_rate": 0.25}
    of_data = {"augment": "photos", "repeat_threshold": 0.9, "seed": 7, "batch_size": 2}
    of_the_run = {"epochs": 3, "monitor": "val_box_ap", "patience": 2, "save_minutes": 0.5, "log": lambda text: None}
    with with_small_backbone():
        model = train(*shapes, tmp_path, **of_the_loss, **of_layers, **of_steps, **of_data, **of_the_run, **SMALL)

    head = model.config.box_head
    assert (head.class_weights, head.focal_gamma, head.label_smoothing, head.dropout) == ((1.0, 2.0, 3.0), 2.0, 0.1, 0.3)
    assert (model.config.backbone.stochastic_depth, model.config.image.short_side) == (0.2, SMALL["image_size"])
    assert model.fpn.output_convs[0].compute_dtype == "bfloat16" and keras.config.dtype_policy().name == "float32"
    assert not model.fpn.trainable_variables and model.rpn.trainable_variables

    optimizer = model.optimizer
    assert isinstance(optimizer, keras.optimizers.SGD)
    assert (optimizer.weight_decay, optimizer.global_clipnorm, optimizer.gradient_accumulation_steps) == (0.02, 3.0, 2)
    assert (optimizer.ema_momentum, optimizer.backbone_rate, optimizer._learning_rate.peak) == (0.9, 0.25, 0.4)

    training = loaders[0]
    assert (training["augment"], training["seed"], training["batch_size"], training["shuffle"]) == ("photos", 7, 2, True)
    np.testing.assert_array_equal(training["weights"], repeat_factors(load_dataset(shapes[0]), 0.9))

    assert (fitted["epochs"], fitted["steps_per_epoch"]) == (3, 2)
    by_kind = {type(callback).__name__: callback for callback in fitted["callbacks"]}
    assert by_kind["EarlyStopping"].patience == 2 and by_kind["KeepState"].every_minutes == 0.5
    assert by_kind["EarlyStopping"].best.monitor == by_kind["SaveModels"].best.monitor == "val_box_ap"


def test_the_rate_warms_up_to_its_peak_and_falls():
    schedule = optimizer_of("adam", 1e-3, batch_size=2, num_steps=1000)._learning_rate
    rates = [float(keras.ops.convert_to_numpy(schedule(step))) for step in (0, 50, 100, 500, 1000)]
    assert rates[0] < rates[1] < rates[2] == pytest.approx(1e-3)
    assert rates[2] > rates[3] > rates[4]


@pytest.mark.slow
def test_two_real_images_are_learnt_by_heart(shared_data, shared_weights):
    nuts = load_dataset(shared_data / "nuts/trainval.json")
    two = replace(nuts, samples=nuts.samples[:2])
    model = MaskRCNN.from_preset(
        "mobilenet_v2_fpn",
        class_names=two.categories,
        weights=shared_weights / "mobilenet_v2_imagenet.npz",
        image__short_side=256,
        image__long_side=427,
    )
    model.compile(optimizer_of("adam", 1e-3, batch_size=2, num_steps=150))
    model.fit(two, batch_size=2, steps_per_epoch=150, verbose=0)
    assert evaluate(model, two)["mask"]["AP"] >= 0.9


# ── Other than three channels ──


def test_images_of_other_channels_than_the_models_are_told_before_anything_is_written(tmp_path):
    cells = write_discs(tmp_path / "cells", count=2, channels=2)
    for channels in (None, 4):
        with pytest.raises(ValueError, match=r"0\.tif: an image for a model of [34] channels .* received shape \(72, 80, 2\)"):
            train(cells, None, tmp_path / "run", input_channels=channels, **SMALL)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_commands_of_the_docs_run_on_images_of_two_channels(tmp_path, monkeypatch):
    """As they stand there, but for sizes."""
    section = (ROOT / "docs/training.md").read_text().partition("## Other than three channels")[2].partition("\n## ")[0]
    commands = [line.split() for line in section.partition("```sh\n")[2].partition("```")[0].splitlines()]
    assert [command[1] for command in commands] == ["data", "train", "evaluate", "predict"]
    write_discs(tmp_path / "cells/train", count=6, channels=2)
    write_discs(tmp_path / "cells/val", count=2, channels=2, seed=1)
    monkeypatch.chdir(tmp_path)
    told = {}
    for _, name, *words in commands:
        small = {"data": ["--num-images", "2"], "train": ["--image-size", "64", "--epochs", "2"]}.get(name, [])
        done = CliRunner().invoke(app, [name, *words, *small], env={"COLUMNS": "200"})
        assert done.exit_code == 0, done.output
        told[name] = done.output
    assert "The weights read 3 channels and the model's images have 2" in told["train"]
    with Image.open("sheet.png") as sheet:
        assert sheet.mode == "RGB"
    model = load_model("runs/cells")
    assert model.config.image.channels == 2 and model.config.image.scaling == "each_channel"
    assert {path.name for path in Path("found").iterdir()} >= {"predictions.json", "0_overlay.png", "1_labels.png"}


# ── From weights of other projects ──

TINY = {"batch_size": 2, "epochs": 1, "verbose": 0, **small_checkpoint.SMALL}


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> Iterator[Path]:
    """torchvision's file of three classes known by number, of a ResNet that is shallow while this fixture lives."""
    with with_shallow_resnet():
        yield write_torchvision(tmp_path_factory.mktemp("foreign") / "model.pth")


def test_a_whole_model_of_another_project_decides_the_architecture_and_learns_the_classes(foreign, shapes, tmp_path):
    told = []
    train(*shapes, tmp_path / "run", init=foreign, log=told.append, learning_rate=0.0, **TINY)
    assert told[0] == f"{foreign}: torchvision v1, 3 classes."
    assert any("start anew: " in line and "box_head/classes/kernel" in line for line in told)
    assert {"best.keras", "last.keras", "history.csv", "config.json", "metrics.json"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }
    loaded = load_model(tmp_path / "run")
    assert loaded.config.class_names == ["circle", "square", "triangle"]
    assert (loaded.config.image.resize, loaded.config.fpn.channels) == ("torchvision", 8)
    assert loaded.config.origin == "torchvision v1, model.pth"
    tensors = read_tensors(foreign).tensors  # a rate of 0: all but the class layers is still the file's
    np.testing.assert_array_equal(loaded.rpn.objectness.bias, tensors["rpn.head.cls_logits.bias"])
    assert len(loaded.detect(load_dataset(shapes[1]).samples[0].path)) == 1


def test_a_run_goes_on_from_a_file_of_ours_without_its_preset(run, shapes, tmp_path):
    options = {"verbose": 0, "learning_rate": 0.0, "batch_size": 4, "epochs": 1, "log": lambda line: None}
    model = train(shapes[0], None, tmp_path, init=run[0] / "last.keras", **options)
    before = load_model(run[0] / "last.keras")
    assert (model.config.fpn.channels, model.config.image.short_side) == (16, 96)
    np.testing.assert_array_equal(model.box_head.classes.kernel, before.box_head.classes.kernel)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model": "resnet50_fpn"}, "holds a whole model, so it decides the architecture; leave out --model resnet50_fpn"),
        ({"matterport_config": {"IMAGE_MAX_DIM": 512}}, r"is of torchvision; settings in matterport's names"),
        ({"init": None, "matterport_config": {"IMAGE_MAX_DIM": 512}}, "for init with a file of matterport's"),
        ({"init": "nothing.pth"}, "No weights file at nothing.pth"),
        ({"init": "torchvison-v1"}, "published are torchvision-v1"),
    ],
)
def test_a_start_that_cannot_be_is_refused_before_anything_is_written(foreign, shapes, tmp_path, arguments, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words) as refusal:
        train(*shapes, tmp_path / "run", **{"init": foreign, "log": lambda line: None, **TINY, **arguments})
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "run").exists()


def test_a_backbone_of_pytorch_needs_its_preset(foreign, shapes, tmp_path):
    with pytest.raises(ValueError, match="choose the preset resnet50_fpn"):
        train(*shapes, tmp_path / "run", init=small_checkpoint.write_resnet(tmp_path / "resnet50.pth"), **TINY)
