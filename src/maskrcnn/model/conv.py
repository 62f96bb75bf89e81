"""Keras's convolution, by the backend's own kernel where one was measured to be faster."""

from __future__ import annotations

from keras import layers, ops

from maskrcnn.ops import native


class Conv2D(layers.Conv2D):
    """As `keras.layers.Conv2D`."""

    def convolution_op(self, inputs, kernel):
        if native.conv is None:
            return super().convolution_op(inputs, kernel)
        kernel = ops.convert_to_tensor(kernel)
        return native.conv(inputs, kernel, strides=self.strides, padding=self.padding, dilation_rate=self.dilation_rate)
