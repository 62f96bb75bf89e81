"""The optimizer of a run from a few numbers, and its averaged weights.

A step is what the optimizer makes of one batch; with `accumulate` > 1 it moves the weights once
in so many batches, and schedules still count batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from maskrcnn.model.optimizers import FIRST_RATE, SGD, Adam, WarmUpAndSteps

Schedule = Literal["cosine", "step", "constant"]

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
MILESTONES = (2 / 3, 8 / 9)  # of the run; Detectron: after 60,000 and 80,000 of 90,000 steps
CLIP_NORM = 10.0  # steps beyond it are accidents: a first step on a crowded image


def make_optimizer(
    name: str,
    learning_rate: float | None = None,
    *,
    batch_size: int,
    num_steps: int,
    schedule: Schedule = "cosine",
    warm_up_steps: int | None = None,
    milestones: Sequence[float] = MILESTONES,
    weight_decay: float | None = None,
    clip_norm: float | None = CLIP_NORM,
    accumulate: int = 1,
    ema: float = 0.0,
    backbone_rate: float = 1.0,
) -> keras.optimizers.Optimizer:
    """An optimizer whose rate warms up along a line and then follows a schedule. It travels inside the `.keras` file.

    Args:
        name: `"adam"`, `"adamw"` or `"sgd"` (with momentum).
        learning_rate: peak rate; where None `LEARNING_RATES`, for SGD times the images of an update (Goyal et al. 2017,
            section 2.1), which are `batch_size * accumulate`.
        batch_size: images a batch.
        num_steps: batches of the whole run.
        schedule: `"cosine"` falls to a hundredth (Loshchilov & Hutter 2017); `"step"` falls to a tenth at each milestone;
            `"constant"` stays.
        warm_up_steps: batches until the peak; where None `WARM_UP_STEPS`, at most a tenth of the run.
        milestones: of `"step"`, rising fractions of `num_steps`.
        weight_decay: a step takes this times its rate off each kernel, apart from the gradient; where None `WEIGHT_DECAY`.
            Norms and biases do not decay.
        clip_norm: longest gradient of all weights together, of the mean over `accumulate` batches; None clips nothing.
        accumulate: batches whose mean gradient makes one update.
        ema: momentum of the averaged weights, see `averaged`; 0 keeps none.
        backbone_rate: factor of the backbone's rate, and so of its decay.

    Raises:
        ValueError: for a name or schedule that is none of these, or a number out of its range.
    """
    if name not in LEARNING_RATES:
        raise ValueError(f"Unknown optimizer {name!r}; possible: {', '.join(LEARNING_RATES)}.")
    if accumulate < 1 or not 0 <= ema < 1 or backbone_rate < 0:
        raise ValueError(
            "accumulate is at least 1, ema at least 0 and less than 1, backbone_rate at least 0; "
            f"received {accumulate}, {ema} and {backbone_rate}."
        )
    if learning_rate is None:
        learning_rate = LEARNING_RATES[name] * (batch_size * accumulate if name == "sgd" else 1)
    if warm_up_steps is None:
        warm_up_steps = min(WARM_UP_STEPS, num_steps // 10)
    options = {
        "learning_rate": _schedule(schedule, learning_rate, num_steps, warm_up_steps, milestones),
        "global_clipnorm": clip_norm,
        "weight_decay": WEIGHT_DECAY.get(name) if weight_decay is None else weight_decay,
        "gradient_accumulation_steps": accumulate if accumulate > 1 else None,
        "use_ema": ema > 0,
        "ema_momentum": ema,
        "backbone_rate": backbone_rate,
    }
    # AdamW is Adam that decays; Keras's class of that name differs in nothing but its default.
    return SGD(momentum=MOMENTUM, **options) if name == "sgd" else Adam(**options)


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
            variable.assign(mean)
        yield True
    finally:
        for (variable, _), value in zip(pairs, own):
            variable.assign(value)


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
    if kind != "step":
        raise ValueError(f"Unknown schedule {kind!r}; possible: cosine, step, constant.")
    if not all(0 < milestone < 1 for milestone in milestones) or list(milestones) != sorted(set(milestones)):
        raise ValueError(f"milestones are rising fractions of the run between 0 and 1; received {tuple(milestones)}.")
    return WarmUpAndSteps(peak, warm_up_steps, [round(milestone * num_steps) for milestone in milestones])
