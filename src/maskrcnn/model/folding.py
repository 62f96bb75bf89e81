"""Batch norm folded into the convolution before it: one operation instead of three, and no tensor between them.

With stored mean and variance a norm only scales and shifts each channel, so that norm(conv(x)) is a convolution with a scaled
kernel and a bias (Jacob et al. 2018, section 3.2). That is so in inference always, and in training where norms are frozen.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops


class FoldedBackbone:
    """A backbone's own layers in a second graph, in which every norm behind a convolution is folded into it.

    No layer and no weights of its own, so that a model saves, counts and names the first graph alone.
    """

    def __init__(self, backbone: keras.Model):
        self.backbone = backbone
        self._graph: keras.Model | None = None

    def __call__(self, images, training=None) -> list[Any]:
        """As the backbone itself. Where a norm learns, training takes the first graph."""
        if training and any(layer.trainable for layer in self.backbone.layers if _is_norm(layer)):
            return self.backbone(images, training=training)
        if self._graph is None:
            self._graph = fold(self.backbone)
        return self._graph(images, training=training)


def fold(model: keras.Model) -> keras.Model:
    """The same layers in another graph, see `FoldedBackbone`."""
    convolved: list[tuple[Any, layers.Layer, Any]] = []  # of each convolution its output, itself and its input

    def call(layer: layers.Layer, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_norm(layer):
            for output, conv, conv_input in convolved:
                if output is inputs:
                    return _FoldedConv(conv, layer)(conv_input)
        output = layer(inputs, *args, **kwargs)
        if isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D)) and layer.activation is keras.activations.linear:
            convolved.append((output, layer, inputs))
        return output

    return keras.models.clone_model(model, clone_function=_same, call_function=call)


class _FoldedConv(layers.Layer):
    """norm(conv(x)) with the norm's stored mean and variance."""

    def __init__(self, conv: layers.Layer, norm: layers.BatchNormalization):
        super().__init__(autocast=False, dtype=conv.dtype_policy, name=f"{norm.name}_folded")
        self.conv, self.norm = conv, norm
        self.built = True

    def call(self, x):
        conv, norm = self.conv, self.norm
        scale = ops.rsqrt(_value(norm.moving_variance) + norm.epsilon)
        scale = scale if norm.gamma is None else scale * _value(norm.gamma)
        shift = -_value(norm.moving_mean) * scale
        shift = shift if norm.beta is None else shift + _value(norm.beta)
        if conv.use_bias:
            shift = shift + _value(conv.bias) * scale
        options = {"strides": conv.strides, "padding": conv.padding, "dilation_rate": conv.dilation_rate}
        x = ops.cast(x, self.compute_dtype)
        if isinstance(conv, layers.DepthwiseConv2D):
            kernel = _value(conv.kernel) * ops.reshape(scale, (-1, conv.depth_multiplier))  # (k, k, C, depth)
            x = ops.depthwise_conv(x, ops.cast(kernel, x.dtype), **options)
        else:
            x = ops.conv(x, ops.cast(_value(conv.kernel) * scale, x.dtype), **options)
        return x + ops.cast(shift, x.dtype)

    def compute_output_spec(self, x):
        return self.conv.compute_output_spec(x)


def _is_norm(layer: Any) -> bool:
    return isinstance(layer, layers.BatchNormalization)


def _same(layer: layers.Layer) -> layers.Layer:
    return layer


def _value(variable: Any) -> Any:
    """A weight as float32, whatever the policy: what is folded is rounded once."""
    return ops.convert_to_tensor(variable, dtype="float32")
