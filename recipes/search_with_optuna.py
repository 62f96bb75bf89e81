"""A search for settings with Optuna: runs that fall behind are ended early, and a search that was cut short goes on.

pip install optuna
python recipes/search_with_optuna.py train.json val.json runs/search --trials 20

Each trial is a run of its own in a folder of its own. The last line is the best trial's settings. The best of many trials is
flattered by the validation data: score it on a third part of the data.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import keras
import optuna

import maskrcnn

MONITOR = "val_mask_ap"


class Prune(keras.callbacks.Callback):
    """Tells a trial each epoch's score, and ends the run where the trial is to be pruned."""

    def __init__(self, trial: optuna.Trial) -> None:
        super().__init__()
        self.trial = trial
        self.best = 0.0
        self.is_pruned = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        score = float((logs or {})[MONITOR])
        self.best = max(self.best, score)
        self.trial.report(score, epoch)
        if self.trial.should_prune():
            self.is_pruned = self.model.stop_training = True


def settings_of(trial: optuna.Trial) -> dict[str, Any]:
    """What is searched; change it for your own data."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 5e-5, 1e-3, log=True),
        "augment": trial.suggest_categorical("augment", ["flip", "photos", "microscopy"]),
        "dropout": trial.suggest_categorical("dropout", [0.0, 0.3, 0.5]),
        "weight_decay": trial.suggest_float("weight_decay", 1e-5, 0.1, log=True),
    }


def search(data: Any, val: Any, out: str | Path, *, trials: int, **settings: Any) -> optuna.Study:
    """Looks for the settings with the best mask AP.

    Args:
        data, val: as for `maskrcnn.train`.
        out: folder; it gets a folder for each trial, and `study.db`, from which the search goes on when it is called anew.
        trials: how many runs there are to be, those of earlier calls among them.
        **settings: of every run.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name="maskrcnn",
        storage=f"sqlite:///{out / 'study.db'}",
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=3),
    )

    def objective(trial: optuna.Trial) -> float:
        prune = Prune(trial)
        chosen = settings | settings_of(trial)
        maskrcnn.train(data, val, out / f"trial-{trial.number}", callbacks=[prune], verbose=0, **chosen)
        if prune.is_pruned:
            raise optuna.TrialPruned
        return prune.best

    done = sum(trial.state.is_finished() for trial in study.trials)
    study.optimize(objective, n_trials=max(trials - done, 0))
    return study


def main() -> None:
    parser = argparse.ArgumentParser(description="Search for settings with Optuna.")
    parser.add_argument("data", type=Path)
    parser.add_argument("val", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    study = search(arguments.data, arguments.val, arguments.out, trials=arguments.trials, epochs=arguments.epochs)
    print(f"Mask AP {study.best_value:.3f} with {study.best_params}")


if __name__ == "__main__":
    main()
