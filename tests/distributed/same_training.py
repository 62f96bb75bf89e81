"""A training of a small network on some devices, written down for a test to compare: run as a process of its own.

    python same_training.py OUT DEVICES,DEVICES CASE…

How many devices a processor stands for is said before a backend is imported.
"""

from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np
from small_network import Batches, make_batch, optimizer_of, small_network

from maskrcnn.distributed.devices import shared_by, synchronise_norms

STEPS = 4
LIVE = {"backbone__norm": "live", "backbone__frozen_stages": 0, "fpn__norm": "live", "box_head__norm": "live"}
CASES: dict[str, dict[str, Any]] = {
    "frozen norms": {"backbone__norm": "frozen"},
    "live norms": LIVE,
    "averaged weights": {"ema": 0.9},
    "accumulation": {"accumulate": 2},
    "mixed precision": {"precision": "mixed_bfloat16"},
    "class weights": {"box_head__class_weights": (1.0, 4.0, 0.5)},
    "few samples": {"rpn__num_sampled": 32, "roi_sampler__num_sampled": 24},
    "no object on one device": {"counts": (4, 0)},
}
CASES["all together"] = (
    {name: value for case in CASES.values() for name, value in case.items()} | LIVE | {"precision": "float32"}
)


def simulate(devices: int) -> None:
    """Makes several devices of the processor on TensorFlow, which runs as it is written; JAX reads XLA_FLAGS."""
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    tf.config.threading.set_intra_op_parallelism_threads(1)  # crop_and_resize's slope differs by 1e-3 with several
    parts = [tf.config.LogicalDeviceConfiguration()] * devices
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)


def trained(devices: int, case: dict[str, Any]) -> dict[str, np.ndarray]:
    """Weights and losses after some steps of SGD, whose weights show what the gradients were; and losses of validation."""
    run = {name: case[name] for name in ("ema", "accumulate") if name in case}
    changes = {name: value for name, value in case.items() if "__" in name}
    counts = case.get("counts", (3, 5))
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(case.get("precision", "float32"))
    with shared_by(devices):
        network = small_network(**changes)
        if devices > 1:
            synchronise_norms(network)
        network.compile(optimizer_of("sgd", 0.01, num_steps=100, warm_up_steps=0, clip_norm=1.0, **run))
        batches = [_flags_as_numbers(make_batch(counts, seed=step, num_rows=16)) for step in range(STEPS)]
        history = network.fit(Batches(batches), epochs=1, verbose=0, shuffle=False).history
        uneven = [_flags_as_numbers(make_batch((3, 5, 2), seed=9, num_rows=16))]
        if devices > 1:
            uneven = [_filled_up(batch) for batch in uneven]
        scores = network.evaluate(Batches(batches[:1] + uneven), verbose=0, return_dict=True)
    found = {
        f"weight {number} {weight.name}": keras.ops.convert_to_numpy(weight) for number, weight in enumerate(network.weights)
    }
    found |= {name: np.array(values) for name, values in history.items()}
    return found | {f"validation {name}": np.array(value) for name, value in scores.items()}


def _flags_as_numbers(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return batch | {name: batch[name].astype(np.uint8) for name in ("crowd", "valid")}


def _filled_up(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([array, np.zeros_like(array[:1])]) for name, array in batch.items()}


if __name__ == "__main__":
    out, numbers, *names = sys.argv[1:]
    simulate(max(map(int, numbers.split(","))))
    for name in names:
        for devices in map(int, numbers.split(",")):
            np.savez(f"{out}/{name} {devices}.npz", **trained(devices, CASES[name]))
