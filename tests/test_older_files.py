"""Files of earlier versions still open. `golden/run_of_0_1_0` holds what version 0.1.0 wrote of a run, but for its weights."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import keras
import pytest

import maskrcnn
from maskrcnn.api import MaskRCNN
from maskrcnn.model.optimizers import Adam

GOLDEN = Path(__file__).parent / "golden" / "run_of_0_1_0"


@pytest.fixture(scope="module")
def old_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's folder, as 0.1.0 left it: its model is described by the file it wrote, and holds weights of today."""
    folder = tmp_path_factory.mktemp("run")
    for name in ("config.json", "history.csv", "metrics.json"):
        shutil.copy(GOLDEN / name, folder / name)
    described = json.loads((GOLDEN / "keras_config.json").read_text())
    model = MaskRCNN.from_config(described["config"])
    model.compile(optimizer=keras.saving.deserialize_keras_object(described["compile_config"]["optimizer"]))
    model.optimizer.build(model.trainable_variables)
    model.save(folder / "today.keras")
    with zipfile.ZipFile(folder / "today.keras") as today, zipfile.ZipFile(folder / "last.keras", "w") as old:
        for entry in today.namelist():
            old.writestr(entry, today.read(entry) if entry != "config.json" else (GOLDEN / "keras_config.json").read_bytes())
    (folder / "today.keras").unlink()
    return folder


def test_a_run_folder_opens_with_its_model_and_the_optimizer_it_was_trained_with(old_run: Path) -> None:
    model = maskrcnn.load_model(old_run)
    arguments = json.loads((old_run / "config.json").read_text())["arguments"]
    assert model.config.class_names == ["circle", "square", "triangle"]
    assert model.config.image.short_side == arguments["image_size"] == 64
    assert model.config.box_head.hidden == arguments["box_head__hidden"] == 16
    assert type(model.optimizer) is Adam and model.optimizer.global_clipnorm == arguments["clip_norm"]
    assert model.mask_loss == "binary_crossentropy"
