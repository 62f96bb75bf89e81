"""What keeps processes that train one model alike: callbacks of each of them."""

from __future__ import annotations

from typing import Any

import keras

from maskrcnn.distributed.processes import as_the_first, averaged_over_all, greatest


class AverageNorms(keras.callbacks.Callback):
    """Averages the running means and variances of live batch norm, which takes each process's own images. Comes first."""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        norms = [layer for layer in self.model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
        live = [norm for norm in norms if norm.trainable]
        self.running = [variable for norm in live for variable in (norm.moving_mean, norm.moving_variance)]

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        averaged_over_all(self.running)


class StayTogether(keras.callbacks.Callback):
    """Begins with the first process's state, and ends when it ends. Comes last."""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        model = self.model
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        as_the_first([*model.variables, *model.optimizer.variables, *model.metrics_variables])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        (stop,) = greatest([int(self.model.stop_training)])
        self.model.stop_training = bool(stop)
