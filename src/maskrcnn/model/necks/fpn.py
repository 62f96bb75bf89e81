"""Feature pyramid network: C2 … C5 in, P2 … P6 out. Lin et al. 2017, section 3."""

from __future__ import annotations

from keras import layers, ops

from maskrcnn.config.model import FpnConfig
from maskrcnn.model.conv import Conv2D
from maskrcnn.model.norm import make_norms
from maskrcnn.ops.native import KERNELS, Kernels

LEVELS = (2, 3, 4, 5, 6)
STRIDES = tuple(2**level for level in LEVELS)  # pixels of the frame a feature pixel


class FPN(layers.Layer):
    """Lateral 1×1, top-down nearest neighbor, 3×3 on the sum; P6 is every second pixel of P5 (the paper's footnote 2).

    Without `top_down` there is no sum: ViTDet's simple pyramid, whose levels are one map at four scales.
    """

    def __init__(self, config: FpnConfig, **kwargs):
        super().__init__(**kwargs)
        levels, use_bias = LEVELS[:4], config.norm == "none"
        self.lateral = [Conv2D(config.channels, 1, use_bias=use_bias, name=f"lateral{level}") for level in levels]
        self.lateral_norms = make_norms(config.norm, config.epsilon, [f"lateral{level}_norm" for level in levels])
        self.output_convs = [
            Conv2D(config.channels, 3, padding="same", use_bias=use_bias, name=f"output{level}") for level in levels
        ]
        self.output_norms = make_norms(config.norm, config.epsilon, [f"output{level}_norm" for level in levels])
        self.channels, self.top_down = config.channels, config.top_down

    def build(self, input_shape):
        for lateral, output, shape in zip(self.lateral, self.output_convs, input_shape, strict=True):
            lateral.build(shape)
            output.build((None, None, None, self.channels))
        for norm in (*self.lateral_norms, *self.output_norms):
            norm.build((None, None, None, self.channels))

    def call(self, features, training=None, kernels: Kernels = KERNELS):
        """[C2, C3, C4, C5], (B, H/2^l, W/2^l, ·) each → [P2, P3, P4, P5, P6], (B, H/2^l, W/2^l, channels) each."""
        features = [lateral(feature) for feature, lateral in zip(features, self.lateral, strict=True)]
        if self.lateral_norms:
            features = [norm(feature, training=training) for feature, norm in zip(features, self.lateral_norms, strict=True)]
        for finer in (2, 1, 0) if self.top_down else ():
            features[finer] = features[finer] + kernels.double(features[finer + 1])
        pyramid = [output(feature) for feature, output in zip(features, self.output_convs, strict=True)]
        if self.output_norms:
            pyramid = [norm(feature, training=training) for feature, norm in zip(pyramid, self.output_norms, strict=True)]
        # Pooling with a region of one, as Detectron writes it: of [:, ::2, ::2] OpenVINO takes P6's height and width for P5's.
        return [*pyramid, ops.max_pool(pyramid[-1], 1, strides=2, data_format="channels_last")]
