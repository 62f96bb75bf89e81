"""Swin Transformer (Liu et al. 2021), without its classifier.

Shapes: `B` images, `h w` patches of a stage, `C` channels, `W` patches along a side of a window, `T = W²`, `n` windows.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import initializers, layers, ops

from maskrcnn.config.backbones import SWINS, Swin
from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.backbones import transformer
from maskrcnn.model.backbones.stages import Staged, output_norms
from maskrcnn.model.backbones.windows import from_windows, padded, to_windows
from maskrcnn.model.conv import Conv2D, Dense


def build(config: BackboneConfig, channels: int) -> Staged:
    """The graph from (B, H, W, channels) on. Stages and blocks count from 1."""
    numbers = SWINS[config.name]
    images = keras.Input((None, None, channels))
    x = Conv2D(numbers.channels, 4, strides=4, name="stem_conv")(images)
    x = layers.LayerNormalization(epsilon=numbers.epsilon, name="stem_norm")(x)
    ends = ["stem_norm"]
    for stage, num_blocks in enumerate(numbers.blocks, start=1):
        if stage > 1:
            x = _merge(x, numbers, name=f"stage{stage}_downsample")
        for block in range(1, num_blocks + 1):
            shift = 0 if block % 2 else numbers.window // 2  # section 3.2: every second block's windows lie half a window off
            name = f"stage{stage}_block{block}"
            attention = WindowAttention(numbers.heads[stage - 1], numbers.window, shift, name=f"{name}_attention")
            x = transformer.block(x, attention, expansion=numbers.expansion, epsilon=numbers.epsilon, name=name)  # figure 3
        ends.append(f"stage{stage}_block{num_blocks}_mlp_add")
    return output_norms(Staged(keras.Model(images, x), tuple(ends)), config, numbers.epsilon)


def _merge(x, numbers: Swin, *, name: str):
    """Patch merging, section 3.1: (B, h, w, C) → (B, h/2, w/2, 2 C)."""
    width = 2 * x.shape[-1]
    x = NeighboursToChannels(name=f"{name}_gather")(x)
    x = layers.LayerNormalization(epsilon=numbers.epsilon, name=f"{name}_norm")(x)
    return Dense(width, use_bias=False, name=f"{name}_reduce")(x)


class NeighboursToChannels(layers.Layer):
    """(B, h, w, C) → (B, h/2, w/2, 4 C): of 2×2 neighbors above left, below left, above right, below right."""

    def call(self, x):
        height, width, channels = *ops.shape(x)[1:3], x.shape[-1]
        x = ops.reshape(x, (-1, height // 2, 2, width // 2, 2, channels))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 4, 2, 5)), (-1, height // 2, width // 2, 4 * channels))

    def compute_output_spec(self, x):
        batch, height, width, channels = x.shape
        half = (side and side // 2 for side in (height, width))
        return keras.KerasTensor((batch, *half, 4 * channels), self.compute_dtype)


class WindowAttention(layers.Layer):
    """Self-attention in windows, with a bias for each offset between two patches. Sections 3.1 and 3.2, eq. 4.

    A map that is no whole number of windows is padded with zeros at the right and the bottom, as published: they take part in
    the attention. Shifted windows wrap around the map, and what did not lie side by side is masked; a side of one window alone
    is not shifted (torchvision's rule).

    Args:
        heads: of the attention.
        window: patches along a side.
        shift: patches by which the windows lie off, up and to the left.
    """

    def __init__(self, heads: int, window: int, shift: int, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.window, self.shift = heads, window, shift
        rows, columns = np.divmod(np.arange(window**2), window)
        offsets = [axis[:, None] - axis[None] + window - 1 for axis in (rows, columns)]  # (T, T), 0 … 2 W - 2
        self.offset = (offsets[0] * (2 * window - 1) + offsets[1]).reshape(-1)  # (T T,) row of the table

    def build(self, input_shape):
        channels = input_shape[-1]
        self.qkv = Dense(3 * channels, dtype=self.dtype_policy, name="qkv")
        self.project = Dense(channels, dtype=self.dtype_policy, name="project")
        for layer in (self.qkv, self.project):
            layer.build((None, None, channels))
        self.bias_table = self.add_weight(
            ((2 * self.window - 1) ** 2, self.heads), initializer=initializers.TruncatedNormal(stddev=0.02), name="bias_table"
        )

    def call(self, x):
        """(B, h, w, C) → the same shape."""
        height, width, channels = *ops.shape(x)[1:3], x.shape[-1]
        x = padded(x, self.window)
        sides = ops.shape(x)[1:3]
        shifts = [self._shift_of(side) for side in sides]
        x = _rolled(x, [-shift for shift in shifts])
        x = self._attend(to_windows(x, self.window), sides, shifts)  # (B n, T, C)
        x = _rolled(from_windows(x, self.window, sides, channels), shifts)
        return x[:, :height, :width]

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, self.compute_dtype)

    def _shift_of(self, side):
        if self.shift == 0 or isinstance(side, int):
            return self.shift if not isinstance(side, int) or side > self.window else 0
        return ops.where(side > self.window, self.shift, 0)  # a side that the graph does not know

    def _attend(self, x, sides, shifts):
        """(B n, T, C) → (B n, T, C), every window by itself."""
        tokens, channels = self.window**2, x.shape[-1]
        qkv = ops.reshape(self.qkv(x), (-1, tokens, 3, self.heads, channels // self.heads))
        queries, keys, values = ops.unstack(qkv, 3, axis=2)  # (B n, T, heads, C / heads)
        bias = ops.take(ops.cast(self.bias_table, self.compute_dtype), self.offset, axis=0)
        bias = ops.transpose(ops.reshape(bias, (1, tokens, tokens, self.heads)), (0, 3, 1, 2))  # (1, heads, T, T)
        if self.shift:
            num_windows = (sides[0] // self.window) * (sides[1] // self.window)
            mask = ops.cast(self._mask(sides, shifts), bias.dtype)  # (n, 1, T, T)
            bias = ops.tile(bias + mask, (ops.shape(x)[0] // num_windows, 1, 1, 1))
        x = ops.dot_product_attention(queries, keys, values, bias=bias)
        return self.project(ops.reshape(x, (-1, tokens, channels)))

    def _mask(self, sides, shifts):
        """(n, 1, T, T): −100 between patches that the wrapped windows have brought together, else 0."""
        regions = []
        for side, shift in zip(sides, shifts, strict=True):
            place = ops.arange(side, dtype="int32")
            regions.append(ops.cast(place >= side - self.window, "int32") + ops.cast(place >= side - shift, "int32"))
        region = 3 * ops.expand_dims(regions[0], 1) + ops.expand_dims(regions[1], 0)  # (h, w)
        region = ops.reshape(to_windows(ops.reshape(region, (1, *sides, 1)), self.window), (-1, 1, self.window**2))
        apart = ops.not_equal(ops.expand_dims(region, 2), ops.expand_dims(region, 3))  # (n, 1, T, T)
        return ops.where(apart, -100.0, 0.0)


def _rolled(x, shifts):
    """(B, h, w, C), moved down and to the right around its edges."""
    for axis, shift in zip((1, 2), shifts, strict=True):
        if not isinstance(shift, int) or shift:
            x = ops.roll(x, shift, axis=axis)
    return x
