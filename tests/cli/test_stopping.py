"""Commands that are stopped from outside: processes of their own, as people and schedulers run them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_network import small_config

from maskrcnn.api import MaskRCNN
from maskrcnn.locks import LOCK, OWNER

PATIENCE = 180.0  # seconds until a command is at work; the machine may be busy
SIGNALS = [signal.SIGTERM, signal.SIGINT]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(signal.getsignal(signal.SIGINT) is signal.SIG_IGN, reason="SIGINT is ignored here, as behind &"),
]


def stopped(folder: Path, number: int, is_at_work: Callable[[], bool], *words: str) -> tuple[int, list[str]]:
    """The exit code of a command that got a signal while it was at work, and the lines that it wrote after that."""
    log = folder / "log.txt"
    with open(log, "wb") as file:
        command = [sys.executable, "-m", "maskrcnn", *words]
        process = subprocess.Popen(
            command, cwd=folder, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, "COLUMNS": "200"}
        )
        try:
            ends = time.monotonic() + PATIENCE
            while not is_at_work():
                assert process.poll() is None and time.monotonic() < ends, log.read_text()
                time.sleep(0.02)
            before = len(log.read_text())
            process.send_signal(number)
            code = process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
    lines = log.read_text()[before:].splitlines()
    return code, [line for line in lines if not re.match(r"\s*$|Predicting|Tracking|Epoch", line)]  # nor bars


def unfinished(folder: Path) -> list[str]:
    """Files that should not be there once a command has ended."""
    names = [path.name for path in folder.rglob("*")]
    return [name for name in names if name.endswith(".part") or "unfinished" in name or name in (LOCK, OWNER)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that needs little time."""
    path = tmp_path_factory.mktemp("model") / "small.keras"
    MaskRCNN(small_config(image__short_side=64, image__long_side=96), seed=0).save(path)
    return str(path)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """More images than are done before the signal comes."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(1000):
        Image.fromarray(rng.integers(0, 60, (64, 64), np.uint8)).save(folder / f"{number:03}.png")
    return str(folder)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_stopped_prediction_says_in_one_line_what_is_done(images: str, model: str, tmp_path: Path, number: int) -> None:
    out = tmp_path / "found"
    overlays = lambda: list(out.glob("*_overlay.png"))  # noqa: E731
    code, lines = stopped(tmp_path, number, lambda: len(overlays()) > 2, "predict", images, "--model", model, "--out", "found")
    assert code == 128 + number
    assert len(lines) == 1 and lines[0].startswith("Stopped; ") and lines[0].endswith("are whole in found.")
    assert unfinished(out) == []
    assert (out / "predictions.json").read_text().strip().endswith("]")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_stopped_tracking_says_in_one_line_what_is_done(images: str, model: str, tmp_path: Path, number: int) -> None:
    pytest.importorskip("av", reason="the extra `video` is not installed")
    out = tmp_path / "found"
    parts = lambda: list(out.glob(".overlay.mp4.*.part"))  # noqa: E731 - there from the first frame on
    code, lines = stopped(tmp_path, number, lambda: bool(parts()), "track", images, "--model", model, "--out", "found")
    assert code == 128 + number
    assert len(lines) == 1 and lines[0].startswith("Stopped after ") and lines[0].endswith("are in found.")
    assert unfinished(out) == []
    assert {path.name for path in out.iterdir()} == {
        "overlay.mp4", "mot.txt", "mots.txt", "tracks.json", "tracks.csv", "positions.csv"
    }  # fmt: skip


def test_a_stopped_training_keeps_its_state_and_says_how_to_go_on(model: str, tmp_path: Path, write_coco) -> None:
    square = {"bbox": [4, 4, 16, 12], "segmentation": [[4, 4, 20, 4, 20, 16, 4, 16]], "area": 192}
    train = write_coco([{"id": 1, "image_id": 1, "category_id": 7, "iscrowd": 0, **square}])
    val = train.with_name("val.json")
    val.write_bytes(train.read_bytes())
    run, options = tmp_path / "run", ["--init", model, "--epochs", "200", "--no-auto"]
    words = ["train", "--data", str(train), "--val", str(val), "--out", "run", *options]
    code, lines = stopped(tmp_path, signal.SIGTERM, (run / "last.keras").exists, *words)
    assert code == 143
    assert len(lines) == 1 and "--resume" in lines[0]
    assert unfinished(run) == []
