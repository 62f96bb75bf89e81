"""What a training step costs each of several devices, beside one device: by counting work, or by the clock of real devices.

python bench/scale_out.py [--devices 1 2 4] [--images 1] [--size 128 192] [--model mobilenet_v2_fpn] [--out scale.json]
python bench/scale_out.py --clock [--steps 20]      on a machine with so many GPUs, by JAX or TensorFlow

Each device has as many images, however many devices there are. Counting needs JAX and no device but the processor, which stands
for several: XLA says of the program that it makes for one of them how many operations it has (the body of a loop once), and
its text says what is exchanged with the others. Efficiency is the operations of one device alone over those of one among
several: what is done by each device for itself again counts against it, what the exchange takes does not. That is given in
bytes; a ring sends each of them 2·(N-1)/N times. With --clock it is images a second, over those of one device times N.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import time
from pathlib import Path
from typing import Any

BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
EXCHANGES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
WARM_UP = 3  # steps that are not counted


def main() -> None:
    parser = argparse.ArgumentParser(description="A training step on several devices beside one.")
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--images", type=int, default=1, help="of each device")
    parser.add_argument("--size", type=int, nargs=2, default=[128, 192], help="height and width of the frame")
    parser.add_argument("--model", default="mobilenet_v2_fpn")
    parser.add_argument("--clock", action="store_true", help="measure images a second on real devices")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if not arguments.clock:
        os.environ["KERAS_BACKEND"] = "jax"
        flags = f"--xla_force_host_platform_device_count={max(arguments.devices)}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"

    from maskrcnn.atomic import write_json
    from maskrcnn.distributed.devices import num_devices

    rows = []
    for devices in map(int, arguments.devices):
        num_devices(devices, devices * arguments.images)  # or an error of one line
        rows.append({"devices": devices, **(clocked if arguments.clock else counted)(devices, arguments)})
        print(rows[-1], flush=True)
    for row in rows:
        if arguments.clock:
            row["efficiency"] = row["images a second"] / row["devices"] / (rows[0]["images a second"] / rows[0]["devices"])
        else:
            row["efficiency"] = rows[0]["operations"] / row["operations"]
        print(f"{row['devices']} devices: efficiency {row['efficiency']:.3f}")
    if arguments.out:
        write_json(arguments.out, rows)


def counted(devices: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Operations of one device in a step, and bytes that it takes part in exchanging."""
    import jax

    from maskrcnn.distributed.devices import shared_by

    with shared_by(devices):
        network = made(arguments)
        batch = drawn(devices * arguments.images, arguments)
        network.optimizer.build(network.trainable_variables)
        parts = (
            network.trainable_variables,
            network.non_trainable_variables,
            network.optimizer.variables,
            network.metrics_variables,
        )
        state = tuple([variable.value for variable in part] for part in parts)
        if devices > 1:
            layout = state[0][0].sharding
            rows = jax.sharding.NamedSharding(layout.mesh, jax.sharding.PartitionSpec(layout.mesh.axis_names[0]))
            batch = jax.device_put(batch, rows)
        where = jax.tree.map(lambda value: value.sharding, state)
        program = jax.jit(network.train_step, out_shardings=(None, where)).lower(state, (batch,)).compile()
    cost = program.cost_analysis()
    exchanged = exchanges(program.as_text())
    weights = sum(math.prod(variable.shape) for variable in network.trainable_variables)
    found = {"operations": cost["flops"], "bytes of weights": 4 * weights, "bytes exchanged": sum(exchanged.values())}
    return found | {f"bytes of {name}": size for name, size in exchanged.items() if size}


def exchanges(text: str) -> dict[str, int]:
    """Bytes of what each kind of exchange gives a device, in the text of XLA's program."""
    found = dict.fromkeys(EXCHANGES, 0)
    for line in text.splitlines():
        match = re.search(rf"= (.*?) ({'|'.join(EXCHANGES)})(-start)?\(", line)
        if match:
            for kind, sides in re.findall(r"(\w+)\[([\d,]*)\]", match[1]):
                found[match[2]] += BYTES.get(kind, 0) * math.prod(map(int, filter(None, sides.split(","))))
    return found


def clocked(devices: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Images a second of `fit`, from batches in memory."""
    import keras

    from maskrcnn.distributed.devices import shared_by

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            float((logs or {})["loss"])  # waits for the step
            times.append(time.perf_counter())

    times: list[float] = []
    with shared_by(devices):
        network = made(arguments)
        batch = drawn(devices * arguments.images, arguments)
        data = (batch for _ in range(WARM_UP + arguments.steps))
        network.fit(data, steps_per_epoch=WARM_UP + arguments.steps, verbose=0, callbacks=[Clock()])
    return {"images a second": devices * arguments.images * arguments.steps / (times[-1] - times[WARM_UP - 1])}


def made(arguments: argparse.Namespace) -> Any:
    import maskrcnn

    changes = {"image__short_side": arguments.size[0], "image__long_side": arguments.size[1]}
    network = maskrcnn.MaskRCNN.from_preset(arguments.model, num_classes=3, weights=None, seed=0, **changes)
    network.compile("sgd")
    return network


def drawn(images: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """A batch of noise with four boxes an image."""
    import numpy as np

    from maskrcnn.config.model import MaskHeadConfig

    (height, width), side = arguments.size, MaskHeadConfig().truth_size
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, min(height, width) / 2, (images, 4, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(16, min(height, width) / 2, (images, 4, 2))], axis=2)
    return {
        "images": rng.integers(0, 256, (images, height, width, 3)).astype(np.uint8),
        "sizes": np.tile(np.int32([height, width]), (images, 1)),
        "boxes": boxes.astype(np.float32),
        "labels": rng.integers(0, 3, (images, 4)).astype(np.int32),
        "masks": np.ones((images, 4, side, side), np.uint8),
        "crowd": np.zeros((images, 4), np.uint8),
        "valid": np.ones((images, 4), np.uint8),
        "image_ids": np.arange(images, dtype=np.int64),
    }


if __name__ == "__main__":
    main()
