"""A layer that compares directions: its answer does not grow with its input, nor with the weights of a common class."""

from __future__ import annotations

from keras import layers, ops

EPSILON = 1e-6  # MMDetection's NormedLinear


def unit(values, axis: int):
    """The values over their length along an axis; zeros stay zeros."""
    squares = ops.sum(ops.square(values), axis=axis, keepdims=True)
    return values / (ops.sqrt(ops.maximum(squares, 1e-20)) + EPSILON)


class CosineDense(layers.Layer):
    """(N, F) → (N, units): temperature times the cosine between an input and each unit's weights, and a bias.

    Normalized linear activation, Wang et al. 2021 (Seesaw Loss), section 3.3.

    Args:
        units: of the answer.
        temperature: what a cosine is multiplied with.
        kernel_initializer: of the weights.
    """

    def __init__(self, units: int, *, temperature: float, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.temperature = temperature
        self.kernel_initializer = kernel_initializer

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], self.units), initializer=self.kernel_initializer)
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")

    def call(self, inputs):
        """(N, F) of any number kind → (N, units) float32: lengths need the range."""
        x, kernel = ops.cast(inputs, "float32"), ops.cast(self.kernel, "float32")
        return ops.matmul(self.temperature * unit(x, -1), unit(kernel, 0)) + ops.cast(self.bias, "float32")
