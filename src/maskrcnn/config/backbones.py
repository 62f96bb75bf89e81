"""The numbers of each backbone, by name: one frozen dataclass a family, each with its source.

A name stands for all of its numbers; what may differ from project to project under one name (where a ResNet strides, say) are
fields of `BackboneConfig`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ResNet:
    """He et al. 2015, table 1. ResNeXt (Xie et al. 2017) is a ResNet with `BackboneConfig.groups`."""

    blocks: tuple[int, int, int, int]  # of conv2 to conv5
    block: Literal["basic", "bottleneck"] = "bottleneck"  # two 3×3 convolutions, or 1×1, 3×3, 1×1; He et al., figure 5
    # Of ResNet-D (He et al. 2018, "Bag of tricks", figure 2c): three 3×3 convolutions instead of one 7×7, and shortcuts that
    # average 2×2 pixels before their 1×1 convolution instead of leaving three of four out.
    deep_stem: bool = False
    average_shortcut: bool = False


RESNETS = {
    "resnet18": ResNet((2, 2, 2, 2), block="basic"),
    "resnet34": ResNet((3, 4, 6, 3), block="basic"),
    "resnet50": ResNet((3, 4, 6, 3)),
    "resnet101": ResNet((3, 4, 23, 3)),
    "resnet50d": ResNet((3, 4, 6, 3), deep_stem=True, average_shortcut=True),
    "resnet101d": ResNet((3, 4, 23, 3), deep_stem=True, average_shortcut=True),
}


@dataclass(frozen=True)
class EfficientNetLite:
    """EfficientNet (Tan & Le 2019, table 1) without squeeze-and-excitation, with ReLU6, and a stem and a head that do not grow.

    Source: tensorflow/tpu, `models/official/efficientnet/lite/efficientnet_lite_builder.py`.
    """

    width: float  # of the channels of the seven stages, rounded to multiples of 8
    depth: float  # of the blocks of a stage, rounded up; the first and the last stage keep their one block
    # A stage's blocks, kernel, stride, expansion and channels, at width and depth 1.
    stages: tuple[tuple[int, int, int, int, int], ...] = (
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    )
    stem: int = 32
    head: int = 1280
    epsilon: float = 1e-3  # of batch norm


EFFICIENTNET_LITES = {
    "efficientnet_lite0": EfficientNetLite(width=1.0, depth=1.0),
    "efficientnet_lite2": EfficientNetLite(width=1.1, depth=1.2),
}


@dataclass(frozen=True)
class EfficientNet:
    """Tan & Le 2019, "EfficientNet", table 1, and 2021, "EfficientNetV2", table 4, scaled as the first's section 3.3 says."""

    # A stage's kind of block, blocks, kernel, stride, expansion and channels, at width and depth 1. "fused": one convolution
    # in the place of the expansion and the depthwise one, and no squeeze-and-excitation; EfficientNetV2, figure 2.
    stages: tuple[tuple[Literal["fused", "depthwise"], int, int, int, int, int], ...]
    width: float = 1.0  # of all channels, rounded to multiples of 8
    depth: float = 1.0  # of the blocks of a stage, rounded up
    stem: int = 32
    head: int = 1280
    rounding: float = 0.9  # no rounded number of channels is below so much of it; EfficientNetV2 has no such limit
    squeeze: int = 4  # the excitation has a fourth of the block's channels

    @property
    def is_v2(self) -> bool:
        return any(kind == "fused" for kind, *_ in self.stages)


_EFFICIENTNET: tuple[tuple[Literal["fused", "depthwise"], int, int, int, int, int], ...] = (
    ("depthwise", 1, 3, 1, 1, 16),
    ("depthwise", 2, 3, 2, 6, 24),
    ("depthwise", 2, 5, 2, 6, 40),
    ("depthwise", 3, 3, 2, 6, 80),
    ("depthwise", 3, 5, 1, 6, 112),
    ("depthwise", 4, 5, 2, 6, 192),
    ("depthwise", 1, 3, 1, 6, 320),
)
# The small ones of V2, as google/automl's `efficientnetv2/effnetv2_configs.py` has them.
_EFFICIENTNET_V2: tuple[tuple[Literal["fused", "depthwise"], int, int, int, int, int], ...] = (
    ("fused", 1, 3, 1, 1, 16),
    ("fused", 2, 3, 2, 4, 32),
    ("fused", 2, 3, 2, 4, 48),
    ("depthwise", 3, 3, 2, 4, 96),
    ("depthwise", 5, 3, 1, 6, 112),
    ("depthwise", 8, 3, 2, 6, 192),
)
EFFICIENTNETS = {
    "efficientnet_b0": EfficientNet(_EFFICIENTNET),
    "efficientnet_b1": EfficientNet(_EFFICIENTNET, width=1.0, depth=1.1),
    "efficientnet_b2": EfficientNet(_EFFICIENTNET, width=1.1, depth=1.2),
    "efficientnet_b3": EfficientNet(_EFFICIENTNET, width=1.2, depth=1.4),
    "efficientnet_v2_b0": EfficientNet(_EFFICIENTNET_V2, rounding=0.0),
    "efficientnet_v2_b1": EfficientNet(_EFFICIENTNET_V2, width=1.0, depth=1.1, rounding=0.0),
    "efficientnet_v2_b2": EfficientNet(_EFFICIENTNET_V2, width=1.1, depth=1.2, rounding=0.0),
    "efficientnet_v2_b3": EfficientNet(_EFFICIENTNET_V2, width=1.2, depth=1.4, rounding=0.0),
    "efficientnet_v2_s": EfficientNet(
        (
            ("fused", 2, 3, 1, 1, 24),
            ("fused", 4, 3, 2, 4, 48),
            ("fused", 4, 3, 2, 4, 64),
            ("depthwise", 6, 3, 2, 4, 128),
            ("depthwise", 9, 3, 1, 6, 160),
            ("depthwise", 15, 3, 2, 6, 256),
        ),
        stem=24,
    ),
    "efficientnet_v2_m": EfficientNet(
        (
            ("fused", 3, 3, 1, 1, 24),
            ("fused", 5, 3, 2, 4, 48),
            ("fused", 5, 3, 2, 4, 80),
            ("depthwise", 7, 3, 2, 4, 160),
            ("depthwise", 14, 3, 1, 6, 176),
            ("depthwise", 18, 3, 2, 6, 304),
            ("depthwise", 5, 3, 1, 6, 512),
        ),
        stem=24,
    ),
}


@dataclass(frozen=True)
class ConvNeXt:
    """Liu et al. 2022, "A ConvNet for the 2020s", section 3 and table 9."""

    blocks: tuple[int, int, int, int]
    channels: tuple[int, int, int, int]
    expansion: int = 4  # of the inverted bottleneck, section 2.4
    layer_scale: float = 1e-6  # table 5
    epsilon: float = 1e-6  # of layer norm, as published


CONVNEXTS = {
    "convnext_tiny": ConvNeXt((3, 3, 9, 3), (96, 192, 384, 768)),
    "convnext_small": ConvNeXt((3, 3, 27, 3), (96, 192, 384, 768)),
    "convnext_base": ConvNeXt((3, 3, 27, 3), (128, 256, 512, 1024)),
}


@dataclass(frozen=True)
class Swin:
    """Liu et al. 2021, "Swin Transformer", section 3.3."""

    blocks: tuple[int, int, int, int]
    channels: int  # of the first stage; each next one has twice as many
    heads: tuple[int, int, int, int]  # 32 channels each
    window: int = 7  # patches along a side
    expansion: int = 4  # of the MLP
    epsilon: float = 1e-5  # of layer norm


SWINS = {
    "swin_tiny": Swin((2, 2, 6, 2), 96, (3, 6, 12, 24)),
    "swin_small": Swin((2, 2, 18, 2), 96, (3, 6, 12, 24)),
    "swin_base": Swin((2, 2, 18, 2), 128, (4, 8, 16, 32)),
    "swin_large": Swin((2, 2, 18, 2), 192, (6, 12, 24, 48)),
}


@dataclass(frozen=True)
class RegNet:
    """Radosavovic et al. 2020, "Designing network design spaces", table 1: the widths and depths that its rule gives."""

    blocks: tuple[int, int, int, int]
    channels: tuple[int, int, int, int]
    group_width: int
    stem: int = 32
    epsilon: float = 1e-5  # of batch norm


REGNETS = {
    "regnetx_4gf": RegNet((2, 5, 14, 2), (80, 240, 560, 1360), group_width=40),
}


@dataclass(frozen=True)
class MobileNetV3:
    """Howard et al. 2019, "Searching for MobileNetV3", table 1 (large)."""

    # A block's kernel, expanded channels, channels, squeeze-and-excitation, activation and stride.
    blocks: tuple[tuple[int, int, int, bool, Literal["relu", "hard_swish"], int], ...] = (
        (3, 16, 16, False, "relu", 1),
        (3, 64, 24, False, "relu", 2),
        (3, 72, 24, False, "relu", 1),
        (5, 72, 40, True, "relu", 2),
        (5, 120, 40, True, "relu", 1),
        (5, 120, 40, True, "relu", 1),
        (3, 240, 80, False, "hard_swish", 2),
        (3, 200, 80, False, "hard_swish", 1),
        (3, 184, 80, False, "hard_swish", 1),
        (3, 184, 80, False, "hard_swish", 1),
        (3, 480, 112, True, "hard_swish", 1),
        (3, 672, 112, True, "hard_swish", 1),
        (5, 672, 160, True, "hard_swish", 2),
        (5, 960, 160, True, "hard_swish", 1),
        (5, 960, 160, True, "hard_swish", 1),
    )
    stem: int = 16
    head: int = 960
    squeeze: int = 4  # the excitation has a fourth of the expanded channels, rounded to multiples of 8
    epsilon: float = 1e-3  # of batch norm; torchvision, as TensorFlow's original


MOBILENET_V3S = {"mobilenet_v3_large": MobileNetV3()}


@dataclass(frozen=True)
class ViTDet:
    """Li et al. 2022, "Exploring plain vision transformer backbones for object detection", sections 3 and 4."""

    blocks: int
    channels: int
    heads: int
    global_blocks: tuple[int, ...]  # counted from 1: those whose attention sees the whole map, the last of each quarter
    patch: int = 16  # pixels along a side
    window: int = 14  # patches along a side, of all other blocks
    positions: int = 14  # along a side, as the pre-training at 224 pixels learned them
    map_size: int = 64  # patches along a side for which the global blocks' offsets are learned: 1024 pixels
    expansion: int = 4  # of the MLP
    epsilon: float = 1e-6  # of layer norm


VITDETS = {
    "vitdet_base": ViTDet(12, 768, 12, (3, 6, 9, 12)),
    "vitdet_large": ViTDet(24, 1024, 16, (6, 12, 18, 24)),
    "vitdet_huge": ViTDet(32, 1280, 16, (8, 16, 24, 32)),
}


# MobileNetV2 (Sandler et al. 2018) is built by `keras.applications`, which has its numbers.
NAMES = (
    *RESNETS,
    "mobilenet_v2",
    *EFFICIENTNET_LITES,
    *EFFICIENTNETS,
    *CONVNEXTS,
    *SWINS,
    *REGNETS,
    *MOBILENET_V3S,
    *VITDETS,
    "keras",
)
