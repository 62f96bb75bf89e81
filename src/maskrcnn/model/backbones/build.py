"""Every backbone by its name."""

from __future__ import annotations

from collections.abc import Callable

import keras

from maskrcnn.config.backbones import (
    CONVNEXTS,
    EFFICIENTNET_LITES,
    EFFICIENTNETS,
    MOBILENET_V3S,
    REGNETS,
    RESNETS,
    SWINS,
    VITDETS,
)
from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.backbones import (
    convnext,
    efficientnet,
    efficientnet_lite,
    keras_model,
    mobilenet_v2,
    mobilenet_v3,
    regnet,
    resnet,
    swin,
    vitdet,
)
from maskrcnn.model.backbones.stages import Staged, freeze
from maskrcnn.model.backbones.stochastic_depth import with_stochastic_depth
from maskrcnn.model.optimizers import HEADS

BUILDERS: dict[str, Callable[[BackboneConfig, int], Staged]] = {
    **dict.fromkeys(RESNETS, resnet.build),
    "mobilenet_v2": mobilenet_v2.build,
    **dict.fromkeys(EFFICIENTNET_LITES, efficientnet_lite.build),
    **dict.fromkeys(EFFICIENTNETS, efficientnet.build),
    **dict.fromkeys(CONVNEXTS, convnext.build),
    **dict.fromkeys(SWINS, swin.build),
    **dict.fromkeys(REGNETS, regnet.build),
    **dict.fromkeys(MOBILENET_V3S, mobilenet_v3.build),
    **dict.fromkeys(VITDETS, vitdet.build),
}


def build_backbone(config: BackboneConfig, *, channels: int = 3, model: keras.Model | None = None) -> keras.Model:
    """A model from (B, H, W, channels) normalized images, H and W multiples of 32, to [C2, C3, C4, C5].

    ResNets, MobileNetV2 and EfficientNets name their layers as in `keras.applications`, so that its weights fit by name. Frozen
    norms and stages are set `trainable = False`, which in Keras makes batch norm use its stored mean and variance in training
    as well.

    Args:
        model: where the name is "keras", the model whose layers are taken, see `keras_model`.

    Raises:
        ValueError: a model that is no backbone, or takes other channels, or is handed in for another name than "keras".
    """
    if (config.name == "keras") != (model is not None):
        raise ValueError(
            f"config.backbone.name is {config.name!r} and {'no' if model is None else 'a'} backbone is handed in; the name is "
            "'keras' where one is, and only there. MaskRCNN.from_preset(..., backbone=model) sets it."
        )
    staged = BUILDERS[config.name](config, channels) if model is None else _handed_in(model, config, channels)
    if config.stochastic_depth:
        staged = with_stochastic_depth(staged, config)
    backbone = keras.Model(staged.model.input, staged.pyramid, name="backbone")
    freeze(backbone, staged.ends, config)
    return backbone


def _handed_in(model: keras.Model, config: BackboneConfig, channels: int) -> Staged:
    """The user's own model. Its layers may not be named as the detector's, by which optimizers tell them apart."""
    staged = keras_model.adopt(model, levels=config.levels)
    found = staged.model.inputs[0].shape[-1]
    if found != channels:
        raise ValueError(f"The backbone {model.name!r} takes images of {found} channels, the detector of {channels}.")
    taken = sorted({weight.path.partition("/")[0] for weight in staged.model.weights}.intersection(HEADS))
    if taken:
        raise ValueError(f"A layer of the backbone is named {taken[0]!r}, as a part of the detector; give it another name.")
    return staged
