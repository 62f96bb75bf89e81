"""Calls functions of tensors, and differentiates them, on whichever backend runs: NumPy arrays in, NumPy arrays out."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # halves the time that XLA takes to compile

import keras
import numpy as np

if keras.backend.backend() == "torch":
    import torch

    torch.set_num_threads(1)  # these tensors are small; with more threads, test runs side by side wait for each other

_compiled: dict[Any, Callable[..., Any]] = {}


def compute(function: Callable[..., Any], *arrays: Any, **options: Any) -> Any:
    """What a function says of tensors. Arrays among the options become tensors too; the others stay as they are."""
    named = {name: value for name, value in options.items() if isinstance(value, np.ndarray)}
    fixed = {name: value for name, value in options.items() if name not in named}
    call = functools.partial(function, **fixed)
    if keras.backend.backend() == "jax":  # compiled as a whole, as in the model; one by one takes twice as long
        import jax

        call = _compiled.setdefault((function, *sorted(fixed.items())), jax.jit(call))
    arrays, named = keras.tree.map_structure(keras.ops.convert_to_tensor, (arrays, named))
    answer = call(*arrays, **named)
    return keras.tree.map_structure(lambda value: None if value is None else keras.ops.convert_to_numpy(value), answer)


def gradient(function: Callable[[Any], Any], array: np.ndarray) -> np.ndarray:
    """The gradient of a function that gives one number, with respect to its array."""
    tensor = keras.ops.convert_to_tensor(array)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensor)
            value = function(tensor)
        answer = tf.convert_to_tensor(tape.gradient(value, tensor, unconnected_gradients="zero"))
    elif keras.backend.backend() == "jax":
        import jax

        answer = jax.jit(jax.grad(function))(tensor)
    else:
        tensor = tensor.clone().requires_grad_()
        value = function(tensor)
        if not value.requires_grad:  # nothing on the way depends on the array
            return np.zeros_like(array)
        value.backward()
        answer = tensor.grad
    return keras.ops.convert_to_numpy(answer)


def windows_of(sizes: np.ndarray) -> np.ndarray:
    """(B, 2) height, width → (B, 4) xyxy of images that lie in the upper left of their frame."""
    sizes = np.asarray(sizes, np.float32)
    return np.concatenate([np.zeros_like(sizes), sizes[:, ::-1]], axis=1)
