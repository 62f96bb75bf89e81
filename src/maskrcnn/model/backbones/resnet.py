"""ResNet (He et al. 2016): bottleneck blocks in four stages."""

from __future__ import annotations

import keras
from keras import layers

from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.backbones.stages import BLOCKS

_POOL_PADDING = {"symmetric": "valid", "same": "same"}  # Keras's word for what is left after the zeros on all sides


class ResNetStages:
    """ResNet v1 (He et al. 2015) or ResNeXt (Xie et al. 2017), without its classifier.

    `keras.applications` has only the stride in the first 1×1, biases, and no groups.
    """

    def __init__(self, config: BackboneConfig):
        self.config = config

    def build(self, channels: int) -> keras.Model:
        images = keras.Input((None, None, channels))
        x = layers.ZeroPadding2D(3, name="conv1_pad")(images)
        x = self._conv_norm(x, 64, 7, strides=2, padding="valid", name="conv1")
        x = layers.ReLU(name="conv1_relu")(x)
        if self.config.stem_pool == "symmetric":
            x = layers.ZeroPadding2D(1, name="pool1_pad")(x)  # zeros are no maximum above a ReLU
        x = layers.MaxPooling2D(3, strides=2, padding=_POOL_PADDING[self.config.stem_pool], name="pool1_pool")(x)
        for stage, num_blocks in enumerate(BLOCKS[self.config.name], start=2):
            for block in range(1, num_blocks + 1):
                x = self._bottleneck(x, stage, strides=2 if block == 1 and stage > 2 else 1, shortcut=block == 1, block=block)
        return keras.Model(images, x)

    def _bottleneck(self, x, stage: int, *, strides: int, shortcut: bool, block: int):
        name = f"conv{stage}_block{block}"
        groups = self.config.groups
        width, outer_width = groups * self.config.width_per_group * 2 ** (stage - 2), 256 * 2 ** (stage - 2)
        residual = self._conv_norm(x, outer_width, 1, strides=strides, name=f"{name}_0") if shortcut else x
        first, second = (strides, 1) if self.config.stride_in == "1x1" else (1, strides)
        x = layers.ReLU(name=f"{name}_1_relu")(self._conv_norm(x, width, 1, strides=first, name=f"{name}_1"))
        options = {"groups": groups, "name": f"{name}_2"}
        if second > 1:
            # "same" with stride 2 would pad the bottom and right only; every published ResNet pads all sides by one.
            x = layers.ZeroPadding2D(1, name=f"{name}_2_pad")(x)
            x = self._conv_norm(x, width, 3, strides=2, padding="valid", **options)
        else:
            x = self._conv_norm(x, width, 3, **options)
        x = layers.ReLU(name=f"{name}_2_relu")(x)
        x = self._conv_norm(x, outer_width, 1, name=f"{name}_3")
        return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([residual, x]))

    def _conv_norm(self, x, channels: int, size: int, *, strides: int = 1, padding: str = "same", groups: int = 1, name: str):
        options = {"strides": strides, "padding": padding, "groups": groups, "use_bias": self.config.conv_bias}
        x = layers.Conv2D(channels, size, **options, kernel_initializer="he_normal", name=f"{name}_conv")(x)
        return layers.BatchNormalization(epsilon=self.config.epsilon, name=f"{name}_bn")(x)
