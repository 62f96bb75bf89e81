"""How far a training is, for whoever shows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import keras


class Progress(NamedTuple):
    """A moment of a training."""

    phase: Literal["training", "validation", "scoring", "epoch"]  # the last: an epoch is done
    epoch: int  # from 1
    epochs: int
    done: int  # steps of the epoch; batches of the validation data; images that are scored
    total: int
    values: dict[str, float]  # running means of the losses; at an epoch's end everything that is logged
    seconds_left: float | None  # of the whole run; None before there is anything to judge by


class ReportProgress(keras.callbacks.Callback):
    """Says after each step, and while an epoch is validated and scored, how far the training is.

    Args:
        report: called with each `Progress`.
        epochs: of the whole run.
        steps: of an epoch.
        validation_steps: batches of the validation data.
    """

    def __init__(self, report: Callable[[Progress], None], *, epochs: int, steps: int, validation_steps: int):
        super().__init__()
        self.report = report
        self.epochs, self.steps, self.validation_steps = epochs, steps, validation_steps
        self.first_step = 0  # of the epoch, where a part of it was trained before
        self.epoch = self.done = 0
        self.losses: dict[str, float] = {}
        self._num_timed, self._seconds = 0, 0.0  # the first step compiles, and is not counted
        self._validation_seconds: float | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch, self.done = epoch + 1, self.first_step
        self._last = self._epoch_trained = time.monotonic()
        self._is_first = self._num_timed == 0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        now = time.monotonic()
        if not self._is_first:
            self._num_timed, self._seconds = self._num_timed + 1, self._seconds + now - self._last
        self._is_first, self._last, self._epoch_trained = False, now, now
        self.done = self.first_step + batch + 1
        self.losses = {name: float(value) for name, value in (logs or {}).items()}
        self._tell("training", self.done, self.steps, self.losses)

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._tell("validation", batch + 1, self.validation_steps, self.losses)

    def on_scored(self, done: int, total: int) -> None:
        """Of the validation images, so many are scored."""
        self._tell("scoring", done, total, self.losses)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._validation_seconds = time.monotonic() - self._epoch_trained
        self.first_step = 0
        values = {name: float(value) for name, value in (logs or {}).items()}
        self._tell("epoch", self.steps, self.steps, values)

    def _tell(self, phase: Any, done: int, total: int, values: dict[str, float]) -> None:
        self.report(Progress(phase, self.epoch, self.epochs, done, total, values, self._seconds_left()))

    def _seconds_left(self) -> float | None:
        if not self._num_timed:
            return None
        steps = (self.epochs - self.epoch) * self.steps + self.steps - self.done
        epochs = self.epochs - self.epoch + (self.done < self.steps)
        return steps * self._seconds / self._num_timed + epochs * (self._validation_seconds or 0.0)
