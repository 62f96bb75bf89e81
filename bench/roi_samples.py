"""Seconds of RoIAlign with two samples a bin, at most four, and as many as a bin has pixels, side by side in one run.

Of 1,000 boxes in a frame of 800 by 1216, sides spread evenly in the logarithm; features of 256 channels. Four is what this
package took at most before, where a model asks for as many as a bin has pixels.

    KERAS_BACKEND=torch python bench/roi_samples.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from maskrcnn.ops.native import KERNELS
from maskrcnn.ops.roi_align import roi_align

FRAME = (800, 1216)
STRIDES = (4, 8, 16, 32)
ROUNDS = 3
WAYS = {"2 samples": 2, "4 samples": 4, "as many as pixels": 0}


def boxes_of(num_boxes: int, rng: np.random.Generator) -> np.ndarray:
    """(1, num_boxes, 4) float32 xyxy within the frame."""
    height, width = FRAME
    sides = np.exp(rng.uniform(np.log(12), np.log(700), (num_boxes, 1))) * np.exp(rng.uniform(-0.7, 0.7, (num_boxes, 2)))
    sides = np.minimum(sides, [width, height])
    corner = rng.uniform(size=(num_boxes, 2)) * ([width, height] - sides)
    return np.concatenate([corner, corner + sides], axis=1)[None].astype(np.float32)


def compiled(call: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """As the model is run on this backend."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(call)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(call)
    return call


def main() -> None:
    rng = np.random.default_rng(0)
    boxes = keras.ops.convert_to_tensor(boxes_of(1000, rng))
    shapes = [(1, FRAME[0] // stride, FRAME[1] // stride, 256) for stride in STRIDES]
    features = [keras.ops.convert_to_tensor(rng.normal(size=shape).astype(np.float32)) for shape in shapes]
    calls = {
        name: compiled(
            lambda maps, boxes, ratio=ratio: roi_align(
                maps, boxes, strides=STRIDES, pool_size=7, sampling_ratio=ratio, kernels=KERNELS
            )
        )
        for name, ratio in WAYS.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(ROUNDS + 1):
        for name, call in calls.items():  # in turns, so that what else the machine does touches all alike
            start = time.process_time()
            keras.ops.convert_to_numpy(call(features, boxes))
            if round_:  # the first compiles
                seconds[name].append(time.process_time() - start)
    print(keras.backend.backend())
    for name, taken in seconds.items():
        print(f"  {name:18} {statistics.median(taken):6.2f} s of processor time ({min(taken):.2f} to {max(taken):.2f})")


if __name__ == "__main__":
    main()
