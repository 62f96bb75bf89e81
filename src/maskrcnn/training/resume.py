"""Keeping the state of a run, so that it goes on after being killed at any moment."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops

from maskrcnn.interrupts import StopRequest
from maskrcnn.model.mask_rcnn import synchronize
from maskrcnn.ops import native
from maskrcnn.training.state import State, save_state


class Remembers(Protocol):
    """A callback that goes on where it was: `memory` is plain data that JSON holds."""

    memory: Any


def variables_of(model: keras.Model) -> dict[str, Any]:
    """Every variable that a training changes, by its number and name: paths of seeds count all that the process ever made."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)  # on TensorFlow `fit` leaves that to the first step
    groups = {"model": model.variables, "optimizer": model.optimizer.variables, "means": model.metrics_variables}
    return {
        f"{group}/{number}/{variable.name}": variable for group, some in groups.items() for number, variable in enumerate(some)
    }


def snapshot(model: keras.Model) -> dict[str, np.ndarray]:
    """Copies of `variables_of`."""
    synchronize(model)
    return {name: np.array(ops.convert_to_numpy(variable)) for name, variable in variables_of(model).items()}


def restore(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Puts a snapshot back. The model is compiled.

    Raises:
        ValueError: if the snapshot is of another model, or of one compiled otherwise.
    """
    synchronize(model)
    variables = variables_of(model)
    shapes = ({name: tuple(each.shape) for name, each in some.items()} for some in (variables, arrays))
    if len(differing := set.symmetric_difference(*(set(each.items()) for each in shapes))):
        name, shape = min(differing)
        raise ValueError(
            f"The kept state is of another model or optimizer: {name} {shape} is in one of them alone. "
            "Give the settings it was begun with, or train into another folder."
        )
    for name, variable in variables.items():
        variable.assign(native.place_as(variable, arrays[name]))


class KeepState(keras.callbacks.Callback):
    """Keeps the state of the training in a folder: at its start, every few minutes, and after each epoch. Never NaN.

    Comes last among the callbacks, so that what the others did for an epoch is part of its state.

    Args:
        folder: of the run.
        settings: the run's arguments.
        remembering: callbacks that remember something, by name.
        every_minutes: at most so much is lost; 0 keeps every step.
        state: where the training goes on, if it does.
        stop: a signal that came during a step ends the training after it, when its state is kept.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        settings: dict[str, Any],
        remembering: Mapping[str, Remembers],
        every_minutes: float = 5.0,
        state: State | None = None,
        stop: StopRequest | None = None,
    ):
        super().__init__()
        self.folder = Path(folder)
        self.settings = settings
        self.remembering = remembering
        self.every_minutes = every_minutes
        self.state = state
        self.stop = stop or StopRequest()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.kept_at = time.monotonic()
        if self.state is None:
            self._keep(0, 0)
            return
        for name, callback in self.remembering.items():
            if name in self.state.memories:  # a run that was begun by an earlier version lacks what is newer
                callback.memory = self.state.memories[name]
        restore(self.model, self.state.arrays)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert self.state is not None
        self.epoch = epoch
        self.first_step = self.state.step if epoch == self.state.epoch else 0
        if self.first_step:
            restore(self.model, self.state.arrays)  # Keras has just set the running means to zero
        self.stop.hold()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        is_last = batch + 1 == self.params["steps"]  # then the epoch's end keeps the state; `fit` cannot do 0 steps
        is_due = self.stop.number is not None or time.monotonic() - self.kept_at >= 60 * self.every_minutes
        if not is_last and is_due:
            self._keep(self.epoch, self.first_step + batch + 1)
        if is_last or self.stop.number is not None:
            self.stop.release()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.stop.hold()
        self._keep(epoch + 1, 0)
        self.stop.release()

    def recover(self) -> None:
        """Puts the weights that were kept last back into the model."""
        assert self.state is not None
        restore(self.model, self.state.arrays)

    def _keep(self, epoch: int, step: int) -> None:
        arrays = snapshot(self.model)
        if not all(np.isfinite(value).all() for name, value in arrays.items() if not name.startswith("means/")):
            if self.state is None:
                raise ValueError("The weights that training would begin with are not all finite; choose another init.")
            return  # a gradient was not finite though its loss was: the next loss will tell, and what was kept stays good
        memories = {name: callback.memory for name, callback in self.remembering.items()}
        self.state = State(epoch, step, self.settings, memories, arrays)
        save_state(self.folder, self.state)
        self.kept_at = time.monotonic()
