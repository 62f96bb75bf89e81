"""Laws of the models that commands work with: auto answers first, prepares afterwards, and runs what it prepared."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import maskrcnn
from maskrcnn import engines
from maskrcnn.cli import models
from maskrcnn.cli.models import model_to_run, models_to_run
from maskrcnn.config.model import Category, ModelConfig
from maskrcnn.verbs import engine_choice


class OnKeras:
    """Stands for a model on Keras."""

    config = ModelConfig((Category(1, "cell"),))


@pytest.fixture
def happened(tmp_path, monkeypatch) -> SimpleNamespace:
    """A model's file, and what is done with it, in order."""
    seen = SimpleNamespace(model=tmp_path / "model.keras", order=[], told=[], prepared=tmp_path / "model.onnx", ready=False)
    seen.model.write_bytes(b"a model")

    def load(path):
        seen.order.append("Keras")
        return OnKeras()

    def prepare(model, folder, *, start, log):
        assert isinstance(model, OnKeras) and start > 0
        seen.order.append("prepared")
        return "onnx"

    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setattr(models, "load_model", load)
    monkeypatch.setattr(models, "tell", seen.told.append)
    monkeypatch.setattr(engine_choice, "is_installed", lambda name: True)
    monkeypatch.setattr(engine_choice, "can_prepare", lambda folder: not seen.ready)
    monkeypatch.setattr(engine_choice, "prepare_engine", prepare)
    monkeypatch.setattr(engine_choice, "remembered_export", lambda folder, images: seen.prepared if seen.ready else None)
    monkeypatch.setattr(engines, "recognise", lambda path: "onnxruntime" if path == seen.prepared else None)
    monkeypatch.setattr(engines, "load", lambda path, engine=None: ("engine", path, engine))
    return seen


def use(path, engine="auto", happened=None):
    with model_to_run(path, engine, images=1) as model:
        if happened is not None:
            happened.order.append("answered")
        return model


def test_the_answer_comes_before_the_preparation(happened):
    use(happened.model, happened=happened)
    assert happened.order == ["Keras", "answered", "prepared"]
    assert happened.told[-1] == "Done: it will run on onnx."


def test_what_is_prepared_runs_without_keras(happened):
    happened.ready = True
    assert use(happened.model) == ("engine", happened.prepared, None)
    assert happened.order == [] and "Running on onnxruntime" in happened.told[0]


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_who_names_a_backend_gets_it(happened, backend, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    happened.ready = True
    use(happened.model)
    assert happened.order == ["Keras"]


def test_without_a_runtime_no_file_is_looked_into(happened, monkeypatch):
    monkeypatch.setattr(engine_choice, "is_installed", lambda name: False)
    monkeypatch.setattr("maskrcnn.verbs.benchmark.engine_folder", lambda path: pytest.fail("the model's file was read"))
    use(happened.model)
    assert happened.order == ["Keras"]


def test_keras_by_name_prepares_nothing(happened):
    use(happened.model, "keras")
    assert happened.order == ["Keras"]


def test_an_exported_model_runs_on_its_own_engine(happened):
    assert use(happened.prepared) == ("engine", happened.prepared, None)
    assert use(happened.prepared, "onnxruntime") == ("engine", happened.prepared, "onnxruntime")


def test_a_failure_prepares_nothing(happened):
    with pytest.raises(ValueError, match="no image"), model_to_run(happened.model, "auto"):
        raise ValueError("no image")
    assert happened.order == ["Keras"]


def test_ctrl_c_leaves_the_preparation_out(happened, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(engine_choice, "prepare_engine", stop)
    use(happened.model)
    assert happened.told[-1] == "Left out."


def test_several_are_asked_together(happened):
    with models_to_run([happened.model, happened.model], "keras") as together:
        assert isinstance(together, maskrcnn.Ensemble)
