"""EfficientNet (Tan & Le 2019) and EfficientNetV2 (2021), without their classifier."""

from __future__ import annotations

import math
from string import ascii_lowercase

import keras
from keras import layers

from maskrcnn.config.backbones import EFFICIENTNETS, EfficientNet
from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.backbones.efficientnet_lite import round_channels
from maskrcnn.model.backbones.stages import Staged


def build(config: BackboneConfig, channels: int) -> Staged:
    """The graph from (B, H, W, channels) on, with layers named as in `keras.applications`: stages from 1, blocks from a.

    C2 … C4 are the last tensor of each stride that all paths run through: the expansion of the next stage's first block, or,
    where that is fused with the stride, the end of the stage before it.
    """
    numbers = EFFICIENTNETS[config.name]
    make = _Layers(config, numbers)
    images = keras.Input((None, None, channels))
    x = make.conv(images, round_width(numbers, numbers.stem), 3, strides=2, name="stem_conv")
    x, ends = make.norm_swish(x, "stem"), []
    for stage, (kind, _, size, strides, expansion, base) in enumerate(numbers.stages, start=1):
        width = round_width(numbers, base)
        for block in range(num_blocks(numbers, stage)):
            name, step = block_name(stage, block), 1 if block else strides
            if step > 1:
                ends.append(f"{name}_expand_activation" if kind == "depthwise" else x._keras_history.operation.name)
            shortcut = x
            if kind == "fused":
                x = make.fused(x, width, size, strides=step, expansion=expansion, name=name)
            else:
                x = make.depthwise(x, width, size, strides=step, expansion=expansion, name=name)
            if step == 1 and shortcut.shape[-1] == width:
                x = layers.Add(name=f"{name}_add")([shortcut, x])
    x = make.conv(x, round_width(numbers, numbers.head), 1, name="top_conv")
    x = make.norm_swish(x, "top")
    return Staged(keras.Model(images, x), ("stem_activation", *ends[1:], "top_activation"))


def round_width(numbers: EfficientNet, channels: int) -> int:
    """So many channels at this width."""
    return round_channels(channels * numbers.width, least=numbers.rounding)


def num_blocks(numbers: EfficientNet, stage: int) -> int:
    """How many blocks a stage, counted from 1, has at this depth."""
    return math.ceil(numbers.stages[stage - 1][1] * numbers.depth)


def block_name(stage: int, block: int) -> str:
    """What the names of a block's layers begin with; stages count from 1, blocks from 0."""
    return f"block{stage}{ascii_lowercase[block]}"


def depthwise_name(numbers: EfficientNet) -> str:
    """What a block's depthwise convolution is called in `keras.applications`."""
    return "dwconv2" if numbers.is_v2 else "dwconv"


class _Layers:
    """The blocks with this configuration's padding and epsilon."""

    def __init__(self, config: BackboneConfig, numbers: EfficientNet):
        self.symmetric, self.epsilon = config.padding == "symmetric", config.epsilon
        self.squeeze, self.depthwise_name = numbers.squeeze, depthwise_name(numbers)

    def conv(self, x, width: int, size: int, *, strides: int = 1, name: str):
        x, padding = self._padded(x, size, strides, name)
        return layers.Conv2D(width, size, strides=strides, padding=padding, use_bias=False, name=name)(x)

    def norm(self, x, name: str):
        return layers.BatchNormalization(epsilon=self.epsilon, name=f"{name}_bn")(x)

    def norm_swish(self, x, name: str):
        return layers.Activation("swish", name=f"{name}_activation")(self.norm(x, name))

    def fused(self, x, width: int, size: int, *, strides: int, expansion: int, name: str):
        """One convolution that widens and strides, and a 1×1 that narrows; without an expansion the first alone."""
        if expansion == 1:
            return self.norm_swish(self.conv(x, width, size, strides=strides, name=f"{name}_project_conv"), f"{name}_project")
        x = self.conv(x, x.shape[-1] * expansion, size, strides=strides, name=f"{name}_expand_conv")
        x = self.norm_swish(x, f"{name}_expand")
        return self.norm(self.conv(x, width, 1, name=f"{name}_project_conv"), f"{name}_project")

    def depthwise(self, x, width: int, size: int, *, strides: int, expansion: int, name: str):
        """MobileNetV2's block with squeeze-and-excitation: a 1×1 that widens, a depthwise convolution, a 1×1 that narrows."""
        inner = x.shape[-1]
        if expansion != 1:
            x = self.norm_swish(self.conv(x, inner * expansion, 1, name=f"{name}_expand_conv"), f"{name}_expand")
        of_channel = f"{name}_{self.depthwise_name}"
        x, padding = self._padded(x, size, strides, of_channel)
        x = layers.DepthwiseConv2D(size, strides=strides, padding=padding, use_bias=False, name=of_channel)(x)
        x = self.norm_swish(x, name)
        x = _squeeze_excite(x, inner // self.squeeze, name=f"{name}_se")
        return self.norm(self.conv(x, width, 1, name=f"{name}_project_conv"), f"{name}_project")

    def _padded(self, x, size: int, strides: int, name: str):
        """The input and the padding that a convolution takes."""
        if strides == 1 or not self.symmetric:
            return x, "same"
        return layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x), "valid"


def _squeeze_excite(x, squeezed: int, *, name: str):
    """A factor for each channel from the map's mean; Hu et al. 2018."""
    y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    y = layers.Conv2D(squeezed, 1, activation="swish", name=f"{name}_reduce")(y)
    y = layers.Conv2D(x.shape[-1], 1, activation="sigmoid", name=f"{name}_expand")(y)
    return layers.Multiply(name=f"{name}_excite")([x, y])
