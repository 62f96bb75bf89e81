"""The model's inference as a TensorFlow graph, from which most formats are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from maskrcnn.engines.engine import outputs_of
from maskrcnn.ops.native import KERNELS, Kernels


def inference_graph(model: Any, kernels: Kernels = KERNELS, infer: Callable[..., Any] | None = None) -> Any:
    """The model's inference as one TensorFlow function of images and sizes; any number of images, of any frame.

    Args:
        model: a `MaskRCNN` on TensorFlow.
        kernels: what it is computed with.
        infer: how it is done, of images, sizes and kernels; `model.infer` where None.
    """
    import tensorflow as tf

    names = outputs_of(model.config)

    def outputs(images: Any, sizes: Any) -> dict[str, Any]:
        found = (infer or model.infer)(images, sizes, kernels)
        count = tf.reduce_sum(tf.cast(found.valid, tf.int32), axis=1)
        return {name: tf.identity(count if name == "count" else getattr(found, name), name) for name in names}

    images = tf.TensorSpec((None, None, None, model.config.image.channels), tf.float32, "images")
    sizes = tf.TensorSpec((None, 2), tf.int32, "sizes")
    return tf.function(outputs, input_signature=[images, sizes], autograph=False)
