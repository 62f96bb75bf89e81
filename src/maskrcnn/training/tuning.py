"""What nobody set, chosen from the data before a run begins: image size, anchors, batch, epochs, augmentation, numbers of rows.

Rules of `doctor.suggest` for the model, and a few for the run that a person can check. Nothing is tried out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from maskrcnn import memory
from maskrcnn.config import fields, presets
from maskrcnn.config.augment import AUGMENTATIONS
from maskrcnn.config.model import ModelConfig
from maskrcnn.config.run import RunConfig
from maskrcnn.data.dataset import Dataset
from maskrcnn.data.reading import read_sample
from maskrcnn.doctor.object_sizes import measure_objects
from maskrcnn.doctor.suggest import suggest_model
from maskrcnn.training.folder import AUTO, settings_of_run
from maskrcnn.training.optimizers import slots_of
from maskrcnn.training.plan import PRESET, Plan
from maskrcnn.weights import finding
from maskrcnn.weights.sources import holds_whole_model

PIXELS = 2 * 512 * 864  # of a step's frames: those of two images as the small presets show them
MOST_IMAGES = 8  # of a step: more need another learning rate
LEAST_STEPS = 6  # of an epoch
STEPS = 1000  # of a run, where few images are shown again and again
LEAST_EPOCHS, MOST_EPOCHS = 12, 80  # Detectron's 1x schedule; as many as recipes/nuts.py takes for twelve images
LONG = 30  # epochs from which strong augmentation pays: docs/measurements.md, "What each setting contributes"
MANY = 5  # objects of a gray image, the median, as microscopes show them
NUM_READ = 8  # images that are read to see whether they are gray
SMALLEST_SIDE = 256  # pixels below which memory shrinks no image
# Weights at most, of presets with a narrow pyramid, of others, and of these: reference/models.md. They are not built here.
NARROW = 128  # channels of the pyramid
MOST_WEIGHTS = {"narrow": 19e6, "wide": 111e6, "vitdet_large": 331e6, "vitdet_huge": 662e6}


class Choice(NamedTuple):
    """Settings of a run that were chosen, and why in a few words."""

    settings: dict[str, Any]
    reason: str


def tuned(plan: Plan, given: Collection[str], log: Callable[[str], None]) -> Plan:
    """The plan with what was not given chosen from its training data; one that goes on stays as it is.

    Args:
        given: names of the settings that somebody set, as `RunConfig.with_settings` takes them; they stay.
        log: told what was chosen and why, a line each.
    """
    if plan.state is not None:
        return plan
    choices = list(choose(plan.config, plan.train, given))
    if not choices:
        return plan
    chosen = {name: value for choice in choices for name, value in choice.settings.items()}
    log("Chosen from the data (--no-auto, auto=False: nothing is; what you set stays):")
    for choice in choices:
        log(f"  {', '.join(f'{_spelled(name)} {_short(value)}' for name, value in choice.settings.items())}: {choice.reason}")
    config = plan.config.with_settings(**chosen)
    settings = settings_of_run(config, None, None) | {name: plan.settings[name] for name in ("data", "val")}
    return replace(plan, config=config, settings=settings | {AUTO: sorted(chosen)})


def choose(config: RunConfig, dataset: Dataset, given: Collection[str]) -> Iterator[Choice]:
    """What to set for this data, each choice counting on those before it; `given` as in `tuned`.

    A whole model to start from brings its image size, its anchors and its numbers of rows; of a run from one, epochs and
    augmentation are chosen alone.
    """
    is_new, rules = not _starts_whole(config), [("epochs", _epochs), ("augment", _augment)]
    model = presets.preset(config.model or PRESET, dataset.categories, input_channels=config.input_channels or 3)
    if is_new:
        if config.devices == 1:
            rules.insert(0, ("batch_size", _batch))
        fixed = {*config.model_changes(), *(["image__short_side"] if "image_size" in given else [])}
        for suggestion in suggest_model(dataset, fields.replace(model, **config.model_changes()), fixed=fixed):
            choice = Choice(_as_settings(suggestion.changes), suggestion.reason)
            config = config.with_settings(**choice.settings)
            yield choice
    for name, rule in rules:
        if name in given:
            continue
        value, reason = rule(config, fields.replace(model, **config.model_changes()), dataset)
        if value != getattr(config, name):
            config = config.with_settings(**{name: value})
            yield Choice({name: value}, reason)
    if is_new:
        yield from _smaller(config, model, dataset, given)


def _starts_whole(config: RunConfig) -> bool:
    return config.init not in (None, "auto", "imagenet") and holds_whole_model(finding.resolve(str(config.init)))


def _as_settings(changes: Mapping[str, Any]) -> dict[str, Any]:
    """A suggestion's fields as a run has them, which knows an image's size by its shorter side."""
    if set(changes) == {"image__short_side", "image__long_side"}:
        return {"image_size": changes["image__short_side"]}
    return dict(changes)


def _batch(config: RunConfig, model: ModelConfig, dataset: Dataset) -> tuple[int, str]:
    """More images where frames are small, so that a step is worth its overhead, and an epoch still has several."""
    height, width = _frame(config, model, dataset, batch_size=2)
    most = min(PIXELS // (height * width), len(dataset) // LEAST_STEPS, MOST_IMAGES)
    batch = 2 ** int(math.log2(max(most, config.batch_size)))
    return batch, f"frames are {width}×{height} pixels, small enough for {batch} in a step"


def _epochs(config: RunConfig, model: ModelConfig, dataset: Dataset) -> tuple[int, str]:
    del model
    steps = -(-len(dataset) // config.batch_size)
    epochs = min(max(round(STEPS / steps), LEAST_EPOCHS), MOST_EPOCHS)
    return epochs, f"{len(dataset)} images make {steps} steps an epoch, {steps * epochs} in all"


def _augment(config: RunConfig, model: ModelConfig, dataset: Dataset) -> tuple[str, str]:
    """Strong augmentation in long trainings alone; that of microscopes for gray images of many objects, which have no above."""
    if config.epochs < LONG:
        return RunConfig.augment, f"{config.epochs} epochs are too few for more"
    if any(category.keypoints for category in dataset.categories):
        return "photos", f"{config.epochs} epochs show each image so often that it should vary"
    many = float(np.median(measure_objects(dataset).per_image()))
    if many >= MANY and _is_gray(model, dataset):
        return "microscopy", f"gray images of {many:.0f} objects (median), shown {config.epochs} times"
    return "photos", f"{config.epochs} epochs show each image so often that it should vary"


def _is_gray(model: ModelConfig, dataset: Dataset) -> bool:
    """Whether a few of the images, evenly spread over the data, have no color."""
    if model.image.channels != 3:
        return True
    try:
        for sample in dataset.samples[:: -(-len(dataset) // NUM_READ)]:
            image = read_sample(sample, model.image).image
            if image is None or (image != image[..., :1]).any():
                return False
    except (OSError, ValueError):
        return False  # whoever reads it in earnest says what is wrong with it
    return True


def _frame(config: RunConfig, model: ModelConfig, dataset: Dataset, *, batch_size: int) -> tuple[int, int]:
    augment = AUGMENTATIONS.get(config.augment) if isinstance(config.augment, str) else None
    return memory.largest_frame([sample.size for sample in dataset.samples], model.image, batch_size, augment)


def _smaller(config: RunConfig, model: ModelConfig, dataset: Dataset, given: Collection[str]) -> Iterator[Choice]:
    """Where the memory is too little for a step: fewer images of it, then smaller ones. What is given stays, and is refused."""
    batches = [config.batch_size] if "batch_size" in given or config.devices != 1 else range(config.batch_size, 0, -1)
    batch = next((batch for batch in batches if _fits(replace(config, batch_size=batch), model, dataset)), None)
    if batch is not None:
        if batch < config.batch_size:
            yield Choice({"batch_size": batch}, "there is not memory for more")
        return
    if "image_size" in given or any(name.startswith("image__") for name in given):
        return
    sides = range(config.image_size or model.image.short_side, SMALLEST_SIDE - 1, -model.image.stride)
    least = replace(config, batch_size=min(batches))
    smaller = (replace(least, image_size=side) for side in sides)
    fitting = next((each for each in smaller if _fits(each, model, dataset)), None)
    if fitting is not None:
        yield Choice({"batch_size": fitting.batch_size, "image_size": fitting.image_size}, "there is not memory for more")


def _fits(config: RunConfig, preset: ModelConfig, dataset: Dataset) -> bool:
    model = fields.replace(preset, **config.model_changes())
    weights = MOST_WEIGHTS.get(model.backbone.name, MOST_WEIGHTS["narrow" if model.fpn.channels <= NARROW else "wide"])
    needed = memory.training_bytes(
        model,
        round(weights),
        _frame(config, model, dataset, batch_size=config.batch_size),
        config.batch_size,
        max(len(sample.labels) for sample in dataset.samples),
        slots=slots_of(config),
        bytes_a_number=4 if config.precision == "float32" else 2,
    )
    return memory.fits(round(needed + 4 * weights), 0)


def _spelled(name: str) -> str:
    return name.replace("__", ".")


def _short(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")) if isinstance(value, (tuple, list)) else str(value)
