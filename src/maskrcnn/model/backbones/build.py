"""Backbones: image in, C2 … C5 out."""

from __future__ import annotations

import warnings

import keras
from keras import layers

from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.backbones.resnet import ResNetStages
from maskrcnn.model.backbones.stages import STAGE_ENDS
from maskrcnn.model.backbones.stochastic_depth import with_stochastic_depth
from maskrcnn.model.norm import LIVE_MOMENTUM


def build_backbone(config: BackboneConfig, *, channels: int = 3) -> keras.Model:
    """A model from (B, H, W, channels) normalised images, H and W multiples of 32, to [C2, C3, C4, C5].

    Layers are named as in `keras.applications`, so that its weights fit by name. Frozen norms and stages are set
    `trainable = False`, which in Keras makes batch norm use its stored mean and variance in training as well.
    """
    if config.name == "mobilenet_v2":
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This model usually expects 1 or 3 input channels")  # it is meant
            whole = keras.applications.MobileNetV2(input_shape=(None, None, channels), include_top=False, weights=None)
    else:
        whole = ResNetStages(config).build(channels)
    if config.stochastic_depth:
        whole = with_stochastic_depth(whole, config)
    ends = STAGE_ENDS[config.name]
    outputs = [whole.get_layer(name).output for name in ends[1:]]
    backbone = keras.Model(whole.input, outputs, name="backbone")
    freeze(backbone, config)
    return backbone


def freeze(backbone: keras.Model, config: BackboneConfig) -> None:
    """Sets what of the backbone learns: nothing up to stage `frozen_stages`, and no batch norm where norms are frozen."""
    stage = 1
    for layer in backbone.layers:
        is_norm = isinstance(layer, layers.BatchNormalization)
        if is_norm and config.norm == "live":
            layer.momentum = LIVE_MOMENTUM
        layer.trainable = stage > config.frozen_stages and not (is_norm and config.norm == "frozen")
        if layer.name in STAGE_ENDS[config.name]:
            stage += 1
