"""The command line: what it offers, and that every failure is one line on stderr with exit code 2."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import maskrcnn
from maskrcnn.cli import _setting, app
from maskrcnn.config import Category, ImageConfig, ModelConfig
from maskrcnn.data import make_shapes
from maskrcnn.structures import PaddedDetections

OPTIONS = {
    "train": "--data --val --out --model --init --epochs --batch-size --image-size --optimizer --learning-rate --seed --strict",
    "evaluate": "--model --data --json --images",
    "predict": "--model --out --score",
    "demo": "--out",
    "info": "MODEL",
}


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})


class StandIn:
    """Stands in for a model; finds one object in every picture: all of it."""

    config = ModelConfig(categories=(Category(1, "thing"),), image=ImageConfig(short_side=64, long_side=96))

    def predict_on_batch(self, batch):
        sizes = np.asarray(batch["sizes"], np.float32)  # (B, 2) height, width
        num = len(sizes)
        return PaddedDetections(
            boxes=np.stack([np.zeros(num), np.zeros(num), sizes[:, 1], sizes[:, 0]], axis=-1)[:, None].astype(np.float32),
            scores=np.full((num, 1), 0.9, np.float32),
            labels=np.zeros((num, 1), np.int32),
            masks=np.ones((num, 1, 28, 28), np.float32),
            valid=np.ones((num, 1), bool),
        )


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    """A run whose model is a stand-in."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "best.keras").write_bytes(b"")
    monkeypatch.setitem(vars(maskrcnn), "load_model", lambda path: StandIn())
    return folder


@pytest.mark.parametrize("command", OPTIONS)
def test_every_command_offers_its_options(command):
    done = run(command, "--help")
    assert done.exit_code == 0
    for option in OPTIONS[command].split():
        assert option in done.stdout


def test_help_loads_no_keras():
    code = "import sys, maskrcnn.cli; print([m for m in ('keras', 'tensorflow', 'cv2', 'grain') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_version_is_the_package_version():
    assert run("--version").stdout.strip() == f"maskrcnn {maskrcnn.__version__}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fly"], "No such command 'fly'"),
        (["train", "--data", "."], "Missing option '--val'"),
        (["train", "--data", ".", "--val", ".", "--out", "z", "--epochs", "0"], "'--epochs'"),
        (["train", "--data", ".", "--val", ".", "--out", "z", "--optimizer", "lion"], "'lion' is not one of"),
        (["predict", "--model", "nowhere", "--out", "out", __file__], "'nowhere' does not exist"),
        (["predict", "--model", ".", "--out", "out", "nothing.png"], "nothing.png"),
        (["predict", "--model", "nowhere", "--out", "out", "--score", "2", "x.png"], "'--model'"),
        (["evaluate", "--model", ".", "--data", "missing.json"], "missing.json"),
        (["evaluate", "--model", ".", "--data", "."], "A folder of label maps holds"),
        (["info", "nowhere"], "'nowhere' does not exist"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_an_unknown_preset_is_told_with_those_that_are_possible(tmp_path):
    data, val = make_shapes(tmp_path / "shapes", num_train=1, num_val=1)
    done = run("train", "--data", data, "--val", val, "--out", tmp_path / "run", "--model", "resnet9000")
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert "'resnet9000'" in done.stderr
    assert "mobilenet_v2_fpn" in done.stderr


def test_a_run_folder_without_a_model_says_so(tmp_path):
    done = run("info", tmp_path)
    assert done.exit_code == 2
    assert "neither best.keras nor last.keras" in done.stderr


@pytest.mark.parametrize("place", [0, 2])
def test_debug_shows_the_traceback_wherever_it_stands(place):
    words = ["info", "nowhere"]
    words.insert(place, "--debug")
    done = run(*words)
    assert done.exit_code == 2
    assert "Traceback" in done.stderr


def test_a_long_error_of_another_library_becomes_one_short_line(run_folder, monkeypatch):
    def fail(path):
        raise RuntimeError("node failed\n" + "stack\n" * 1000)

    monkeypatch.setitem(vars(maskrcnn), "load_model", fail)
    done = run("info", run_folder)
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert len(done.stderr) < 1000
    assert "RuntimeError: node failed" in done.stderr
    assert "--debug" in done.stderr


def test_predict_writes_its_results_and_ends_with_0(run_folder, tmp_path):
    Image.new("RGB", (60, 40)).save(tmp_path / "good.png")
    done = run("predict", "--model", run_folder, "--out", tmp_path / "out", tmp_path / "good.png")
    assert done.exit_code == 0, done.stderr
    assert "1 of 1 pictures" in done.stdout
    assert (tmp_path / "out" / "predictions.json").is_file()


def test_predict_skips_an_unreadable_picture_does_the_rest_and_ends_with_1(run_folder, tmp_path):
    Image.new("RGB", (60, 40)).save(tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = run("predict", "--model", run_folder, "--out", tmp_path / "out", tmp_path / "broken.png", tmp_path / "good.png")
    assert done.exit_code == 1
    assert "Skipped: " in done.stderr
    assert "broken.png" in done.stderr
    assert "1 of 2 pictures" in done.stdout
    assert "good.png" in (tmp_path / "out" / "predictions.json").read_text()


def test_an_interruption_keeps_what_is_done_and_ends_with_130(run_folder, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(StandIn, "predict_on_batch", interrupt)
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    done = run("predict", "--model", run_folder, "--out", tmp_path / "out", tmp_path / "one.png")
    assert done.exit_code == 130
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out" / "predictions.json").read_text().split() == ["[", "]"]


@pytest.mark.parametrize(
    ("word", "name", "value"),
    [
        ("detect.max_detections=400", "detect__max_detections", 400),
        ("anchors.ratios=[1, 2]", "anchors__ratios", [1, 2]),
        ("detect.nms=class_agnostic", "detect__nms", "class_agnostic"),
    ],
)
def test_a_setting_is_a_place_and_a_value(word, name, value):
    assert _setting(word) == (name, value)
