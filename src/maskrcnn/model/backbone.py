"""Backbones: picture in, C2 … C5 out."""

from __future__ import annotations

import keras
from keras import layers

from maskrcnn.config import BackboneConfig

# Layers whose outputs end the five stages: the stem, then C2 … C5 with strides 4 to 32.
STAGE_ENDS = {
    "resnet50": ("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
    "resnet101": ("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block23_out", "conv5_block3_out"),
    # The widest tensor of each stride is the one before it is halved: the expansion of the next stage's first block.
    "mobilenet_v2": ("Conv1_relu", "block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu", "out_relu"),
}
BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}  # He et al. 2015, table 1
NORM_EPSILON = 1.001e-5  # keras.applications

# Of the running mean and variance, where norms are live: PyTorch's and Detectron2's. MobileNetV2's own 0.999 in
# keras.applications takes thousands of steps to forget its first values; until then a model that has learned answers nonsense.
LIVE_MOMENTUM = 0.9


def build_backbone(config: BackboneConfig) -> keras.Model:
    """A model from (B, H, W, 3) normalised pictures, H and W multiples of 32, to [C2, C3, C4, C5].

    Layers are named as in `keras.applications`, so that its weights fit by name. Frozen norms and stages are set
    `trainable = False`, which in Keras makes batch norm use its stored mean and variance in training as well.
    """
    if config.name == "mobilenet_v2":
        whole = keras.applications.MobileNetV2(input_shape=(None, None, 3), include_top=False, weights=None)
    else:
        whole = _resnet(BLOCKS[config.name], stride_in=config.stride_in)
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


def _resnet(blocks: tuple[int, ...], *, stride_in: str) -> keras.Model:
    """ResNet v1 (He et al. 2015) without its classifier. `keras.applications` has only the stride in the first 1×1."""
    images = keras.Input((None, None, 3))
    x = layers.ZeroPadding2D(3, name="conv1_pad")(images)
    x = _conv_norm(x, 64, 7, strides=2, padding="valid", name="conv1")
    x = layers.ReLU(name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)  # zeros are no maximum above a ReLU
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, (num_blocks, width) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), start=2):
        for block in range(1, num_blocks + 1):
            strides = 2 if block == 1 and stage > 2 else 1
            x = _bottleneck(x, width, strides, shortcut=block == 1, stride_in=stride_in, name=f"conv{stage}_block{block}")
    return keras.Model(images, x)


def _bottleneck(x, width: int, strides: int, *, shortcut: bool, stride_in: str, name: str):
    residual = _conv_norm(x, 4 * width, 1, strides=strides, name=f"{name}_0") if shortcut else x
    first, second = (strides, 1) if stride_in == "1x1" else (1, strides)
    x = layers.ReLU(name=f"{name}_1_relu")(_conv_norm(x, width, 1, strides=first, name=f"{name}_1"))
    if second > 1:
        # "same" with stride 2 would pad the bottom and right only; every published ResNet pads all sides by one.
        x = _conv_norm(layers.ZeroPadding2D(1, name=f"{name}_2_pad")(x), width, 3, strides=2, padding="valid", name=f"{name}_2")
    else:
        x = _conv_norm(x, width, 3, name=f"{name}_2")
    x = layers.ReLU(name=f"{name}_2_relu")(x)
    x = _conv_norm(x, 4 * width, 1, name=f"{name}_3")
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([residual, x]))


def _conv_norm(x, channels: int, size: int, *, strides: int = 1, padding: str = "same", name: str):
    x = layers.Conv2D(channels, size, strides=strides, padding=padding, kernel_initializer="he_normal", name=f"{name}_conv")(x)
    return layers.BatchNormalization(epsilon=NORM_EPSILON, name=f"{name}_bn")(x)
