"""The model that comes with the package finds nuclei right after installation, on every backend, and learns other things."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from small_network import small_config
from typer.testing import CliRunner

import maskrcnn
from maskrcnn.api import MaskRCNN, load_model
from maskrcnn.cli import app
from maskrcnn.verbs import demo
from maskrcnn.verbs.convert import convert
from maskrcnn.weights import models
from maskrcnn.weights.finding import model_file, resolve
from maskrcnn.weights.published import SHIPPED

FOLDER = SHIPPED["nuclei"].parent
GOLDEN = Path(__file__).parent / "golden" / "nuclei.json"
MOST_BYTES = 15e6


@pytest.fixture(scope="module")
def model() -> MaskRCNN:
    return load_model("nuclei")


def test_the_file_is_small_and_its_card_lies_beside_it():
    assert SHIPPED["nuclei"].stat().st_size <= MOST_BYTES
    card = (FOLDER / "nuclei.md").read_text("utf-8")
    for said in ("CC0", "Apache-2.0", "recipes/nuclei.py", "Limits"):
        assert said in card


@pytest.mark.backend
def test_it_finds_the_nuclei_of_an_image_it_has_not_learned_from(model):
    dataset = maskrcnn.load_dataset(GOLDEN, images=FOLDER)
    scores = maskrcnn.evaluate(model, dataset, biology=0.5)
    assert len(dataset.samples[0].boxes) == 30
    assert scores["mask"]["AP50"] >= 0.9
    assert scores["biology"]["AP50"] >= 0.65  # 30 nuclei found and 16 things besides would be 0.65


def test_predict_needs_no_model_and_no_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nuclei").mkdir()  # a folder of that name is not taken for the model
    monkeypatch.setattr("socket.socket.connect", None)
    shutil.copy(FOLDER / "nuclei.png", "image.png")
    done = CliRunner().invoke(app, ["predict", "image.png"])
    assert done.exit_code == 0, done.output
    assert "cell nuclei" in done.stdout
    assert (tmp_path / "predictions" / "predictions.json").is_file()


def test_the_demo_shows_what_it_finds(model, monkeypatch):
    monkeypatch.setattr(demo, "load_model", lambda path: model)
    image, drawn, caption = demo._nuclei()
    assert drawn.shape == image.shape and (drawn != image).any()
    assert 30 <= int(caption.removesuffix(" nuclei")) <= 50  # 30 are there, and 16 things besides are found at most


def test_the_preset_is_the_trained_model(model):
    again = MaskRCNN.from_preset("nuclei", detect__score=0.3)
    assert again.config.class_names == ["nucleus"]
    assert again.config.detect.score == 0.3
    for one, other in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other), one.path)


def test_for_other_classes_the_preset_starts_their_layers_anew(model, capsys):
    other = MaskRCNN.from_preset("nuclei", class_names=["cell", "debris"], seed=0)
    assert "anew" in capsys.readouterr().out
    assert other.config.class_names == ["cell", "debris"]
    assert other.box_head.classes.kernel.shape[-1] == 3
    kept, new = (keras.ops.convert_to_numpy(each.rpn.objectness.kernel) for each in (model, other))
    np.testing.assert_array_equal(kept, new)


def test_the_preset_has_weights_of_its_own():
    with pytest.raises(ValueError, match="'nuclei' is a trained model with weights of its own; leave out weights=None."):
        MaskRCNN.from_preset("nuclei", weights=None)


def test_the_name_is_known_wherever_a_model_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve("nuclei") == model_file("nuclei") == SHIPPED["nuclei"]
    assert MaskRCNN.from_checkpoint("nuclei", log=lambda line: None).config.class_names == ["nucleus"]
    with pytest.raises(FileNotFoundError, match="No model file at nucleus; a model that comes with the package is nuclei."):
        load_model("nucleus")


def test_the_folder_of_a_run_is_a_checkpoint_too(tmp_path):
    (tmp_path / "best.keras").touch()
    assert resolve(tmp_path) == tmp_path / "best.keras"
    (tmp_path / "best.keras").rename(tmp_path / "last.keras")
    assert resolve(tmp_path) == tmp_path / "last.keras"
    (tmp_path / "last.keras").unlink()
    with pytest.raises(FileNotFoundError, match="neither best.keras nor last.keras"):
        resolve(tmp_path)


# Half precision


@pytest.fixture(scope="module")
def small() -> MaskRCNN:
    return MaskRCNN(small_config(), seed=0)


def test_a_file_in_half_precision_has_half_the_size_and_the_rounded_weights(small, tmp_path):
    models.save(small, tmp_path / "whole.keras")
    convert(tmp_path / "whole.keras", tmp_path / "half.keras", precision="float16", log=lambda line: None)
    whole, half = ((tmp_path / f"{name}.keras").stat().st_size for name in ("whole", "half"))
    assert half < 0.52 * whole
    for weight, rounded in zip(small.weights, load_model(tmp_path / "half.keras").weights, strict=True):
        assert weight.dtype == rounded.dtype
        value = keras.ops.convert_to_numpy(weight)
        expected = value.astype(np.float16).astype(np.float32) if value.dtype == np.float32 else value
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(rounded), expected, weight.path)


def test_weights_too_large_for_half_precision_are_refused_and_leave_no_file(small, tmp_path):
    bias = small.box_head.classes.bias
    before = keras.ops.convert_to_numpy(bias).copy()
    try:
        bias.assign(np.full(bias.shape, 1e6, np.float32))
        with pytest.raises(ValueError, match="holds 1e\\+06, which is too large for float16; save it in float32."):
            models.save(small, tmp_path / "half.keras", precision="float16")
    finally:
        bias.assign(before)
    assert list(tmp_path.iterdir()) == []


def test_the_shipped_file_is_in_half_precision():
    with zipfile.ZipFile(SHIPPED["nuclei"]) as archive, h5py.File(archive.open("model.weights.h5")) as file:
        types = set()
        file.visititems(lambda name, item: types.add(item.dtype.name) if isinstance(item, h5py.Dataset) else None)
    assert "float16" in types and "float32" not in types
