"""In which numbers a model computes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

import keras

Precision = Literal["float32", "bfloat16", "float16"]
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


@contextlib.contextmanager
def precision_policy(name: str) -> Iterator[None]:
    """While it is open, models that are made or loaded compute in this precision; they keep it afterwards.

    Weights, boxes, losses and scores stay float32 (Micikevicius et al. 2018). A saved model says nothing of precision: it
    computes in that of the policy it is loaded under. Compiled models in `"float16"` scale their loss, as Keras does it.

    Example:
        with precision_policy("bfloat16"):
            model = MaskRCNN.from_preset("resnet50_fpn", num_classes=3)

    Args:
        name: `"float32"`, `"bfloat16"` or `"float16"`.

    Raises:
        ValueError: for another name.
    """
    if name not in POLICIES:
        raise ValueError(f"Unknown precision {name!r}; possible: {', '.join(POLICIES)}.")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICIES[name])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
