"""A 3×3 convolution that looks where a second one sends its taps. Dai et al. 2017; with factors, Zhu et al. 2019."""

from __future__ import annotations

from keras import layers, ops

from maskrcnn.ops.deform_conv import TAPS, deform_conv

NUM_OFFSETS = {"offsets": 2 * TAPS, "modulated": 3 * TAPS}  # by `BackboneConfig.deformable`: channels of the second one


class DeformableConv2D(layers.Layer):
    """Takes a map and what a plain convolution of the same stride says of its taps: offsets, and logits of their factors.

    Args:
        filters: channels of the answer.
        strides: of the answer's pixels.
        groups: of channels.
    """

    def __init__(self, filters: int, *, strides: int = 1, groups: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.strides = strides
        self.groups = groups

    def build(self, input_shape):
        channels = input_shape[0][-1]
        shape = (3, 3, channels // self.groups, self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="he_normal")

    def call(self, inputs):
        """Map (B, H, W, C) and offsets (B, h, w, 18), or with factors (B, h, w, 27), → (B, h, w, filters)."""
        x, told = inputs
        offsets, factors = told[..., : 2 * TAPS], told[..., 2 * TAPS :]
        factors = ops.sigmoid(factors) if factors.shape[-1] else None
        return deform_conv(x, offsets, ops.convert_to_tensor(self.kernel), factors, stride=self.strides)

    def compute_output_shape(self, input_shape):
        return (*input_shape[1][:3], self.filters)
