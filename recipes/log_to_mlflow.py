"""A training in MLflow: settings, every loss and score of each epoch, the best model and the run's report.

pip install mlflow
python recipes/log_to_mlflow.py train.json val.json runs/first --experiment cells

MLFLOW_TRACKING_URI says where to; without it MLflow writes on this machine, and `mlflow ui` shows it.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import keras
import mlflow

import maskrcnn
from maskrcnn.config.run import RunConfig

KEPT = ("best.keras", "report.html", "metrics.json", "config.json")  # of the run's folder


class LogToMlflow(keras.callbacks.Callback):
    """Gives each epoch's numbers to the active run of MLflow."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        mlflow.log_metrics({name: float(value) for name, value in (logs or {}).items()}, step=epoch + 1)


def train(data: Any, val: Any, out: str | Path, *, experiment: str, **settings: Any) -> maskrcnn.MaskRCNN:
    """Trains as `maskrcnn.train` does, and logs it.

    Args:
        data, val, out: as there.
        experiment: of MLflow.
        **settings: of the run.
    """
    config = RunConfig().with_settings(**settings)
    mlflow.set_experiment(experiment)
    with mlflow.start_run(run_name=Path(out).name):
        mlflow.log_params({name: str(value)[:500] for name, value in dataclasses.asdict(config).items()})
        model = maskrcnn.train(data, val, out, config=config, callbacks=[LogToMlflow()])
        for name in KEPT:
            if (Path(out) / name).is_file():
                mlflow.log_artifact(str(Path(out) / name))
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description="Train and log to MLflow.")
    parser.add_argument("data", type=Path)
    parser.add_argument("val", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--experiment", default="maskrcnn")
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    train(arguments.data, arguments.val, arguments.out, experiment=arguments.experiment, epochs=arguments.epochs)


if __name__ == "__main__":
    main()
