"""ResNet v1 (He et al. 2015), ResNeXt (Xie et al. 2017) and ResNet-D (He et al. 2018), without their classifiers.

`keras.applications` has only the stride in the first 1×1, biases, and no groups. Layers are named as there, so that its weights
fit by name.
"""

from __future__ import annotations

import keras
from keras import layers

from maskrcnn.config.backbones import RESNETS
from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.backbones.deformable import NUM_OFFSETS, DeformableConv2D
from maskrcnn.model.backbones.stages import Staged
from maskrcnn.model.norm import make_norms

_POOL_PADDING = {"symmetric": "valid", "same": "same"}  # Keras's word for what is left after the zeros on all sides


def build(config: BackboneConfig, channels: int) -> Staged:
    """The graph from (B, H, W, channels) on."""
    blocks = RESNETS[config.name].blocks
    ends = ("conv1_relu", *(f"conv{stage}_block{count}_out" for stage, count in enumerate(blocks, start=2)))
    return Staged(_ResNet(config).build(channels), ends)


class _ResNet:
    def __init__(self, config: BackboneConfig):
        self.config = config
        self.numbers = RESNETS[config.name]

    def build(self, channels: int) -> keras.Model:
        images = keras.Input((None, None, channels))
        x = self._deep_stem(images) if self.numbers.deep_stem else self._stem(images)
        if self.config.stem_pool == "symmetric":
            x = layers.ZeroPadding2D(1, name="pool1_pad")(x)  # zeros are no maximum above a ReLU
        x = layers.MaxPooling2D(3, strides=2, padding=_POOL_PADDING[self.config.stem_pool], name="pool1_pool")(x)
        make = self._bottleneck if self.numbers.block == "bottleneck" else self._basic
        for stage, num_blocks in enumerate(self.numbers.blocks, start=2):
            for block in range(1, num_blocks + 1):
                x = make(
                    x, stage, strides=2 if block == 1 and stage > 2 else 1, first=block == 1, name=f"conv{stage}_block{block}"
                )
        return keras.Model(images, x)

    def _stem(self, images):
        x = layers.ZeroPadding2D(3, name="conv1_pad")(images)
        x = self._conv_norm(x, 64, 7, strides=2, padding="valid", name="conv1")
        return layers.ReLU(name="conv1_relu")(x)

    def _deep_stem(self, images):
        x = layers.ReLU(name="conv1_1_relu")(self._conv3(images, 32, strides=2, name="conv1_1"))
        x = layers.ReLU(name="conv1_2_relu")(self._conv3(x, 32, name="conv1_2"))
        return layers.ReLU(name="conv1_relu")(self._conv3(x, 64, name="conv1_3"))

    def _bottleneck(self, x, stage: int, *, strides: int, first: bool, name: str):
        groups = self.config.groups
        width, outer_width = groups * self.config.width_per_group * 2 ** (stage - 2), 256 * 2 ** (stage - 2)
        residual = self._shortcut(x, outer_width, strides, name) if first else x
        strides_1, strides_2 = (strides, 1) if self.config.stride_in == "1x1" else (1, strides)
        x = layers.ReLU(name=f"{name}_1_relu")(self._conv_norm(x, width, 1, strides=strides_1, name=f"{name}_1"))
        conv3 = self._deformable3 if stage > 2 and self.config.deformable != "none" else self._conv3
        x = layers.ReLU(name=f"{name}_2_relu")(conv3(x, width, strides=strides_2, groups=groups, name=f"{name}_2"))
        x = self._conv_norm(x, outer_width, 1, name=f"{name}_3")
        return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([residual, x]))

    def _basic(self, x, stage: int, *, strides: int, first: bool, name: str):
        width = 64 * 2 ** (stage - 2)
        residual = self._shortcut(x, width, strides, name) if first and stage > 2 else x
        x = layers.ReLU(name=f"{name}_1_relu")(self._conv3(x, width, strides=strides, name=f"{name}_1"))
        x = self._conv3(x, width, name=f"{name}_2")
        return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([residual, x]))

    def _shortcut(self, x, channels: int, strides: int, name: str):
        if self.numbers.average_shortcut and strides > 1:
            x = layers.AveragePooling2D(strides, name=f"{name}_0_pool")(x)
            strides = 1
        return self._conv_norm(x, channels, 1, strides=strides, name=f"{name}_0")

    def _conv3(self, x, channels: int, *, strides: int = 1, groups: int = 1, name: str):
        if strides == 1:
            return self._conv_norm(x, channels, 3, groups=groups, name=name)
        # "same" with stride 2 would pad the bottom and right only; every published ResNet pads all sides by one.
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        return self._conv_norm(x, channels, 3, strides=strides, padding="valid", groups=groups, name=name)

    def _deformable3(self, x, channels: int, *, strides: int, groups: int, name: str):
        padded, padding = (layers.ZeroPadding2D(1, name=f"{name}_pad")(x), "valid") if strides > 1 else (x, "same")
        options = {"strides": strides, "padding": padding, "kernel_initializer": "zeros"}  # begins as a plain convolution
        offsets = layers.Conv2D(NUM_OFFSETS[self.config.deformable], 3, **options, name=f"{name}_offset")(padded)
        x = DeformableConv2D(channels, strides=strides, groups=groups, name=f"{name}_conv")([x, offsets])
        return self._norm(x, name)

    def _conv_norm(self, x, channels: int, size: int, *, strides: int = 1, padding: str = "same", groups: int = 1, name: str):
        options = {"strides": strides, "padding": padding, "groups": groups, "use_bias": self.config.conv_bias}
        x = layers.Conv2D(channels, size, **options, kernel_initializer="he_normal", name=f"{name}_conv")(x)
        return self._norm(x, name)

    def _norm(self, x, name: str):
        if self.config.norm == "group":
            (norm,) = make_norms("group", self.config.epsilon, [f"{name}_bn"])
            return norm(x)
        return layers.BatchNormalization(epsilon=self.config.epsilon, name=f"{name}_bn")(x)
