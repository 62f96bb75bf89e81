"""A model from a preset, a checkpoint, a backbone or a file."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from maskrcnn.config import fields, presets
from maskrcnn.config.model import Category, ModelConfig
from maskrcnn.model.backbones import keras_model
from maskrcnn.model.mask_rcnn import Network
from maskrcnn.weights import backbones, class_rows, finding, published
from maskrcnn.weights import checkpoint as checkpoints
from maskrcnn.weights import models as model_files
from maskrcnn.weights.categories import categories_of, named_categories
from maskrcnn.weights.checkpoint import Checkpoint
from maskrcnn.weights.sources import holds_whole_model, read_checkpoint
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


@dataclass(frozen=True)
class Start:
    """How a model begins, whatever it begins from.

    Attributes:
        kind: the class of the model.
        input_channels: of the images; what the configuration or the file says where None.
        seed: of random weights and of the sampling in training; None draws one.
        log: called with each line about what was found, assumed, loaded, left out and made anew.
        changes: fields of `ModelConfig`, `section__field` to value, over what the preset or the file says.
    """

    kind: type[Network]
    input_channels: int | None
    seed: int | None
    log: Callable[[str], None]
    changes: dict[str, Any]

    def from_preset(
        self,
        preset: str,
        num_classes: int | None,
        class_names: Sequence[str | Category] | None,
        backbone: keras.Model | None,
        weights: str | Path | None,
    ) -> Network:
        """See `MaskRCNN.from_preset`."""
        if preset in published.SHIPPED:
            if weights != "auto":
                raise ValueError(f"{preset!r} is a trained model with weights of its own; leave out weights={weights!r}.")
            new = None if num_classes is None and class_names is None else numbered_or_named(num_classes, class_names)
            return self.from_checkpoint(published.SHIPPED[preset], new_classes=new)
        rgb = presets.preset(preset, numbered_or_named(num_classes, class_names))
        if backbone is not None:
            config = with_backbone(rgb, backbone, self.input_channels, self.changes)
            copy = keras_model.copied(backbone, levels=config.backbone.levels)
            if weights in (None, "auto"):
                return self._seeded(config, copy)
            if not model_files.is_model(path := finding.resolve(weights)):
                raise ValueError(f"A backbone brings its own weights; beside it, weights is a .keras model, not {weights!r}.")
            return self._from_model_file(path, config, copy)
        config = config_with_channels(rgb, self.input_channels)
        if weights not in (None, "auto", "imagenet"):
            weights = finding.resolve(weights)
            if weights.suffix == ".keras" and model_files.is_model(weights):
                return self._from_model_file(weights, fields.replace(config, **self.changes))
            if weights.suffix not in backbones.SUFFIXES or holds_whole_model(weights):
                return self._from_backbone(read_checkpoint(weights), rgb, weights)
        try:
            if weights in ("auto", "imagenet"):
                file = backbones.imagenet_file(fields.replace(config, **self.changes).backbone)
                if file is not None:
                    return self._from_backbone(read_checkpoint(file), rgb, file)
            arrays = None if weights is None else backbone_arrays(weights, fields.replace(config, **self.changes))
        except ConnectionError as error:
            if weights != "auto":
                raise
            warnings.warn(f"The backbone starts from random weights: {error}", stacklevel=2)
            arrays = None
        if arrays is None:
            config = fields.replace(config, backbone__norm="live", backbone__frozen_stages=0)
        model = self._seeded(fields.replace(config, **self.changes))
        if arrays is not None:
            backbones.put(arrays, model.backbone)
            if weights not in ("auto", "imagenet"):
                self.log(f"{weights}: a backbone, {len(model.backbone.weights)} weights loaded. {HEADS_ANEW}")
            report_inflation(self.log, rgb, model)
        return model

    def from_checkpoint(
        self,
        file: str | Path,
        *,
        source: str = "auto",
        class_names: Sequence[str | Category] | None = None,
        new_classes: Sequence[str | Category] | None = None,
        matterport_config: Any = None,
    ) -> Network:
        """See `MaskRCNN.from_checkpoint`."""
        path = finding.resolve(file)
        if model_files.is_model(path):
            if source != "auto" or matterport_config:
                given = f"source={source!r}" if source != "auto" else "matterport's settings"
                raise ValueError(f"{path} is a model of maskrcnn and says all of itself; leave out {given}.")
            return self._from_own_file(path, class_names, new_classes)
        checkpoint = read_checkpoint(path, source=source, class_names=class_names, matterport_config=matterport_config)
        if checkpoint.categories is None:
            raise ValueError(
                f"{path} holds a backbone of {checkpoint.source} alone; start from it with maskrcnn train --init FILE, or with "
                "from_preset(weights=FILE)."
            )
        self.log(f"{path}: {checkpoint.source}, {len(checkpoint.categories)} classes.")
        for sentence in checkpoint.assumed:  # first: it may be what explains that the weights do not fit
            self.log(f"Assumed: {sentence}")
        config = config_with_channels(checkpoint.config, self.input_channels)
        config = fields.replace(config, **({"origin": origin_of(file, checkpoint)} | self.changes))
        known = config.class_names
        if new_classes is not None:
            config = fields.replace(config, categories=numbered_or_named(None, new_classes))
        model, others = self._seeded(config), config.class_names != known
        report = put_weights(path, checkpoint, model, source_classes=known if others else None)
        report_weights(self.log, report)
        if others and not report.remade:
            self.log(carried_classes(known, config.class_names))
        report_inflation(self.log, checkpoint.config, model)
        return model

    def _from_own_file(
        self, path: Path, class_names: Sequence[str | Category] | None, new_classes: Sequence[str | Category] | None
    ) -> Network:
        """A model of this package, for the same classes or others."""
        source = open_model(path, self.kind, compile=False)
        self.log(f"{path}: maskrcnn, {source.config.num_classes} classes.")
        config = config_with_channels(source.config, self.input_channels)
        if class_names is not None:
            config = fields.replace(config, categories=categories_of(config.num_classes, class_names))
        known, changes = config.class_names, self.changes
        remake = new_classes is not None and names_of(new_classes) != known
        if new_classes is not None:
            changes = {"categories": numbered_or_named(None, new_classes)} | changes
        if remake:
            of_classes: dict[str, Any] = {
                "box_head__class_weights": (),
                "box_head__class_counts": (),
                "detect__best_scores": (),
            }
            changes = of_classes | changes  # the old ones are of other classes
        config = fields.replace(config, **changes)
        model = self._seeded(config, backbone_copy(source))
        remade = model_files.transfer(source, model, source_classes=known)
        if remade:
            self.log(remade_layers(remade))
        elif remake:
            self.log(carried_classes(known, model.config.class_names))
        report_inflation(self.log, source.config, model)
        return model

    def _from_backbone(self, checkpoint: Checkpoint, config: ModelConfig, path: Path) -> Network:
        """A model whose backbone is in a file of another project, with that project's conventions."""
        if checkpoint.categories is not None:
            raise ValueError(f"{path} holds a whole model of {checkpoint.source}; open it with MaskRCNN.from_checkpoint(FILE).")
        wanted, found = config.backbone.name, checkpoint.changes.get("backbone__name", config.backbone.name)
        if found != wanted:
            raise ValueError(f"{path} holds a {found}, and the preset's backbone is {wanted}; choose the preset {found}_fpn.")
        as_trained = fields.replace(config, **checkpoint.changes)
        self.log(f"{path}: the backbone of {checkpoint.source}.")
        for sentence in checkpoint.assumed:
            self.log(f"Assumed: {sentence}")
        model = self._seeded(fields.replace(config_with_channels(as_trained, self.input_channels), **self.changes))
        report_weights(self.log, put_weights(path, checkpoint, model))
        report_inflation(self.log, as_trained, model)
        return model

    def _from_model_file(self, path: str | Path, config: ModelConfig, backbone: keras.Model | None = None) -> Network:
        """A model of a preset that starts from the weights of a whole model of this package."""
        source = open_model(path, self.kind, compile=False)
        model = self._seeded(config, backbone)
        known, new = source.config.class_names, config.class_names
        if len(known) == len(new) and not class_rows.shared(known, new):
            known = new  # as many of other names: the same ones, called otherwise
        remade = model_files.transfer(source, model, source_classes=known)
        if remade:
            warnings.warn(
                f"{path} knows {source.config.num_classes} classes, the new model {config.num_classes}: "
                f"the class layers start anew ({', '.join(remade)}).",
                stacklevel=3,
            )
        report_inflation(self.log, source.config, model)
        return model

    def _seeded(self, config: ModelConfig, backbone: keras.Model | None = None) -> Network:
        if self.seed is not None:
            keras.utils.set_random_seed(self.seed)  # Keras's initial weights come from there
        return self.kind(config, backbone=backbone, seed=self.seed)


def open_model(path: str | Path, kind: type[Network], *, compile: bool) -> Network:
    """See `maskrcnn.load_model`."""
    path = finding.model_file(path)
    model_files.read_config(path)
    try:
        return model_files.load(path, kind, compile=compile)
    except (OSError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
