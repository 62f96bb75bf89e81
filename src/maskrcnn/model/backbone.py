"""Backbones: picture in, C2 … C5 out."""

from __future__ import annotations

import warnings

import keras
from keras import layers

from maskrcnn.config import BackboneConfig
from maskrcnn.model.norm import LIVE_MOMENTUM

# Layers whose outputs end the five stages: the stem, then C2 … C5 with strides 4 to 32.
STAGE_ENDS = {
    "resnet50": ("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
    "resnet101": ("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block23_out", "conv5_block3_out"),
    # The widest tensor of each stride is the one before it is halved: the expansion of the next stage's first block.
    "mobilenet_v2": ("Conv1_relu", "block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu", "out_relu"),
}
BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}  # He et al. 2015, table 1
_POOL_PADDING = {"symmetric": "valid", "same": "same"}  # Keras's word for what is left after the zeros on all sides


def build_backbone(config: BackboneConfig, *, channels: int = 3) -> keras.Model:
    """A model from (B, H, W, channels) normalised pictures, H and W multiples of 32, to [C2, C3, C4, C5].

    Layers are named as in `keras.applications`, so that its weights fit by name. Frozen norms and stages are set
    `trainable = False`, which in Keras makes batch norm use its stored mean and variance in training as well.
    """
    if config.name == "mobilenet_v2":
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This model usually expects 1 or 3 input channels")  # it is meant
            whole = keras.applications.MobileNetV2(input_shape=(None, None, channels), include_top=False, weights=None)
    else:
        whole = _ResNet(config).build(channels)
    if config.stochastic_depth:
        whole = _with_stochastic_depth(whole, config)
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


def drop_rates(whole: keras.Model, config: BackboneConfig) -> dict[str, float]:
    """How often each residual block is left out, by the name of the layer that adds it: l / L of the last one's rate.

    Linear decay, Huang et al. 2016, eq. 4. Blocks of frozen stages are never left out: they cannot learn to do without each
    other, so it would only put noise into what the learning stages see.
    """
    stage, frozen, sums = 1, set(), []
    for layer in whole.layers:
        if isinstance(layer, layers.Add):
            sums.append(layer.name)
            if stage <= config.frozen_stages:
                frozen.add(layer.name)
        if layer.name in STAGE_ENDS[config.name]:
            stage += 1
    rates = {name: config.stochastic_depth * place / len(sums) for place, name in enumerate(sums, start=1)}
    return {name: rate for name, rate in rates.items() if name not in frozen}


def _with_stochastic_depth(whole: keras.Model, config: BackboneConfig) -> keras.Model:
    """The same layers anew, with one that drops whole pictures of a residual before the sum. Huang et al. 2016, section 3.

    Dropout divides by the part that is kept in training, where the paper multiplies by it in inference: the same mean, and
    inference needs to know nothing of it. Layers that drop have no weights, so those of others keep their names.
    """
    rates = drop_rates(whole, config)

    def call(layer, inputs, *args, **kwargs):
        if layer.name in rates:
            shortcut, residual = inputs
            drop = layers.Dropout(rates[layer.name], noise_shape=(None, 1, 1, 1), name=layer.name.removesuffix("add") + "drop")
            inputs = [shortcut, drop(residual)]
        return layer(inputs, *args, **kwargs)

    return keras.models.clone_model(whole, call_function=call)


class _ResNet:
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
