"""A model from a preset, a checkpoint, a backbone or a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from maskrcnn.config import fields, presets
from maskrcnn.config.model import Category, ModelConfig
from maskrcnn.model.backbones import keras_model
from maskrcnn.model.mask_rcnn import Network
from maskrcnn.weights import backbones, published
from maskrcnn.weights import checkpoint as checkpoints
from maskrcnn.weights.categories import named_categories
from maskrcnn.weights.checkpoint import Checkpoint
from maskrcnn.weights.stem import inflation

HEADS_ANEW = "The pyramid and the heads start anew: fpn, rpn, box_head, mask_head."


def numbered_or_named(num_classes: int | None, class_names: Sequence[str | Category] | None) -> tuple[Category, ...]:
    if class_names is None:
        if num_classes is None:
            raise ValueError("A model needs to know its classes: give num_classes=3, or class_names=['car', 'bus', 'bike'].")
        return presets.placeholder_categories(num_classes)
    categories = named_categories(class_names)
    if num_classes not in (None, len(categories)):
        raise ValueError(f"num_classes={num_classes} contradicts the {len(categories)} class names given; give one of them.")
    return categories


def config_with_channels(config: ModelConfig, input_channels: int | None) -> ModelConfig:
    return config if input_channels is None else presets.with_channels(config, input_channels)


def with_backbone(config: ModelConfig, model: keras.Model, input_channels: int | None, changes: dict[str, Any]) -> ModelConfig:
    """The configuration of a preset whose backbone is the user's own model.

    Args:
        changes: the user's own, which overrule what the model says of itself (`keras_model.conventions`).

    Raises:
        ValueError: a model that is no backbone, or that takes other channels.
    """
    said = keras_model.conventions(model, levels=tuple(changes.get("backbone__levels", ())))
    channels = model.inputs[0].shape[-1]
    if input_channels not in (None, channels):
        raise ValueError(
            f"The backbone {model.name!r} takes images of {channels} channels; received input_channels={input_channels}. "
            "Build it for as many, or leave input_channels out."
        )
    return fields.replace(presets.with_channels(config, channels), **(said | changes))


def backbone_copy(source: Network) -> keras.Model | None:
    """Of a network whose backbone was handed in, that backbone anew; None where the configuration alone says what it is."""
    return keras_model.copied(source.backbone) if source.config.backbone.name == "keras" else None


def report_inflation(log: Callable[[str], None], source: ModelConfig, model: Network) -> None:
    old, new = source.image.channels, model.config.image.channels
    if new != old:
        log(inflation(old, new))


def backbone_arrays(weights: str | Path, config: ModelConfig) -> backbones.NamedArrays:
    if weights in ("auto", "imagenet"):
        return backbones.imagenet(config.backbone.name)
    return backbones.read(weights, config.backbone)


def names_of(classes: Sequence[str | Category]) -> list[str]:
    return [category.name for category in named_categories(classes)]


def origin_of(file: str | Path, checkpoint: Checkpoint) -> str:
    """What a model file says of where its weights came from."""
    if str(file) in published.PUBLISHED:
        return published.PUBLISHED[str(file)].origin
    return f"{checkpoint.source}, {Path(file).name}"


def put_weights(path: Path, checkpoint: Checkpoint, model: Network, **options: Any) -> checkpoints.Report:
    """`checkpoints.put`, whose error then names the file."""
    try:
        return checkpoints.put(checkpoint, model, **options)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def report_weights(log: Callable[[str], None], report: checkpoints.Report) -> None:
    """Every tensor's fate: what was loaded as a count, what was not by name."""
    log(f"{report.summary()}.")
    if any(path.startswith("fpn/") for path in report.remade):  # a backbone was loaded alone
        log(HEADS_ANEW)
    elif report.remade:
        log(remade_layers(report.remade))
    if report.unused:
        log(f"Not used of the file: {', '.join(report.unused)}.")


def remade_layers(paths: Sequence[str]) -> str:
    return f"The classes differ from the file's, so these weights start anew: {', '.join(paths)}."


def carried_classes(source: Sequence[str], target: Sequence[str]) -> str:
    """Which rows of the class layers are carried over from a model of other classes, by name."""
    new = [name for name in target if name not in source]
    started = f"; new ones start anew: {', '.join(new)}" if new else ""
    return f"The classes differ from the file's; rows of classes with the same name are carried over{started}."
