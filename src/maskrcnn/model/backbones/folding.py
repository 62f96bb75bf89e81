"""Batch norm folded into the convolution before it: one operation instead of three, and no tensor between them.

With stored mean and variance a norm only scales and shifts each channel, so that norm(conv(x)) is a convolution with a scaled
kernel and a bias (Jacob et al. 2018, section 3.2). That is so in inference always, and in training where norms are frozen.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from maskrcnn.ops import native

# Not their subclasses: what one of those computes, nobody knows.
_FOLDABLE = (layers.Conv2D, layers.DepthwiseConv2D)


class FoldedBackbone:
    """A backbone's own layers in a second graph, in which every norm behind a convolution is folded into it.

    No layer and no weights of its own, so that a model saves, counts and names the first graph alone. The graphs are made at
    once: within a step of JAX, where the variables have no values of their own, no layer can be asked for its output's shape.
    """

    def __init__(self, backbone: keras.Model):
        self.backbone = backbone
        self._has_native = native.conv is not None or native.depthwise_conv is not None
        self._graphs = {norms: fold(backbone, norms=norms) for norms in ((True, False) if self._has_native else (True,))}

    def __call__(self, images, training=None) -> list[Any]:
        """As the backbone itself. Where a norm learns, training takes a graph in which nothing is folded."""
        stored = not (training and any(layer.trainable for layer in self.backbone.layers if _is_norm(layer)))
        if not stored and not self._has_native:
            return self.backbone(images, training=training)
        return self._graphs[stored](images, training=training)


def fold(model: keras.Model, *, norms: bool = True) -> keras.Model:
    """The same layers in another graph, see `FoldedBackbone`; without `norms` only what computes it differs."""
    convolved: list[tuple[Any, layers.Layer, Any]] = []  # of each convolution its output, itself and its input

    def call(layer: layers.Layer, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if norms and _is_norm(layer) and _can_fold(layer):
            for output, conv, conv_input in convolved:
                if output is inputs:
                    return _FoldedConv(conv, layer)(conv_input)
        if not norms and _has_native(layer):
            return _FoldedConv(layer, None)(inputs)
        output = layer(inputs, *args, **kwargs)
        if type(layer) in _FOLDABLE and layer.activation is keras.activations.linear:
            convolved.append((output, layer, inputs))
        return output

    return keras.models.clone_model(model, clone_function=_same, call_function=call)


class _FoldedConv(layers.Layer):
    """norm(conv(x)) with the norm's stored mean and variance, or conv(x) where there is no norm."""

    def __init__(self, conv: layers.Layer, norm: layers.BatchNormalization | None):
        super().__init__(autocast=False, dtype=conv.dtype_policy, name=f"{(norm or conv).name}_folded")
        self.conv, self.norm = conv, norm
        self.built = True

    def call(self, x):
        conv, norm = self.conv, self.norm
        x, kernel = ops.cast(x, self.compute_dtype), _value(conv.kernel)
        shift = _value(conv.bias) if conv.use_bias else None
        if norm is not None:
            scale = ops.rsqrt(_value(norm.moving_variance) + norm.epsilon)
            scale = scale if norm.gamma is None else scale * _value(norm.gamma)
            shift = ((0.0 if shift is None else shift) - _value(norm.moving_mean)) * scale
            shift = shift if norm.beta is None else shift + _value(norm.beta)
            # (k, k, C, depth) of a depthwise convolution, whose channels are C · depth; else (k, k, ·, C)
            kernel = kernel * (ops.reshape(scale, (-1, conv.depth_multiplier)) if _is_depthwise(conv) else scale)
        kernel = ops.cast(kernel, x.dtype)
        options = {"strides": conv.strides, "padding": conv.padding}
        if _has_native(conv):
            x = (native.depthwise_conv if _is_depthwise(conv) else native.conv)(x, kernel, **options)
        else:
            options["dilation_rate"] = conv.dilation_rate
            x = (ops.depthwise_conv if _is_depthwise(conv) else ops.conv)(x, kernel, **options)
        return x if shift is None else x + ops.cast(shift, x.dtype)

    def compute_output_spec(self, x):
        return self.conv.compute_output_spec(x)


def _is_norm(layer: Any) -> bool:
    return isinstance(layer, layers.BatchNormalization)


def _can_fold(norm: layers.BatchNormalization) -> bool:
    """Whether it is Keras's own, over the channels; a backbone that was handed in may hold others."""
    return type(norm) is layers.BatchNormalization and norm.axis in (-1, 3)


def _is_depthwise(layer: Any) -> bool:
    return isinstance(layer, layers.DepthwiseConv2D)


def _has_native(layer: Any) -> bool:
    """Whether the backend has a kernel of its own that computes this layer."""
    if type(layer) not in _FOLDABLE or tuple(layer.dilation_rate) != (1, 1):
        return False
    if layer.activation is not keras.activations.linear:
        return False
    if _is_depthwise(layer):
        return native.depthwise_conv is not None and layer.depth_multiplier == 1
    return native.conv is not None


def _same(layer: layers.Layer) -> layers.Layer:
    return layer


def _value(variable: Any) -> Any:
    """A weight as float32, whatever the policy: what is folded is rounded once."""
    return ops.convert_to_tensor(variable, dtype="float32")
