"""Several devices share each batch of a training, by what Keras's backends have for it.

On JAX it is `keras.distribution.DataParallel`: one program has the whole batch, and XLA divides its work. On TensorFlow it is
`tf.distribute.MirroredStrategy`: each device has a copy of the program and a part of the batch, and `ops.native` adds up
what belongs to the whole batch: what losses are divided by, and gradients.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras

from maskrcnn.config.run import RunConfig
from maskrcnn.distributed.place import Place

ALL = "all"


def num_devices(wanted: int | str, batch_size: int) -> int:
    """How many devices share a batch.

    Args:
        wanted: a number, also as text, or `"all"`.
        batch_size: images of a step, of all devices together.

    Raises:
        ValueError: for what is no such number, more devices than there are, or a batch that does not divide.
    """
    if str(wanted) == "1":
        return 1
    there = len(_devices())
    count = there if wanted == ALL else _whole(wanted)
    if count > there:
        raise ValueError(f"devices is {count}, and {_backend()} sees {there} here; {_more()}")
    _check_divides(batch_size, count)
    return count


def num_of_all(wanted: int | str, batch_size: int, place: Place) -> int:
    """How many devices processes that a launcher started have together: on PyTorch each has one, on JAX all that it sees.

    Args:
        wanted: of the run; `"all"`, or 1, which says nothing here.
        batch_size: images of a step, of all devices together.
        place: of this process.

    Raises:
        ValueError: a number of devices, which each process is given by its launcher; or a batch that does not divide.
    """
    if str(wanted) not in ("1", ALL):
        raise ValueError(
            f"devices is {wanted}, and with --coordinator each process takes all that it sees, on PyTorch one; leave --devices "
            "out, and let the launcher show each process its own (CUDA_VISIBLE_DEVICES)."
        )
    count = place.among if needs_processes() else len(_devices())
    _check_divides(batch_size, count)
    return count


def needs_processes() -> bool:
    """Whether each device has a process of its own, see `distributed.processes`; else they are `shared_by` one."""
    return _backend() == "torch"


def check_settings(config: RunConfig) -> None:
    """Refuses what Keras cannot do where devices have a part of the batch each: it decides within a step whether to update.

    Raises:
        ValueError: for such a setting.
    """
    if _backend() == "tensorflow" and config.accumulate > 1:
        raise ValueError("accumulate needs one device on TensorFlow; with several set a larger batch_size, or use JAX.")
    if _backend() != "jax" and config.precision == "float16":
        raise ValueError("float16 scales its loss, which needs one device, or JAX; set precision to bfloat16.")


@contextmanager
def shared_by(count: int) -> Iterator[None]:
    """While it is open, models are made for so many devices: the first there are. One changes nothing.

    Everything that has variables is made inside: the model, its optimizer, its metrics.
    """
    if count == 1:
        yield
        return
    if _backend() == "tensorflow":
        import tensorflow as tf

        with tf.distribute.MirroredStrategy(_devices()[:count]).scope():
            yield
        return
    before = keras.distribution.distribution()
    # Each process reads its own part of a batch, so nothing is left to be shared out.
    shared = keras.distribution.DataParallel(devices=_devices()[:count], auto_shard_dataset=False)
    keras.distribution.set_distribution(shared)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def synchronise_norms(network: keras.Model) -> None:
    """Lets live batch norms take mean and variance over the images of all devices; JAX does it by itself.

    On TensorFlow not in a backbone that is a Keras model of one's own, which is saved with its layers' settings. Group and
    layer norms take them of one image and need nothing.
    """
    if _backend() == "jax":
        return
    for part in network.layers:
        for layer in part._flatten_layers():
            if not isinstance(layer, keras.layers.BatchNormalization):
                continue
            if _backend() == "torch":
                # Keras refuses `synchronized` on PyTorch.
                layer._moments = partial(_moments_over_processes, layer)
            elif part.name != "backbone" or network.config.backbone.name != "keras":
                layer.synchronized = True


def _moments_over_processes(norm: keras.layers.BatchNormalization, inputs: Any, mask: Any) -> tuple[Any, Any]:
    """Mean and variance of each channel (C,) over the inputs (…, C) of all processes, of which some may have more rows.

    As Keras takes them, the variance as the mean of squares less the square of the mean. The gradient goes to all.
    """
    import torch
    from torch.distributed.nn.functional import all_reduce

    axes = [axis for axis in range(inputs.ndim) if axis != norm.axis % inputs.ndim]
    sums, squares = inputs.sum(dim=axes), inputs.square().sum(dim=axes)
    count = sums.new_full((1,), inputs.numel() / len(sums))
    sums, squares, count = all_reduce(torch.cat([sums, squares, count])).split([len(sums), len(sums), 1])
    mean = sums / count
    return mean, squares / count - mean.square()


def _check_divides(batch_size: int, count: int) -> None:
    if batch_size % count:
        raise ValueError(
            f"A step's images are shared out evenly, and batch_size {batch_size} is no multiple of {count} devices; set "
            f"batch_size to {count} or a multiple of it (--batch-size)."
        )


def _backend() -> str:
    return keras.backend.backend()


def _whole(wanted: Any) -> int:
    if isinstance(wanted, bool) or not str(wanted).isdecimal() or int(wanted) < 1:
        raise ValueError(f"devices is a whole number from 1, or {ALL!r}; received {wanted!r}.")
    return int(wanted)


def _devices() -> list[Any]:
    """Names of the devices there are: of the processor, where there are no others."""
    if _backend() == "jax":
        return keras.distribution.list_devices()
    if _backend() == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return [device.name for device in found]
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cpu"] * (os.cpu_count() or 1)


def _more() -> str:
    """How to have more devices for a trial."""
    if _backend() == "tensorflow":
        return "for a trial without others, tf.config.set_logical_device_configuration makes several of the processor."
    return "for a trial without others, XLA_FLAGS=--xla_force_host_platform_device_count=N makes N of the processor."
