"""ViTDet (Li et al. 2022): a plain vision transformer, most of whose blocks attend in windows, and its last map at four scales.

Shapes: `B` images, `h w` patches, `C` channels, `T` patches that attend to each other, `d` channels of a head.
"""

from __future__ import annotations

import keras
from keras import initializers, layers, ops

from maskrcnn.config.backbones import VITDETS
from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.backbones import transformer
from maskrcnn.model.backbones.stages import Staged, output_norms
from maskrcnn.model.backbones.windows import from_windows, padded, to_windows
from maskrcnn.model.conv import Conv2D, Dense


def build(config: BackboneConfig, channels: int) -> Staged:
    """The graph from (B, H, W, channels) on. Blocks count from 1; a quarter of them is a stage."""
    numbers = VITDETS[config.name]
    images = keras.Input((None, None, channels))
    x = Conv2D(numbers.channels, numbers.patch, strides=numbers.patch, name="patches")(images)
    x = Positions(numbers.positions, name="positions")(x)
    for block in range(1, numbers.blocks + 1):
        name, window = f"block{block}", 0 if block in numbers.global_blocks else numbers.window
        attention = Attention(numbers.heads, window, window or numbers.map_size, name=f"{name}_attention")
        x = transformer.block(x, attention, expansion=numbers.expansion, epsilon=numbers.epsilon, name=name)
    ends = ("positions", *(f"block{block}_mlp_add" for block in numbers.global_blocks))
    staged = Staged(keras.Model(images, four_scales(x, numbers.epsilon)), ends)
    return output_norms(staged, config, numbers.epsilon)


def four_scales(x, epsilon: float) -> list:
    """A map of stride 16 → [C2, C3, C4, C5], of strides 4, 8, 16 and 32. Section 3, "simple feature pyramid".

    Args:
        x: (B, h, w, C).
        epsilon: of the layer norm.

    Returns:
        (B, 4h, 4w, C/4), (B, 2h, 2w, C/2), (B, h, w, C) and (B, h/2, w/2, C).
    """
    channels = x.shape[-1]
    finest = layers.Conv2DTranspose(channels // 2, 2, strides=2, name="scale2_deconv1")(x)
    finest = layers.LayerNormalization(epsilon=epsilon, name="scale2_norm")(finest)
    finest = layers.Activation("gelu", name="scale2_gelu")(finest)
    finest = layers.Conv2DTranspose(channels // 4, 2, strides=2, name="scale2_deconv2")(finest)
    fine = layers.Conv2DTranspose(channels // 2, 2, strides=2, name="scale3_deconv1")(x)
    return [finest, fine, x, layers.MaxPooling2D(2, name="scale5_pool")(x)]


class Positions(layers.Layer):
    """Adds what was learned for each place of a square grid, resized to the map (bicubic, as PyTorch resizes).

    Args:
        size: places along a side.
    """

    def __init__(self, size: int, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def build(self, input_shape):
        shape = (self.size, self.size, input_shape[-1])
        self.table = self.add_weight(shape, initializer=_small(), name="table")

    def call(self, x):
        """(B, h, w, C) → the same shape."""
        table = resized(self.table, *ops.shape(x)[1:3])
        return x + ops.cast(ops.expand_dims(table, 0), x.dtype)

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, self.compute_dtype)


class Attention(layers.Layer):
    """Self-attention over the map or in windows, with a bias for offsets along each axis; MViTv2 (Li et al. 2022), section 4.1.

    A map that is no whole number of windows is padded with zeros at the right and the bottom, which take part in the attention,
    as in detectron2.

    Args:
        heads: of the attention.
        window: patches along a side; 0: the whole map.
        size: patches along a side for which offsets are learned. A map of another size resizes them.
    """

    def __init__(self, heads: int, window: int, size: int, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.window, self.size = heads, window, size

    def build(self, input_shape):
        channels = input_shape[-1]
        self.qkv = Dense(3 * channels, dtype=self.dtype_policy, kernel_initializer=_small(), name="qkv")
        self.project = Dense(channels, dtype=self.dtype_policy, kernel_initializer=_small(), name="project")
        for layer in (self.qkv, self.project):
            layer.build((None, None, channels))
        shape = (2 * self.size - 1, channels // self.heads)
        self.row_offsets = self.add_weight(shape, initializer="zeros", name="row_offsets")
        self.column_offsets = self.add_weight(shape, initializer="zeros", name="column_offsets")

    def call(self, x):
        """(B, h, w, C) → the same shape."""
        height, width, channels = *ops.shape(x)[1:3], x.shape[-1]
        if not self.window:
            return self._attend(x, (height, width))
        x = padded(x, self.window)
        sides = ops.shape(x)[1:3]
        x = ops.reshape(to_windows(x, self.window), (-1, self.window, self.window, channels))
        x = self._attend(x, (self.window, self.window))
        return from_windows(x, self.window, sides, channels)[:, :height, :width]

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, self.compute_dtype)

    def _attend(self, x, sides):
        """(B, h, w, C) → the same shape: every map by itself."""
        height, width, channels = *sides, x.shape[-1]
        places, each = height * width, channels // self.heads
        qkv = ops.reshape(self.qkv(x), (-1, places, 3, self.heads, each))
        queries, keys, values = ops.unstack(qkv, 3, axis=2)  # (B, T, heads, d)
        by_place = ops.reshape(queries, (-1, height, width, self.heads, each))
        rows = ops.einsum("bhwnd,hkd->bnhwk", by_place, self._offsets(self.row_offsets, height))
        columns = ops.einsum("bhwnd,wkd->bnhwk", by_place, self._offsets(self.column_offsets, width))
        bias = ops.expand_dims(rows, 5) + ops.expand_dims(columns, 4)  # (B, heads, h, w, h, w)
        bias = ops.reshape(bias, (-1, self.heads, places, places))
        x = ops.dot_product_attention(queries, keys, values, bias=bias)
        return self.project(ops.reshape(x, (-1, height, width, channels)))

    def _offsets(self, table, side):
        """What is learned for the offset between each two of so many places in a row: (side, side, d)."""
        table = ops.cast(ops.convert_to_tensor(table), self.compute_dtype)
        resize = ops.cast(_linear(2 * self.size - 1, 2 * side - 1), self.compute_dtype)
        table = ops.matmul(resize, table)  # (2 side - 1, d)
        places = ops.arange(side, dtype="int32")
        return ops.take(table, ops.expand_dims(places, 1) - ops.expand_dims(places, 0) + side - 1, axis=0)


def resized(table, height, width):
    """(S, S, C), learned for each place of a square grid → (height, width, C), bicubic as PyTorch resizes."""
    size, channels = table.shape[0], table.shape[-1]
    rows, columns = _cubic(size, height), _cubic(size, width)  # (height, S), (width, S)
    table = ops.cast(ops.convert_to_tensor(table), rows.dtype)
    table = ops.matmul(rows, ops.reshape(table, (size, -1)))  # (height, S C)
    return ops.matmul(columns, ops.reshape(table, (-1, size, channels)))  # (height, width, C)


def _small() -> initializers.Initializer:
    """One for each weight: an initializer gives the same numbers again."""
    return initializers.TruncatedNormal(stddev=0.02)


def _linear(size: int, side):
    """(side, size): resizes rows as PyTorch's `interpolate` does, linear, between pixels' centers."""
    places = ops.maximum(_centres(size, side), 0.0)
    below = ops.floor(places)
    return sum(
        ops.expand_dims(weight, 1) * _one_hot(below + step, size)
        for step, weight in ((0, 1.0 - (places - below)), (1, places - below))
    )


def _cubic(size: int, side):
    """(side, size): as `_linear`, bicubic. Keys 1981, with PyTorch's a = −0.75; beyond the edge lies the edge."""
    places, a = _centres(size, side), -0.75
    below = ops.floor(places)
    matrix = 0.0
    for step in (-1, 0, 1, 2):
        away = ops.abs(places - below - step)
        near = ((a + 2.0) * away - (a + 3.0)) * away * away + 1.0
        far = ((away - 5.0) * away + 8.0) * away * a - 4.0 * a
        matrix += ops.expand_dims(ops.where(away <= 1.0, near, far), 1) * _one_hot(below + step, size)
    return matrix


def _centres(size: int, side):
    """(side,): where the centers of so many pixels lie among `size`, in theirs."""
    return (ops.arange(side, dtype="float32") + 0.5) * (size / ops.cast(side, "float32")) - 0.5


def _one_hot(places, size: int):
    """(side,) → (side, size), places beyond the edges on the edge."""
    return ops.one_hot(ops.cast(ops.clip(places, 0, size - 1), "int32"), size, dtype="float32")
