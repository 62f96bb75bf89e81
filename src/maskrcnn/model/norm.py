"""Normalization behind the convolutions of the pyramid and the heads."""

from __future__ import annotations

from keras import layers, ops

from maskrcnn.config.model import Norm

# Of the running mean and variance, where norms are live: PyTorch's and Detectron2's. MobileNetV2's own 0.999 in
# keras.applications takes thousands of steps to forget its first values; until then a model that has learned answers nonsense.
LIVE_MOMENTUM = 0.9
NUM_GROUPS = 32  # Group Normalization (Wu & He 2018), section 4.2


def make_norms(kind: Norm, epsilon: float, names: list[str]) -> list[layers.Layer]:
    """One norm a name; none at all for the kind "none".

    "frozen" keeps its stored mean and variance in training too, which is what `trainable = False` means to Keras's batch norm.
    """
    if kind == "none":
        return []
    if kind == "group":
        return [_GroupNorm(NUM_GROUPS, epsilon=epsilon, name=name) for name in names]
    if kind == "layer":
        return [layers.LayerNormalization(epsilon=epsilon, name=name) for name in names]
    options = {"epsilon": epsilon, "momentum": LIVE_MOMENTUM, "trainable": kind == "live"}
    return [layers.BatchNormalization(**options, name=name) for name in names]


class _GroupNorm(layers.GroupNormalization):
    """Keras's, which says the wrong way round what must divide what."""

    def build(self, input_shape):
        if input_shape[-1] % self.groups:
            raise ValueError(
                f"Group norm has {self.groups} groups, so channels come in multiples of that; {self.name} received "
                f'{input_shape[-1]}. Change the channels, or choose norm="live".'
            )
        super().build(input_shape)


def normed_relu(x, norm: layers.Layer | None, training):
    """ReLU of what the norm, where there is one, makes of x: (N, …, C), unchanged."""
    return ops.relu(x if norm is None else norm(x, training=training))
