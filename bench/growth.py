"""How cost grows with the size of images, the number of objects, of images in a batch, and of classes: a table and plots.

python bench/growth.py [--out bench/plots] [--rounds 3] [--peer-python PYTHON]

Random weights with a score threshold of 0, so that every image has just as many objects as are asked for; from pixels to
masks as RLE. Each measurement is the least of several after a first one, which compiles, in seconds of the processor: of all
cores together, and of this process alone, whatever else the machine does. Needs matplotlib. With a Python that has torch and
torchvision, torchvision's Mask R-CNN on a MobileNetV2 is measured beside, from pixels to masks as bitmaps.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from side import Side

import maskrcnn
from maskrcnn.atomic import write_json

SIDE = 512
ROWS: dict[str, tuple[str, Sequence[float]]] = {
    "megapixels": ("megapixels of an image", (0.5, 1, 2, 4, 8, 16)),
    "objects": ("objects in an image", (1, 10, 100, 300, 1000)),
    "batch": ("images in a batch", (1, 2, 4, 8, 16)),
    "classes": ("classes", (1, 10, 80, 365, 1203)),
}
MOST_BESIDE = {"megapixels": 4}  # at 16, torchvision's pasted masks of 100 objects take more than 14 GB


def main() -> None:
    parser = argparse.ArgumentParser(description="How cost grows.")
    parser.add_argument("--out", type=Path, default=Path("bench/plots"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-python", help="one with torch and torchvision, to measure beside")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, (label, values) in ROWS.items():
        seconds = [_least(_case(name, value), arguments.rounds) for value in values]
        found[name] = {"values": list(values), "seconds": seconds, "exponent": _exponent(values, seconds)}
        if arguments.peer_python:
            found[name]["torchvision"] = theirs = _beside(arguments.peer_python, name, values, arguments.rounds)
            print(f"torchvision: {theirs}", flush=True)
        print(
            f"{label}: " + ", ".join(f"{v:g}: {s:.2f} s" for v, s in zip(values, seconds)) + f"; {found[name]['exponent']}",
            flush=True,
        )
        _draw(arguments.out / f"{name}.png", label, values, seconds)
    write_json(arguments.out / "growth.json", found)


def _sizes(name: str, value: float) -> dict[str, int]:
    side = round((value * 1e6) ** 0.5) if name == "megapixels" else SIDE
    return {"side": side, "batch": 1, "objects": 100, "classes": 80} | ({} if name == "megapixels" else {name: int(value)})


def _beside(python: str, name: str, values: Sequence[float], rounds: int) -> dict[str, Any]:
    seconds = []
    values = [value for value in values if value <= MOST_BESIDE.get(name, value)]
    for value in values:
        with Side(python, Path(__file__).with_name("side_torchvision.py")) as side:
            answer = side.ask("grow", rounds=rounds, frame=SIDE, **_sizes(name, value))
        if answer["objects"] != _sizes(name, value)["objects"]:
            sys.exit(f"torchvision found {answer['objects']} objects, not {_sizes(name, value)['objects']}.")
        seconds.append(round(answer["processor_seconds"], 3))
    return {"values": values, "seconds": seconds, "exponent": _exponent(values, seconds)}


def _case(name: str, value: float) -> Callable[[], Any]:
    """What is timed: one call for the images of a case."""
    rng = np.random.default_rng(0)
    sizes = _sizes(name, value)
    side, batch, num_objects = sizes["side"], sizes["batch"], sizes["objects"]
    model = _model(sizes["classes"], num_objects)
    images = [rng.integers(0, 256, (side, side, 3), np.uint8) for _ in range(batch)]

    def run() -> None:
        found = model.detect(images, batch_size=batch)
        assert all(len(detections.rle()) == num_objects for detections in found)

    return run


@lru_cache(maxsize=1)
def _model(num_classes: int, num_objects: int) -> maskrcnn.MaskRCNN:
    return maskrcnn.MaskRCNN.from_preset(
        "mobilenet_v2_fpn",
        num_classes=num_classes,
        weights=None,
        seed=0,
        image__short_side=SIDE,
        image__long_side=SIDE,
        detect__score=0.0,
        detect__nms_iou=1.0,
        detect__max_detections=num_objects,
    )


def _least(run: Callable[[], Any], rounds: int) -> float:
    run()
    times = []
    for _ in range(rounds):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return round(min(times), 3)


def _exponent(values: Sequence[float], seconds: Sequence[float]) -> float:
    """Of the power of the value by which the time grew over the last step: 1 is linear, more is worse."""
    return round(float(np.log(seconds[-1] / seconds[-2]) / np.log(values[-1] / values[-2])), 2)


def _draw(path: Path, label: str, values: Sequence[float], seconds: Sequence[float]) -> None:
    figure, axes = plt.subplots(figsize=(4, 3), layout="constrained")
    axes.plot(values, seconds, "o-", label="measured")
    linear = [seconds[0] * value / values[0] for value in values]
    axes.plot(values, linear, ":", color="grey", label="linear from the first")
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel="processor seconds", ylim=(min(seconds) / 2, max(seconds) * 4))
    axes.legend()
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    main()
