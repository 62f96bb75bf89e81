"""The model's inference as a TensorFlow graph, from which most formats are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from maskrcnn.engines.engine import OUTPUTS


def inference_graph(model: Any, infer: Callable[..., Any] | None = None) -> Any:
    """The model's inference as one TensorFlow function of images and sizes; any number of images, of any frame.

    Args:
        model: a `MaskRCNN` on TensorFlow.
        infer: how it is done, of images and sizes; `model.infer` where None.
    """
    import tensorflow as tf

    def outputs(images: Any, sizes: Any) -> dict[str, Any]:
        found = (infer or model.infer)(images, sizes)
        count = tf.reduce_sum(tf.cast(found.valid, tf.int32), axis=1)
        return {name: tf.identity(count if name == "count" else getattr(found, name), name) for name in OUTPUTS}

    images = tf.TensorSpec((None, None, None, model.config.image.channels), tf.float32, "images")
    sizes = tf.TensorSpec((None, 2), tf.int32, "sizes")
    return tf.function(outputs, input_signature=[images, sizes], autograph=False)


@contextmanager
def in_place_of(module: Any, name: str, function: Any) -> Iterator[None]:
    """While it is open the module has another function of that name, where one is given."""
    own = getattr(module, name)
    setattr(module, name, function or own)
    try:
        yield
    finally:
        setattr(module, name, own)
