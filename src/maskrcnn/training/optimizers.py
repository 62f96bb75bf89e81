"""The optimizer of a run from a few numbers, and its averaged weights.

A step is what the optimizer makes of one batch; with `accumulate` > 1 it moves the weights once
in so many batches, and schedules still count batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from maskrcnn.config.run import RunConfig
from maskrcnn.model.optimizers import FIRST_RATE, SGD, Adam, WarmUpAndSteps
from maskrcnn.ops import native

LEARNING_RATES = {
    "adam": 2e-4,  # at any batch size
    "adamw": 2e-4,  # MMDetection's "ResNet strikes back" recipe
    "sgd": 0.02 / 16,  # an image of the batch; Detectron's 0.02 for 16
}
MOMENTUM = 0.9  # Mask R-CNN, section 3.1
# MMDetection's recipe; Mask R-CNN, section 3.1: 1e-4 in the gradient, which a momentum of 0.9 applies ten times. Keras decays
# the weights apart from the momentum (Loshchilov & Hutter 2019), so the same pull needs ten times the number.
WEIGHT_DECAY = {"adamw": 0.05, "sgd": 1e-4 / (1 - MOMENTUM)}
WARM_UP_STEPS = 500  # Detectron; at most a tenth of the run
LAST_RATE = 0.01  # of the peak, where the cosine ends


def make_optimizer(config: RunConfig, *, num_steps: int, settable: bool = False) -> keras.optimizers.Optimizer:
    """An optimizer whose rate warms up along a line and then follows a schedule. It travels inside the `.keras` file.

    `"cosine"` falls to a hundredth (Loshchilov & Hutter 2017); `"step"` falls to a tenth at each milestone; `"constant"` stays.
    A step takes `weight_decay` times its rate off each kernel, apart from the gradient; norms and biases do not decay.

    Args:
        config: the numbers of the run.
        num_steps: batches of the whole run.
        settable: whether callbacks may set the rate, which from then on follows the schedule no longer.

    Raises:
        ValueError: `ema` of 1, or milestones that are no rising fractions.
    """
    name, rate, warm_up_steps = config.optimizer, peak_rate(config), warm_up(config, num_steps)
    if config.ema >= 1:
        raise ValueError(f"ema is at least 0 and less than 1; received {config.ema}.")
    options = {
        "learning_rate": _schedule(config.schedule, rate, num_steps, warm_up_steps, config.milestones),
        "global_clipnorm": config.clip_norm,
        "weight_decay": WEIGHT_DECAY.get(name) if config.weight_decay is None else config.weight_decay,
        "gradient_accumulation_steps": config.accumulate if config.accumulate > 1 else None,
        "use_ema": config.ema > 0,
        "ema_momentum": config.ema,
        "backbone_rate": config.backbone_rate,
        "settable": settable,
    }
    # AdamW is Adam that decays; Keras's class of that name differs in nothing but its default.
    return SGD(momentum=MOMENTUM, **options) if name == "sgd" else Adam(**options)


def peak_rate(config: RunConfig) -> float:
    """The learning rate after the warm-up: for SGD times the images of an update (Goyal et al. 2017, section 2.1)."""
    if config.learning_rate is not None:
        return config.learning_rate
    return LEARNING_RATES[config.optimizer] * (config.batch_size * config.accumulate if config.optimizer == "sgd" else 1)


def warm_up(config: RunConfig, num_steps: int) -> int:
    """Steps of the warm-up, in a run of so many."""
    return min(WARM_UP_STEPS, num_steps // 10) if config.warm_up_steps is None else config.warm_up_steps


def slots_of(config: RunConfig) -> int:
    """Numbers that the optimizer keeps for each weight: Adam's two moments or SGD's momentum, sums, averages."""
    return (1 if config.optimizer == "sgd" else 2) + (config.accumulate > 1) + (config.ema > 0)


@contextlib.contextmanager
def averaged(model: keras.Model) -> Iterator[bool]:
    """While it is open, the model holds its averaged weights (`ema` of `make_optimizer`); then its own again, bit by bit.

    A model that is saved inside answers with its averaged weights, and goes on learning from them. Running means and variances
    of live batch norm are the model's own, not averaged.

    Example:
        with averaged(model):
            scores = evaluate(model, val_data)
            save(model, "best.keras")

    Yields:
        Whether there are averaged weights; without them, or before the first update, nothing changes.
    """
    optimizer: Any = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # float16's loss scaling wraps ours
    if not getattr(optimizer, "use_ema", False) or not optimizer.built or not int(ops.convert_to_numpy(optimizer.iterations)):
        yield False
        return
    pairs = list(zip(optimizer._trainable_variables, optimizer._model_variables_moving_average))
    # Copies: on PyTorch and TensorFlow an array may be a view of the very memory that is about to be overwritten; on JAX a
    # variable that shares its memory with its average takes it along when Keras gives its own away, as in `predict`.
    own, means = ([np.array(ops.convert_to_numpy(variable)) for variable in some] for some in zip(*pairs))
    try:
        for (variable, _), mean in zip(pairs, means):
            variable.assign(native.place_as(variable, mean))
        yield True
    finally:
        for (variable, _), value in zip(pairs, own):
            variable.assign(native.place_as(variable, value))


def _schedule(
    kind: str, peak: float, num_steps: int, warm_up_steps: int, milestones: Sequence[float]
) -> keras.optimizers.schedules.LearningRateSchedule:
    if kind == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            FIRST_RATE * peak,
            max(1, num_steps - warm_up_steps),
            alpha=LAST_RATE,
            warmup_target=peak,
            warmup_steps=warm_up_steps,
        )
    if kind == "constant":
        return WarmUpAndSteps(peak, warm_up_steps)
    if not all(0 < milestone < 1 for milestone in milestones) or list(milestones) != sorted(set(milestones)):
        raise ValueError(f"milestones are rising fractions of the run between 0 and 1; received {tuple(milestones)}.")
    return WarmUpAndSteps(peak, warm_up_steps, [round(milestone * num_steps) for milestone in milestones])
