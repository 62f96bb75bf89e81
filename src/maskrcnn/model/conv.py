"""Keras's convolutions and its dense layer, computed in another way where that was measured to be faster or more exact."""

from __future__ import annotations

from keras import layers, ops

from maskrcnn.ops import native


def add_bias(layer: layers.Layer, values):
    """Adds a layer's bias to (…, C), so that in mixed precision the bias's gradient is the sum over all places."""
    if not layer.use_bias:
        return values
    if native.add_bias is None or layer.compute_dtype == "float32":
        return ops.add(values, layer.bias)
    return native.add_bias(values, ops.convert_to_tensor(layer.bias))


class Dense(layers.Dense):
    """As `keras.layers.Dense`. The name is Keras's, which finds a layer's weights in a file by the name of its class."""

    def call(self, inputs):
        return self.activation(add_bias(self, ops.matmul(inputs, self.kernel)))


class Conv2D(layers.Conv2D):
    """As `keras.layers.Conv2D`, by the backend's own kernel where there is one."""

    def call(self, inputs):
        return self.activation(add_bias(self, self.convolution_op(inputs, self.kernel)))

    def convolution_op(self, inputs, kernel):
        if native.conv is None:
            return super().convolution_op(inputs, kernel)
        kernel = ops.convert_to_tensor(kernel)  # (k, k, C, filters)
        return native.conv(inputs, kernel, strides=self.strides, padding=self.padding, dilation_rate=self.dilation_rate)


class Conv2DTranspose(layers.Conv2DTranspose):
    """As `keras.layers.Conv2DTranspose` of 2×2 pixels with stride 2, but the four that come of a pixel lie side by side.

    No two pixels meet in it, so it is one product of matrices. XLA's own deconvolution is slow on the CPU, its gradient by far
    (docs/measurements.md). What is computed of each pixel alone may follow at once, and `interleave` then has less to move. The
    name is Keras's, which finds a layer's weights in a file by the name of its class.
    """

    def __init__(self, filters: int, **kwargs):
        super().__init__(filters, 2, strides=2, **kwargs)

    def call(self, x):
        """(N, …, C) → (N, …, 4, filters): above left, above right, below left, below right. Sides but the first are static."""
        channels = x.shape[-1]
        kernel = ops.transpose(ops.convert_to_tensor(self.kernel), (3, 0, 1, 2))  # (C, 2, 2, filters)
        answer = ops.matmul(ops.reshape(x, (-1, channels)), ops.reshape(kernel, (channels, -1)))
        answer = ops.reshape(answer, (-1, *x.shape[1:-1], 4, self.filters))
        return self.activation(add_bias(self, answer))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 4, self.filters)


def interleave(values, side: int, num_doublings: int):
    """Puts every pixel that `Conv2DTranspose` made into its place.

    Args:
        values: (N, side · side · 4 … 4), one number a pixel, in the order of so many doublings one after the other.
        side: pixels before the first.

    Returns:
        (N, M, M), M = side · 2 ** num_doublings.
    """
    inner = 4**num_doublings  # numbers that come of one pixel
    for _ in range(num_doublings):
        # Row by row: in each the pixels, of them an upper and a lower half. Rows of halves are the rows of the doubled image.
        values = ops.transpose(ops.reshape(values, (-1, side, 2, inner // 2)), (0, 2, 1, 3))
        side, inner = 2 * side, inner // 4
    return ops.reshape(values, (-1, side, side))
