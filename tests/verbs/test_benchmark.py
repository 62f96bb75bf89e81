"""Laws of the benchmark: the fastest is named where it is clearly so, and measured once for each model and its versions."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from maskrcnn.structures import PaddedDetections
from maskrcnn.verbs import benchmark as verb
from maskrcnn.verbs import engine_choice
from maskrcnn.verbs.benchmark import Benchmark, Timing, benchmark, engine_folder
from maskrcnn.verbs.engine_choice import (
    MAX_MODELS,
    can_prepare,
    prepare_apart,
    prepare_engine,
    remember,
    remembered_engine,
    remembered_export,
)


class Timed:
    """A model that takes so many seconds and finds nothing."""

    def __init__(self, config, seconds: float) -> None:
        self.config = config
        self.seconds = seconds

    def predict_on_batch(self, batch, /) -> PaddedDetections:
        time.sleep(self.seconds)
        count = len(batch["images"])
        return PaddedDetections(
            np.zeros((count, 0, 4)), np.zeros((count, 0)), np.zeros((count, 0), int), np.zeros((count, 0, 28, 28)),
            np.zeros((count, 0), bool),
        )  # fmt: skip


@pytest.fixture
def pretended(tmp_path, monkeypatch):
    """Two engines beside Keras, as fast as their names' seconds; what is exported is an empty file."""
    from maskrcnn.config.fields import replace
    from maskrcnn.config.model import Category, ModelConfig

    config = replace(ModelConfig(categories=(Category(1, "cell"),)), image__short_side=32, image__long_side=32)
    seconds, exported = {"keras": 0.03, "openvino": 0.001, "onnx": 0.06}, []

    def export(_, out, *, format, log):
        del log
        if format == "litert":
            raise ValueError("answers differ")
        exported.append(format)
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(format)

    monkeypatch.setenv("MASKRCNN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(engine_choice.SWITCH)
    monkeypatch.setattr("maskrcnn.api.load_model", lambda path, compile: Timed(config, seconds["keras"]))
    monkeypatch.setattr("maskrcnn.exporting.export.export", export)
    monkeypatch.setattr(verb.engines, "load", lambda path: Timed(config, seconds[Path(path).read_text()]))
    monkeypatch.setattr(verb, "_seconds_to_load", lambda path, function: 9.0 if function == "load_model" else 1.0)
    for module in (verb, engine_choice):
        monkeypatch.setattr(module, "is_installed", lambda name: True)
    model = tmp_path / "model.keras"
    model.write_bytes(b"a model")
    return SimpleNamespace(model=model, config=config, seconds=seconds, exported=exported)


def test_the_fastest_comes_first_and_what_cannot_take_part_says_why(pretended):
    image = np.zeros((40, 60, 3), np.uint8)
    found = benchmark(pretended.model, images=[image], formats=("onnx", "openvino", "litert"), rounds=2, log=lambda _: None)
    assert [timing.name for timing in found.timings] == ["openvino", "keras", "onnx"]
    assert found.fastest == "openvino"
    assert found.failures == {"litert": "answers differ"}
    for timing in found.timings:
        assert pretended.seconds[timing.name] <= timing.spread[0] <= timing.seconds <= timing.spread[1]


def prepare(pretended) -> tuple[Path, str]:
    folder = engine_folder(pretended.model)
    model = Timed(pretended.config, pretended.seconds["keras"])
    return folder, prepare_engine(model, folder, start=9.0, log=lambda _: None)


def test_what_is_measured_once_is_remembered_for_that_model(pretended):
    folder, name = prepare(pretended)
    assert name == "openvino" == remembered_engine(folder) and pretended.exported == ["openvino"]
    export = remembered_export(folder)
    assert export is not None and export.read_text() == "openvino" and not can_prepare(folder)
    pretended.model.write_bytes(b"another model")
    other = engine_folder(pretended.model)
    assert other != folder and remembered_engine(other) is None and remembered_export(other) is None and can_prepare(other)


def test_the_start_counts_as_much_as_there_are_few_images(pretended):
    pretended.seconds["openvino"] = 0.1  # three times Keras's, after a start that is eight seconds shorter
    folder, name = prepare(pretended)
    assert name == "openvino" == remembered_engine(folder, images=10)
    assert remembered_engine(folder, images=10_000) == "keras" == remembered_engine(folder)
    assert remembered_export(folder) is None


def test_nothing_is_prepared_where_nobody_wants_it(pretended, monkeypatch):
    folder = engine_folder(pretended.model)
    assert can_prepare(folder)
    monkeypatch.setenv(engine_choice.SWITCH, "off")
    assert not can_prepare(folder)


def test_an_export_that_fails_is_not_tried_again(pretended, monkeypatch):
    monkeypatch.setattr(engine_choice, "AUTO", ("litert",))
    folder, name = prepare(pretended)
    assert name == "keras" == remembered_engine(folder, images=1) and not can_prepare(folder)


def test_an_export_that_is_gone_is_not_run(pretended):
    folder, _ = prepare(pretended)
    export = remembered_export(folder)
    assert export is not None
    export.unlink()
    assert remembered_engine(folder) == "keras"


def test_damaged_records_are_measured_anew(pretended):
    folder, _ = prepare(pretended)
    (record,) = folder.glob("measured-*.json")
    for damaged in ("", "[]", "{}", '{"engines": []}', '{"engines": {"keras": 1}}', '{"engines": {"openvino": [1, 2]}}'):
        record.write_text(damaged)
        assert remembered_engine(folder) is None and can_prepare(folder)


def test_the_longest_unused_exports_go(tmp_path, monkeypatch):
    monkeypatch.setenv("MASKRCNN_HOME", str(tmp_path))
    folders = [tmp_path / "engines" / str(number) for number in range(MAX_MODELS + 2)]
    for age, folder in enumerate(folders):
        remember(Benchmark([Timing("keras", 1.0, (1.0, 1.0), 1.0)], {}, folder))
        os.utime(folder, (age, age))
    assert sorted(folder.name for folder in (tmp_path / "engines").iterdir()) == sorted(folder.name for folder in folders[2:])


def test_a_little_faster_than_keras_is_not_enough():
    timings = [Timing("onnx", 0.98, (0.9, 1.0), 1.0), Timing("keras", 1.0, (0.9, 1.1), 9.0)]
    assert Benchmark(timings, {}, Path()).fastest == "keras"
    assert Benchmark([Timing("onnx", 0.9, (0.9, 1.0), 1.0), timings[1]], {}, Path()).fastest == "onnx"


def test_what_cannot_be_timed_is_refused(pretended, tmp_path):
    with pytest.raises(ValueError, match="benchmark knows openvino, onnx, litert, saved-model, .*received torch"):
        benchmark(pretended.model, formats=("torch",))
    with pytest.raises(ValueError, match="rounds from 1; received 0"):
        benchmark(pretended.model, rounds=0)
    with pytest.raises(FileNotFoundError):
        benchmark(tmp_path / "none.keras")


PROGRAM = """
import json, os, platform, sys, time
from pathlib import Path
folder = Path(os.environ["FOLDER"])
with open(folder.parent / "begun", "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
if os.environ["DO"] == "fail":
    sys.exit("Error: no space left")
while os.environ["DO"] == "wait":
    time.sleep(60)
(folder / "openvino").write_text("openvino")
seconds = {"engines": {"keras": [9, 1], "openvino": [1, 0.1]}}
(folder / f"measured-{platform.node()}.json").write_text(json.dumps(seconds))
"""


@pytest.fixture
def apart(pretended, tmp_path, monkeypatch):
    """A program in the place of `maskrcnn`, which does what it is told; the lines that it was called with."""
    (tmp_path / "program.py").write_text(PROGRAM)
    folder = engine_folder(pretended.model)
    monkeypatch.setenv("FOLDER", str(folder))
    monkeypatch.setattr(engine_choice, "PROGRAM", (sys.executable, str(tmp_path / "program.py")))
    begun = folder.parent / "begun"

    def run(do: str, stop: threading.Event):
        monkeypatch.setenv("DO", do)
        return prepare_apart(pretended.model, folder, stop)

    return SimpleNamespace(run=run, folder=folder, begun=lambda: begun.read_text().splitlines() if begun.exists() else [])


def test_of_two_servers_one_prepares_in_a_process_of_its_own_and_the_other_waits(apart, pretended):
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda _: apart.run("well", threading.Event()), range(2)))
    assert found == [apart.folder / "openvino"] * 2
    assert apart.begun() == [f"benchmark {pretended.model} --format openvino --rounds 3"]


def test_a_process_that_fails_says_why(apart):
    with pytest.raises(RuntimeError, match="^Error: no space left$"):
        apart.run("fail", threading.Event())
    assert can_prepare(apart.folder)


def test_nobody_who_stops_it_leaves_a_process(apart, monkeypatch):
    processes, start, stop = [], subprocess.Popen, threading.Event()

    def begin(*arguments, **options):
        processes.append(start(*arguments, **options))
        stop.set()
        return processes[-1]

    monkeypatch.setattr(engine_choice.subprocess, "Popen", begin)
    assert apart.run("wait", stop) is None
    (process,) = processes
    assert process.returncode
