"""What all backbones share: a graph whose stages end somewhere, and what of it learns."""

from __future__ import annotations

from typing import NamedTuple

import keras
from keras import layers

from maskrcnn.config.model import BackboneConfig
from maskrcnn.model.norm import LIVE_MOMENTUM

STRIDES = (4, 8, 16, 32)  # pixels of the frame a feature pixel of C2 … C5; FPN paper, section 3


OUTPUT_NORMS = tuple(f"output{level}_norm" for level in (2, 3, 4, 5))


class Staged(NamedTuple):
    """A graph and where its stages end.

    Attributes:
        model: from (B, H, W, C) to whatever lies at its end.
        ends: names of the layers that end the five stages: the stem, then C2 … C5.
    """

    model: keras.Model
    ends: tuple[str, ...]

    @property
    def pyramid(self) -> list[keras.KerasTensor]:
        """C2 … C5: the model's own outputs, where it has four, else those of the layers that end the stages."""
        outputs = self.model.outputs
        return outputs if len(outputs) == len(STRIDES) else [self.model.get_layer(end).output for end in self.ends[1:]]


def freeze(backbone: keras.Model, ends: tuple[str, ...], config: BackboneConfig) -> None:
    """Sets what of the backbone learns: nothing up to stage `frozen_stages`, and no batch norm where norms are frozen.

    Args:
        ends: as `Staged.ends`. Nothing goes around these layers, so what comes before one in the graph is what it is made of.
    """
    stage = 1
    for layer in backbone.operations:
        if isinstance(layer, layers.Layer):
            layer.trainable = stage > config.frozen_stages
            for part in layer._flatten_layers():  # a foreign model may hold models
                if isinstance(part, layers.BatchNormalization):
                    part.trainable = layer.trainable and config.norm == "live"
                    part.momentum = LIVE_MOMENTUM if config.norm == "live" else part.momentum
        stage += ends.count(layer.name)


def output_norms(staged: Staged, config: BackboneConfig, epsilon: float) -> Staged:
    """Layer norms behind C2 … C5, where `config.output_norm` says so, as the detectors of ConvNeXt and Swin have them.

    They belong to no stage, so that they learn where all before them is frozen.
    """
    if not config.output_norm:
        return staged
    levels = staged.pyramid
    norms = (layers.LayerNormalization(epsilon=epsilon, name=name) for name in OUTPUT_NORMS)
    outputs = [norm(x) for norm, x in zip(norms, levels, strict=True)]
    return staged._replace(model=keras.Model(staged.model.input, outputs))
