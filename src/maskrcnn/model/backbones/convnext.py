"""ConvNeXt (Liu et al. 2022), without its classifier."""

from __future__ import annotations

import keras
from keras import initializers, layers

from maskrcnn.config.backbones import CONVNEXTS, ConvNeXt
from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.backbones.stages import Staged, output_norms
from maskrcnn.model.conv import Conv2D, Dense


def build(config: BackboneConfig, channels: int) -> Staged:
    """The graph from (B, H, W, channels) on. Stages and blocks count from 1."""
    numbers = CONVNEXTS[config.name]
    images = keras.Input((None, None, channels))
    x = Conv2D(numbers.channels[0], 4, strides=4, name="stem_conv")(images)
    x = layers.LayerNormalization(epsilon=numbers.epsilon, name="stem_norm")(x)
    ends = ["stem_norm"]
    for stage, (num_blocks, width) in enumerate(zip(numbers.blocks, numbers.channels, strict=True), start=1):
        if stage > 1:
            x = layers.LayerNormalization(epsilon=numbers.epsilon, name=f"stage{stage}_downsample_norm")(x)
            x = Conv2D(width, 2, strides=2, name=f"stage{stage}_downsample_conv")(x)
        for block in range(1, num_blocks + 1):
            x = _block(x, width, numbers, name=f"stage{stage}_block{block}")
        ends.append(f"stage{stage}_block{num_blocks}_add")
    return output_norms(Staged(keras.Model(images, x), tuple(ends)), config, numbers.epsilon)


def _block(x, width: int, numbers: ConvNeXt, *, name: str):
    """Depthwise 7×7, norm, and an inverted bottleneck of two layers; figure 4."""
    shortcut = x
    x = layers.DepthwiseConv2D(7, padding="same", name=f"{name}_depthwise")(x)
    x = layers.LayerNormalization(epsilon=numbers.epsilon, name=f"{name}_norm")(x)
    x = Dense(numbers.expansion * width, name=f"{name}_expand")(x)
    x = layers.Activation("gelu", name=f"{name}_gelu")(x)
    x = Dense(width, name=f"{name}_project")(x)
    x = LayerScale(numbers.layer_scale, name=f"{name}_scale")(x)
    return layers.Add(name=f"{name}_add")([shortcut, x])


class LayerScale(layers.Layer):
    """A learned factor for each channel, small at first. Touvron et al. 2021, "Going deeper with image transformers", eq. 4."""

    def __init__(self, initial: float, **kwargs):
        super().__init__(**kwargs)
        self.initial = initial

    def build(self, input_shape):
        self.gamma = self.add_weight((input_shape[-1],), initializer=initializers.Constant(self.initial), name="gamma")

    def call(self, x):
        return x * self.gamma  # (B, H, W, C)
