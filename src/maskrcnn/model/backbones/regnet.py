"""RegNetX (Radosavovic et al. 2020), without its classifier."""

from __future__ import annotations

import keras
from keras import layers

from maskrcnn.config.backbones import REGNETS, RegNet
from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.backbones.stages import Staged


def build(config: BackboneConfig, channels: int) -> Staged:
    """The graph from (B, H, W, channels) on. Stages and blocks count from 1."""
    numbers = REGNETS[config.name]
    images = keras.Input((None, None, channels))
    x = layers.ReLU(name="stem_relu")(_conv_norm(images, numbers.stem, 3, numbers, strides=2, name="stem"))
    ends = ["stem_relu"]
    for stage, (num_blocks, width) in enumerate(zip(numbers.blocks, numbers.channels, strict=True), start=1):
        for block in range(1, num_blocks + 1):
            x = _block(x, width, numbers, strides=2 if block == 1 else 1, name=f"stage{stage}_block{block}")
        ends.append(f"stage{stage}_block{num_blocks}_out")
    return Staged(keras.Model(images, x), tuple(ends))


def _block(x, width: int, numbers: RegNet, *, strides: int, name: str):
    """The X block, figure 4: a bottleneck that narrows nothing, its 3×3 convolution in groups."""
    changes = strides > 1 or x.shape[-1] != width
    shortcut = _conv_norm(x, width, 1, numbers, strides=strides, name=f"{name}_0") if changes else x
    x = layers.ReLU(name=f"{name}_1_relu")(_conv_norm(x, width, 1, numbers, name=f"{name}_1"))
    options = {"strides": strides, "groups": width // numbers.group_width}
    x = layers.ReLU(name=f"{name}_2_relu")(_conv_norm(x, width, 3, numbers, **options, name=f"{name}_2"))
    x = _conv_norm(x, width, 1, numbers, name=f"{name}_3")
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, x]))


def _conv_norm(x, width: int, size: int, numbers: RegNet, *, strides: int = 1, groups: int = 1, name: str):
    padding = "same"
    if strides > 1 and size > 1:  # "same" would pad the bottom and the right only
        x, padding = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x), "valid"
    options = {"strides": strides, "groups": groups, "padding": padding, "use_bias": False}
    x = layers.Conv2D(width, size, **options, kernel_initializer="he_normal", name=f"{name}_conv")(x)
    return layers.BatchNormalization(epsilon=numbers.epsilon, name=f"{name}_bn")(x)
