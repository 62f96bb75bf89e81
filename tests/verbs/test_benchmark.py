"""Laws of the benchmark: the fastest is named where it is clearly so, and measured once for each model and its versions."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from maskrcnn.structures import PaddedDetections
from maskrcnn.verbs import benchmark as verb
from maskrcnn.verbs.benchmark import Benchmark, Timing, benchmark, fastest_engine


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
    monkeypatch.setattr("maskrcnn.api.load_model", lambda path, compile: Timed(config, seconds["keras"]))
    monkeypatch.setattr("maskrcnn.exporting.export.export", export)
    monkeypatch.setattr(verb.engines, "load", lambda path: Timed(config, seconds[Path(path).read_text()]))
    monkeypatch.setattr(verb, "_is_installed", lambda name: True)
    model = tmp_path / "model.keras"
    model.write_bytes(b"a model")
    return SimpleNamespace(model=model, seconds=seconds, exported=exported)


def test_the_fastest_comes_first_and_what_cannot_take_part_says_why(pretended):
    image = np.zeros((40, 60, 3), np.uint8)
    found = benchmark(pretended.model, images=[image], formats=("onnx", "openvino", "litert"), rounds=2, log=lambda _: None)
    assert [timing.name for timing in found.timings] == ["openvino", "keras", "onnx"]
    assert found.fastest == "openvino"
    assert found.failures == {"litert": "answers differ"}
    for timing in found.timings:
        assert pretended.seconds[timing.name] <= timing.spread[0] <= timing.seconds <= timing.spread[1]


def test_the_fastest_engine_is_measured_once_for_each_model(pretended):
    told = []
    export = fastest_engine(pretended.model, log=told.append)
    assert export is not None and export.read_text() == "openvino"
    assert any("Measuring once" in line for line in told)
    pretended.seconds["openvino"] = 1.0
    again = fastest_engine(pretended.model, log=lambda line: pytest.fail(line), on_measure=lambda: pytest.fail("measured"))
    assert again == export and pretended.exported == ["openvino", "onnx"]
    pretended.model.write_bytes(b"another model")
    assert fastest_engine(pretended.model, log=lambda _: None) is None  # Keras is the fastest now
    assert fastest_engine(pretended.model, log=lambda line: pytest.fail(line)) is None


def test_a_little_faster_than_keras_is_not_enough():
    timings = [Timing("onnx", 0.98, (0.9, 1.0)), Timing("keras", 1.0, (0.9, 1.1))]
    assert Benchmark(timings, {}, Path()).fastest == "keras"
    assert Benchmark([Timing("onnx", 0.9, (0.9, 1.0)), timings[1]], {}, Path()).fastest == "onnx"


def test_what_cannot_be_timed_is_refused(pretended, tmp_path):
    with pytest.raises(ValueError, match="benchmark knows openvino, onnx, litert, saved-model, .*received torch"):
        benchmark(pretended.model, formats=("torch",))
    with pytest.raises(ValueError, match="rounds from 1; received 0"):
        benchmark(pretended.model, rounds=0)
    with pytest.raises(FileNotFoundError):
        benchmark(tmp_path / "none.keras")
