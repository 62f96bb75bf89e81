"""EfficientNet-Lite (Tan & Le 2019, made for mobile processors), without its classifier."""

from __future__ import annotations

import math

import keras
from keras import layers

from maskrcnn.config.backbones import EFFICIENTNET_LITES, EfficientNetLite
from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.backbones.stages import Staged


def build(config: BackboneConfig, channels: int) -> Staged:
    """The graph from (B, H, W, channels) on. Stages, blocks and layers count from 0, as in the published code.

    The widest tensor of each stride is the one before it is halved, the expansion of the next stage's first block: C2 … C4.
    """
    numbers = EFFICIENTNET_LITES[config.name]
    images = keras.Input((None, None, channels))
    x = layers.Conv2D(numbers.stem, 3, strides=2, padding="same", use_bias=False, name="stem_conv")(images)
    x = _norm_relu(x, numbers, "stem")
    ends = ["stem_relu"]
    for stage, (_, size, strides, expansion, base) in enumerate(numbers.stages):
        width = round_channels(base * numbers.width)
        for block in range(num_blocks(numbers, stage)):
            name = f"stage{stage}_block{block}"
            options = {"size": size, "strides": 1 if block else strides, "expansion": expansion, "name": name}
            x = _inverted_bottleneck(x, width, numbers, **options)
        if stage in (2, 3, 5):  # of stride 8, 16 and 32; stage 4 keeps 16
            ends.append(f"stage{stage}_block0_expand_relu")
    x = layers.Conv2D(numbers.head, 1, use_bias=False, name="head_conv")(x)
    x = _norm_relu(x, numbers, "head")
    return Staged(keras.Model(images, x), (*ends, "head_relu"))


def num_blocks(numbers: EfficientNetLite, stage: int) -> int:
    """How many blocks a stage has at this depth."""
    blocks = numbers.stages[stage][0]
    return blocks if stage in (0, len(numbers.stages) - 1) else math.ceil(blocks * numbers.depth)


def round_channels(channels: float, divisor: int = 8, *, least: float = 0.9) -> int:
    """The nearest multiple of the divisor that is not below nine tenths. MobileNets' and EfficientNets' `round_filters`."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= least * channels else rounded + divisor


def _inverted_bottleneck(x, width: int, numbers: EfficientNetLite, *, size: int, strides: int, expansion: int, name: str):
    """MobileNetV2's block: a 1×1 that widens, a depthwise convolution, a 1×1 that narrows, without an activation behind."""
    shortcut, inner = x, x.shape[-1]
    if expansion != 1:
        x = layers.Conv2D(inner * expansion, 1, use_bias=False, name=f"{name}_expand")(x)
        x = _norm_relu(x, numbers, f"{name}_expand")
    x = layers.DepthwiseConv2D(size, strides=strides, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = _norm_relu(x, numbers, f"{name}_depthwise")
    x = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_project")(x)
    x = layers.BatchNormalization(epsilon=numbers.epsilon, name=f"{name}_project_bn")(x)
    return layers.Add(name=f"{name}_add")([shortcut, x]) if strides == 1 and inner == width else x


def _norm_relu(x, numbers: EfficientNetLite, name: str):
    return layers.ReLU(6.0, name=f"{name}_relu")(layers.BatchNormalization(epsilon=numbers.epsilon, name=f"{name}_bn")(x))
