"""Keras's optimizers as a detector needs them: decay of kernels alone, a rate of its own for the backbone, a warm-up.

They are saved inside `.keras` files, so they are here beside the network and known wherever it is.
`maskrcnn.training.optimizers` makes them from the numbers of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from maskrcnn.ops import native

HEADS = (
    "fpn",
    "rpn",
    "box_head",
    "mask_head",
    "keypoint_head",
)  # paths of their weights begin so; the backbone's are as published
FIRST_RATE = 0.01  # of the peak, where the warm-up begins
MILESTONE_FACTOR = 0.1  # Mask R-CNN, section 3.1


@keras.saving.register_keras_serializable(package="maskrcnn")
class WarmUpAndSteps(keras.optimizers.schedules.LearningRateSchedule):
    """Along a line from a hundredth to the peak, then a tenth of the rate at each boundary. Detectron's schedule.

    Keras's `PiecewiseConstantDecay` knows no warm-up.

    Args:
        peak: rate after the warm-up.
        warm_up_steps: of the warm-up; 0 begins at the peak.
        boundaries: first steps of each lower rate.
    """

    def __init__(self, peak: float, warm_up_steps: int, boundaries: Sequence[int] = ()):
        super().__init__()
        self.peak = peak
        self.warm_up_steps = warm_up_steps
        self.boundaries = tuple(boundaries)

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        warmth = ops.minimum(step / max(1, self.warm_up_steps), 1.0) if self.warm_up_steps else 1.0
        rate = self.peak * (FIRST_RATE + (1 - FIRST_RATE) * warmth) * ops.ones_like(step)
        for boundary in self.boundaries:
            rate = ops.where(step >= boundary, rate * MILESTONE_FACTOR, rate)
        return rate

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "warm_up_steps": self.warm_up_steps, "boundaries": list(self.boundaries)}


_Base: Any = keras.optimizers.Optimizer


class _DetectorOptimizer:
    """What our optimizers add to Keras's, on every backend."""

    def __init__(self, *args: Any, backbone_rate: float = 1.0, settable: bool = False, **options: Any):
        super().__init__(*args, **options)
        self.backbone_rate = backbone_rate
        self._set_rate = None
        if settable:  # below 0 until somebody sets a rate
            self._set_rate = keras.Variable(-1.0, name="set_rate", dtype="float32", trainable=False)
            self._track_variable(self._set_rate)

    @property
    def learning_rate(self) -> Any:
        """The rate of the next step. Where it is `settable`, a number that is set stays, in place of the schedule."""
        return self._get_current_learning_rate()

    @learning_rate.setter
    def learning_rate(self, rate: Any) -> None:
        if self._set_rate is None or callable(rate):
            _Base.learning_rate.fset(self, rate)
        else:
            self._set_rate.assign(rate)

    def _get_current_learning_rate(self) -> Any:
        rate = super()._get_current_learning_rate()
        if self._set_rate is None:
            return rate
        set_rate = ops.convert_to_tensor(self._set_rate)  # JAX's `where` takes no Keras variable
        return ops.where(set_rate >= 0, set_rate, rate)

    def apply(self, grads: Sequence[Any], trainable_variables: Any = None) -> None:
        """As Keras's, with gradients of the whole batch where devices have a part of it each.

        Keras on TensorFlow clips those of each part by themselves and adds them up then.
        """
        super().apply(native.KERNELS.total(list(grads)), trainable_variables)

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        """Asked on TensorFlow: they are added up already."""
        return grads_and_vars

    def build(self, variables: list[Any]) -> None:
        self.exclude_from_weight_decay(var_list=[variable for variable in variables if not variable.name.endswith("kernel")])
        super().build(variables)

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        """Each group by its own rate, so that a rate of 0 leaves it as it is."""
        if not self.weight_decay:
            return
        decay = self.weight_decay
        for rows, factor in self._groups(variables):
            if any(self._use_weight_decay(variables[row]) for row in rows):  # PyTorch refuses to decay none
                self.weight_decay = decay * factor
                super()._apply_weight_decay([variables[row] for row in rows])
        self.weight_decay = decay

    def _backend_update_step(self, grads: Sequence[Any], trainable_variables: Sequence[Any], learning_rate: Any) -> None:
        for rows, factor in self._groups(trainable_variables):
            super()._backend_update_step(
                [grads[row] for row in rows], [trainable_variables[row] for row in rows], learning_rate * factor
            )

    def _groups(self, variables: Sequence[Any]) -> list[tuple[list[int], float]]:
        """Rows of the variables that share a rate, with its factor; no group is empty."""
        if self.backbone_rate == 1:
            return [(list(range(len(variables))), 1.0)]
        # Layers of the backbone keep their published names, those of the other parts begin with the part's.
        heads = [row for row, variable in enumerate(variables) if variable.path.split("/")[0] in HEADS]
        backbone = sorted(set(range(len(variables))) - set(heads))
        return [group for group in ((heads, 1.0), (backbone, self.backbone_rate)) if group[0]]

    def _update_model_variables_moving_average(self, trainable_variables: Sequence[Any]) -> None:
        """Keras's average forgets its first value, the weights after one step, with `ema_momentum` alone: of 0.9998, after 1000
        steps four fifths of it are left. Here the momentum grows with the updates, as in TensorFlow's ExponentialMovingAverage.
        """
        updates = ops.cast(self.iterations, "float32")  # before this one
        momentum = ops.minimum(self.ema_momentum, updates / (updates + 9.0))  # TensorFlow's counts from 1
        if self.gradient_accumulation_steps:  # Keras would average after each batch, whether or not the weights moved
            moved = ops.equal((self._iterations + 1) % self.gradient_accumulation_steps, 0)
            momentum = ops.where(moved, momentum, 1.0)
        for variable, average in zip(trainable_variables, self._model_variables_moving_average):
            weight = ops.cast(momentum, variable.dtype)
            average.assign(weight * average + (1 - weight) * variable)

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Keras's end of `fit`: the model keeps its averaged weights. Before the first update there are none."""
        if self.use_ema and int(ops.convert_to_numpy(self.iterations)):
            for variable, average in zip(self._trainable_variables, self._model_variables_moving_average):
                variable.assign(
                    ops.copy(average)
                )  # on JAX it would share its memory, and take it along when that is given away

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "backbone_rate": self.backbone_rate}
        return config if self._set_rate is None else {**config, "settable": True}


def _of_backend(kind: Any) -> Any:
    """The class that Keras makes of one of its optimizers: on PyTorch one that updates all variables together."""
    return type(kind.__new__(kind))


_SGD: Any = _of_backend(keras.optimizers.SGD)
_Adam: Any = _of_backend(keras.optimizers.Adam)


@keras.saving.register_keras_serializable(package="maskrcnn")
class SGD(_DetectorOptimizer, _SGD):
    """`keras.optimizers.SGD` whose kernels alone decay; `backbone_rate` is the factor of the backbone's rate.

    With `settable`, callbacks may set `learning_rate` although it follows a schedule.
    """


@keras.saving.register_keras_serializable(package="maskrcnn")
class Adam(_DetectorOptimizer, _Adam):
    """`keras.optimizers.Adam` whose kernels alone decay; `backbone_rate` is the factor of the backbone's rate.

    With `settable`, callbacks may set `learning_rate` although it follows a schedule.
    """
