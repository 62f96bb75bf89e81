"""Laws of best scores: measured by evaluate, kept in the model's file, taken by predict."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from random_results import CATEGORIES, random_set
from small_network import small_config, with_small_backbone
from typer.testing import CliRunner

import maskrcnn
from maskrcnn.api import MaskRCNN, load_model
from maskrcnn.cli.app import app
from maskrcnn.config import fields
from maskrcnn.config.model import Category
from maskrcnn.verbs.evaluate import Scores
from maskrcnn.weights import models
from maskrcnn.weights.published import SHIPPED

NAMES = [category.name for category in CATEGORIES]


def small_model(names: list[str], **changes: Any) -> MaskRCNN:
    config = fields.replace(
        small_config(num_classes=len(names)),
        image__short_side=64,
        image__long_side=96,
        detect__score=0.0,
        categories=tuple(Category(number, name) for number, name in enumerate(names, start=1)),
        **changes,
    )
    with with_small_backbone():
        return MaskRCNN(config, seed=0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a model that knows the data's classes in another order, and one more."""
    path = tmp_path_factory.mktemp("model") / "best.keras"
    models.save(small_model([*reversed(NAMES), "strange"]), path)
    return path


@pytest.fixture
def run(saved: Path, tmp_path: Path) -> Path:
    """A run's folder with that model."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.keras").write_bytes(saved.read_bytes())
    return tmp_path / "run"


@pytest.fixture
def scores() -> Scores:
    return Scores({}, random_set(2).evaluation(), "Model on data")


def test_they_are_in_the_file_by_name_and_nothing_else_changes(run: Path, scores: Scores) -> None:
    path = run / "best.keras"
    with zipfile.ZipFile(path) as archive:
        before = {name: archive.read(name) for name in archive.namelist()}
    assert scores.save_best_scores(run) == path
    with zipfile.ZipFile(path) as archive:
        after = {name: archive.read(name) for name in archive.namelist()}
    assert list(after) == list(before)
    assert {name for name in before if before[name] != after[name]} == {"config.json"}
    assert [file.name for file in run.iterdir()] == ["best.keras"]
    with with_small_backbone():
        model = load_model(run)
    best = scores.best_scores()
    assert dict(zip(model.config.class_names, model.config.detect.best_scores)) == pytest.approx(best | {"strange": 0.5})
    assert len(set(best.values())) > 1


def test_predict_takes_them_and_says_so_where_there_are_none(run: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 75, 3), np.uint8)
    with with_small_backbone():
        model = load_model(run)
    (every,) = model.detect(image)
    assert len(every) > 5
    middle = float(np.median(every.scores))
    with pytest.raises(ValueError, match="no best scores"):
        maskrcnn.predict([image], model=model, score="auto")
    for label in range(model.config.num_classes):
        best = tuple(middle if label == k else 1.0 for k in range(model.config.num_classes))
        model.config = fields.replace(model.config, detect__best_scores=best)
        (found,) = maskrcnn.predict([image], model=model, score="auto")
        expected = (every.labels == label) & (every.scores >= middle)
        np.testing.assert_array_equal(found.scores, every.scores[expected])
        assert set(found.labels.tolist()) <= {label}


def test_the_commands(run: Path, scores: Scores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, data = tmp_path / "image.png", tmp_path / "val.json"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 75, 3), np.uint8)).save(image)
    out = tmp_path / "found"
    with with_small_backbone():
        predict = ["predict", str(image), "--model", str(run), "--score", "auto", "--out", str(out)]
        done = CliRunner().invoke(app, predict)
        assert done.exit_code == 2
        assert "no best scores" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert not out.exists()

        data.write_text("{}")
        monkeypatch.setattr(maskrcnn, "load_dataset", lambda path, **_: _Data())
        monkeypatch.setattr(maskrcnn, "evaluate", lambda *_, **__: scores)
        monkeypatch.setattr("maskrcnn.reports.tables.print_scores", lambda *_: None)
        done = CliRunner().invoke(app, ["evaluate", "--model", str(run), "--data", str(data), "--save-scores"])
        assert done.exit_code == 0, done.output
        assert f"{NAMES[0]} {scores.best_scores()[NAMES[0]]:.3f}" in done.stdout
        done = CliRunner().invoke(app, predict)
    assert done.exit_code == 0, done.output
    model = models.read_config(run / "best.keras")["config"]["config"]
    least = dict(zip((category["name"] for category in model["categories"]), model["detect"]["best_scores"]))
    rows = json.loads((out / "predictions.json").read_text())
    assert all(row["score"] >= least[row["category_name"]] for row in rows)


class _Data:
    """Stands for a data set whose evaluation is known."""

    def summary(self) -> str:
        return ""

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize("text", ["automatic", "1.5", "-0.1", "nan"])
def test_what_is_no_score_is_refused(text: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["predict", str(tmp_path), "--score", text])
    assert done.exit_code == 2
    assert f"a number from 0 to 1, or auto; received {text}" in done.stderr


def test_models_that_they_do_not_belong_to_are_refused(run: Path, scores: Scores, tmp_path: Path) -> None:
    shipped = SHIPPED["nuclei"].read_bytes()
    with pytest.raises(ValueError, match="comes with the package and stays as it is"):
        scores.save_best_scores("nuclei")
    assert SHIPPED["nuclei"].read_bytes() == shipped
    models.save(small_model(["other"]), tmp_path / "other.keras")
    with pytest.raises(ValueError, match="none of the classes"):
        scores.save_best_scores(tmp_path / "other.keras")


def test_other_classes_forget_them(run: Path, scores: Scores) -> None:
    scores.save_best_scores(run)
    quiet: dict[str, Any] = {"log": lambda _: None, "seed": 0}
    with with_small_backbone():
        assert MaskRCNN.from_checkpoint(run, **quiet).config.detect.best_scores
        assert MaskRCNN.from_checkpoint(run, new_classes=[NAMES[0], "new"], **quiet).config.detect.best_scores == ()
