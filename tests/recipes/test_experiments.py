"""The recipes for W&B, MLflow and Optuna, where these are installed: a small training through each of them."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from small_network import with_small_backbone
from training.test_resume import SETTINGS

from maskrcnn.data.shapes import make_shapes

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = {name: value for name, value in SETTINGS.items() if name not in ("log", "verbose")} | {"epochs": 2}
OTHERS_WARN = pytest.mark.filterwarnings("default")  # of what these libraries themselves use, they may be warned


@pytest.fixture(scope="module", autouse=True)
def small_backbones() -> Any:
    with with_small_backbone():
        yield


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_shapes(tmp_path_factory.mktemp("shapes"), num_train=2, num_val=1, seed=3)


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Imports a recipe by name, in a folder of its own."""
    monkeypatch.syspath_prepend(RECIPES)
    monkeypatch.chdir(tmp_path)
    return importlib.import_module


@OTHERS_WARN
def test_wandb_gets_every_epoch_and_the_report(
    shapes: Any, tmp_path: Path, recipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb", reason="needs wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logged: list[tuple[int | None, dict[str, Any]]] = []
    own = wandb.sdk.wandb_run.Run.log

    def log(run: Any, values: dict[str, Any], step: int | None = None, **rest: Any) -> None:
        logged.append((step, values))
        own(run, values, step=step, **rest)

    monkeypatch.setattr(wandb.sdk.wandb_run.Run, "log", log)
    recipe("log_to_wandb").train(*shapes, tmp_path / "run", project="small", **SMALL)
    assert [step for step, _ in logged] == [1, 2, None]
    assert {"loss", "val_loss", "val_mask_ap", "mask_loss"} <= logged[0][1].keys()
    assert "report" in logged[2][1]
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))


@OTHERS_WARN
def test_mlflow_gets_every_epoch_and_the_best_model(
    shapes: Any, tmp_path: Path, recipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "tracked").as_uri())
    recipe("log_to_mlflow").train(*shapes, tmp_path / "run", experiment="small", **SMALL)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("small")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["epochs"] == "2"
    assert len(client.get_metric_history(run.info.run_id, "val_mask_ap")) == 2
    names = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert names == {"best.keras", "report.html", "metrics.json", "config.json"}


@OTHERS_WARN
def test_optuna_tries_settings_and_goes_on(shapes: Any, tmp_path: Path, recipe: Any) -> None:
    optuna = pytest.importorskip("optuna", reason="needs optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = recipe("search_with_optuna").search
    settings = {name: value for name, value in SMALL.items() if name not in ("learning_rate", "augment", "dropout")}
    first = search(*shapes, tmp_path / "search", trials=1, **settings | {"epochs": 1, "no_report": True})
    assert len(first.trials) == 1
    study = search(*shapes, tmp_path / "search", trials=2, **settings | {"epochs": 1, "no_report": True})
    assert [trial.number for trial in study.trials] == [0, 1]
    for trial in study.trials:
        given = json.loads((tmp_path / "search" / f"trial-{trial.number}" / "config.json").read_text())["arguments"]
        assert {name: given[name] for name in trial.params} == trial.params
    assert set(study.best_params) == {"learning_rate", "augment", "dropout", "weight_decay"}
