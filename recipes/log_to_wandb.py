"""A training in Weights & Biases: settings, every loss and score of each epoch, and the run's report.

pip install wandb
python recipes/log_to_wandb.py train.json val.json runs/first --project cells

Without an account: WANDB_MODE=offline writes into ./wandb, which `wandb sync` sends later.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import keras
import wandb

import maskrcnn
from maskrcnn.config.run import RunConfig


class LogToWandb(keras.callbacks.Callback):
    """Gives each epoch's numbers to a run of W&B."""

    def __init__(self, run: Any) -> None:
        super().__init__()
        self.run = run

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.run.log({name: float(value) for name, value in (logs or {}).items()}, step=epoch + 1)


def train(data: Any, val: Any, out: str | Path, *, project: str, **settings: Any) -> maskrcnn.MaskRCNN:
    """Trains as `maskrcnn.train` does, and logs it.

    Args:
        data, val, out: as there.
        project: of W&B.
        **settings: of the run.
    """
    config = RunConfig().with_settings(**settings)
    said = {name: str(value) for name, value in dataclasses.asdict(config).items()}
    with wandb.init(project=project, name=Path(out).name, config=said) as run:
        model = maskrcnn.train(data, val, out, config=config, callbacks=[LogToWandb(run)])
        page = Path(out) / "report.html"
        if page.is_file():
            run.log({"report": wandb.Html(page.read_text("utf-8"), inject=False)})
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description="Train and log to Weights & Biases.")
    parser.add_argument("data", type=Path)
    parser.add_argument("val", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--project", default="maskrcnn")
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    train(arguments.data, arguments.val, arguments.out, project=arguments.project, epochs=arguments.epochs)


if __name__ == "__main__":
    main()
