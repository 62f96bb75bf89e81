"""The one door to a backend's own kernels: one file a backend, the same names in each.

`KERNELS` are handed through a network's calls, so that whoever exports one can hand in others; nothing is replaced anywhere.
`conv`, `depthwise_conv` and `add_bias` are None where Keras's own are as good.
"""

from __future__ import annotations

import keras

from maskrcnn.ops.native import portable
from maskrcnn.ops.native.kernels import Kernels, Samples

if keras.backend.backend() == "tensorflow":
    from maskrcnn.ops.native import tensorflow as own
elif keras.backend.backend() == "jax":
    from maskrcnn.ops.native import jax as own
else:
    from maskrcnn.ops.native import torch as own

JIT_COMPILE, ONE_CALL_AT_A_TIME = own.JIT_COMPILE, own.ONE_CALL_AT_A_TIME
add_bias, conv, depthwise_conv = own.add_bias, own.conv, own.depthwise_conv
in_parts, place_as, top_k = own.in_parts, own.place_as, own.top_k
KERNELS = own.KERNELS
PORTABLE = portable.KERNELS._replace(
    total=KERNELS.total, part=KERNELS.part
)  # a batch has as many parts, whatever computes them

__all__ = [
    "JIT_COMPILE",
    "KERNELS",
    "ONE_CALL_AT_A_TIME",
    "PORTABLE",
    "Kernels",
    "Samples",
    "add_bias",
    "conv",
    "depthwise_conv",
    "in_parts",
    "place_as",
    "top_k",
]
