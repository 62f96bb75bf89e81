"""What keeps processes that train one model alike: callbacks of each of them."""

from __future__ import annotations

from typing import Any

import keras

from maskrcnn.distributed.processes import as_the_first, greatest


def together() -> tuple[list[keras.callbacks.Callback], list[keras.callbacks.Callback]]:
    """The first and the last callbacks of every process."""
    own = OnItsOwn()
    return [own], [StayTogether(own)]


class OnItsOwn(keras.callbacks.Callback):
    """What a process does after an epoch asks no other. Comes first.

    On JAX a variable that is made while a distribution is set is made by all processes at once, and saving makes some.
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.distribution = keras.distribution.distribution()
        keras.distribution.set_distribution(None)


class StayTogether(keras.callbacks.Callback):
    """Begins with the first process's state, and ends when it ends. Comes last.

    Args:
        own: what is over then.
    """

    def __init__(self, own: OnItsOwn) -> None:
        super().__init__()
        self.own = own

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        model = self.model
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        as_the_first([*model.variables, *model.optimizer.variables, *model.metrics_variables])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        keras.distribution.set_distribution(self.own.distribution)
        (stop,) = greatest([int(self.model.stop_training)])
        self.model.stop_training = bool(stop)
