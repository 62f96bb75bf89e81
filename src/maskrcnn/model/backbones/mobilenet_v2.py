"""MobileNetV2 (Sandler et al. 2018), as `keras.applications` builds it."""

from __future__ import annotations

import warnings

import keras

from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.backbones.stages import Staged

# The widest tensor of each stride is the one before it is halved: the expansion of the next stage's first block.
ENDS = ("Conv1_relu", "block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu", "out_relu")


def build(config: BackboneConfig, channels: int) -> Staged:
    """The graph from (B, H, W, channels) on."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This model usually expects 1 or 3 input channels")  # it is meant
        whole = keras.applications.MobileNetV2(input_shape=(None, None, channels), include_top=False, weights=None)
    return Staged(whole, ENDS)
