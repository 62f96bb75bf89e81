"""MobileNetV3-Large (Howard et al. 2019), without its classifier."""

from __future__ import annotations

import keras
from keras import layers

from maskrcnn.config.backbones import MOBILENET_V3S, MobileNetV3
from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.backbones.efficientnet_lite import round_channels
from maskrcnn.model.backbones.stages import Staged


def build(config: BackboneConfig, channels: int) -> Staged:
    """The graph from (B, H, W, channels) on. Blocks count from 1.

    The widest tensor of each stride is the one before it is halved, the expansion of the next stage's first block: C2 … C4.
    """
    numbers = MOBILENET_V3S[config.name]
    images = keras.Input((None, None, channels))
    x = _conv_norm(images, numbers.stem, 3, numbers, strides=2, name="stem")
    x = _activation(x, "hard_swish", "stem")
    ends = []
    for number, (size, inner, width, squeezed, kind, strides) in enumerate(numbers.blocks, start=1):
        name = f"block{number}"
        if strides > 1:
            ends.append(f"{name}_expand_{kind}")
        shortcut = x
        if inner != x.shape[-1]:
            x = _activation(_conv_norm(x, inner, 1, numbers, name=f"{name}_expand"), kind, f"{name}_expand")
        x = _depthwise_norm(x, size, numbers, strides=strides, name=f"{name}_depthwise")
        x = _activation(x, kind, f"{name}_depthwise")
        if squeezed:
            x = _squeeze_excite(x, round_channels(inner / numbers.squeeze), name=f"{name}_squeeze")
        x = _conv_norm(x, width, 1, numbers, name=f"{name}_project")
        if strides == 1 and shortcut.shape[-1] == width:
            x = layers.Add(name=f"{name}_add")([shortcut, x])
    x = _activation(_conv_norm(x, numbers.head, 1, numbers, name="head"), "hard_swish", "head")
    return Staged(keras.Model(images, x), ("stem_hard_swish", *ends[1:], "head_hard_swish"))


def _conv_norm(x, width: int, size: int, numbers: MobileNetV3, *, strides: int = 1, name: str):
    x, padding = _padded(x, size, strides, name)
    x = layers.Conv2D(width, size, strides=strides, padding=padding, use_bias=False, name=f"{name}_conv")(x)
    return layers.BatchNormalization(epsilon=numbers.epsilon, name=f"{name}_bn")(x)


def _depthwise_norm(x, size: int, numbers: MobileNetV3, *, strides: int, name: str):
    x, padding = _padded(x, size, strides, name)
    x = layers.DepthwiseConv2D(size, strides=strides, padding=padding, use_bias=False, name=f"{name}_conv")(x)
    return layers.BatchNormalization(epsilon=numbers.epsilon, name=f"{name}_bn")(x)


def _padded(x, size: int, strides: int, name: str):
    """The input and the padding that a convolution takes so that all sides are padded alike, as torchvision does."""
    return (x, "same") if strides == 1 else (layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x), "valid")


def _squeeze_excite(x, squeezed: int, *, name: str):
    """A factor for each channel from the map's mean; Hu et al. 2018, with MobileNetV3's hard sigmoid (section 5.3)."""
    y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
    y = layers.Conv2D(squeezed, 1, activation="relu", name=f"{name}_reduce")(y)
    y = layers.Conv2D(x.shape[-1], 1, activation="hard_sigmoid", name=f"{name}_expand")(y)
    return layers.Multiply(name=f"{name}_multiply")([x, y])


def _activation(x, kind: str, name: str):
    return layers.Activation(kind, name=f"{name}_{kind}")(x)
