"""Feature pyramid network: C2 … C5 in, P2 … P6 out. Lin et al. 2017, section 3."""

from __future__ import annotations

from keras import layers, ops

from maskrcnn.config import FpnConfig

LEVELS = (2, 3, 4, 5, 6)
STRIDES = tuple(2**level for level in LEVELS)  # pixels of the frame a feature pixel


class FPN(layers.Layer):
    """Lateral 1×1, top-down nearest neighbour, 3×3 on the sum; P6 is every second pixel of P5 (the paper's footnote 2)."""

    def __init__(self, config: FpnConfig, **kwargs):
        super().__init__(**kwargs)
        self.lateral = [layers.Conv2D(config.channels, 1, name=f"lateral{level}") for level in LEVELS[:4]]
        self.output_convs = [layers.Conv2D(config.channels, 3, padding="same", name=f"output{level}") for level in LEVELS[:4]]
        self.channels = config.channels

    def build(self, input_shape):
        for lateral, output, shape in zip(self.lateral, self.output_convs, input_shape, strict=True):
            lateral.build(shape)
            output.build((None, None, None, self.channels))

    def call(self, features):
        """[C2, C3, C4, C5], (B, H/2^l, W/2^l, ·) each → [P2, P3, P4, P5, P6], (B, H/2^l, W/2^l, channels) each."""
        merged = None
        pyramid = []
        for feature, lateral, output in reversed(list(zip(features, self.lateral, self.output_convs, strict=True))):
            feature = lateral(feature)
            merged = feature if merged is None else feature + _double(merged)
            pyramid.insert(0, output(merged))
        return [*pyramid, pyramid[-1][:, ::2, ::2]]


def _double(feature):
    """Twice the height and width, nearest neighbour."""
    return ops.repeat(ops.repeat(feature, 2, axis=1), 2, axis=2)
