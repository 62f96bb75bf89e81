"""Do images come as fast as a training step takes them?

python bench/loader.py ../shared/data/coco128/train.json [--augment photos microscopy] [--seconds 15] [--out loader.json]

Batches of two 512×512 images, augmented: images a second from the loader, in threads and from two worker processes, with
nothing else going on; and those that training steps of MobileNetV2-FPN and ResNet-50-FPN take, of one of these batches.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import maskrcnn
from maskrcnn.atomic import write_json
from maskrcnn.data.dataset import load_dataset

SIDE, BATCH = 512, 2
PRESETS = ("mobilenet_v2_fpn", "resnet50_fpn")
SIDES = {"image__short_side": SIDE, "image__long_side": SIDE}


def main() -> None:
    parser = argparse.ArgumentParser(description="The loader's speed beside the training's.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--augment", nargs="+", default=["photos", "microscopy"])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.data)
    names = [category.name for category in dataset.categories]
    models = {preset: maskrcnn.MaskRCNN.from_preset(preset, class_names=names, weights=None, **SIDES) for preset in PRESETS}
    model = models[PRESETS[0]]
    found: dict[str, Any] = {"loader": {}, "training": {}}
    for augment in arguments.augment:
        for workers in (0, 2):
            loader = model.loader(
                dataset, batch_size=BATCH, shuffle=True, repeat=True, augment=augment, num_workers=workers, seed=1
            )
            key = f"{augment}, {f'{workers} processes' if workers else 'threads'}"
            found["loader"][key] = rate(iter(loader), arguments.seconds)
            print(key, found["loader"][key], "images/s", flush=True)
    batch = model.loader(dataset, batch_size=BATCH, augment=arguments.augment[0], shuffle=True).batch(0)
    for preset, each in models.items():
        each.compile("sgd")
        for _ in range(2):
            each.train_on_batch(batch)
        started = time.perf_counter()
        for _ in range(arguments.steps):
            each.train_on_batch(batch)
        found["training"][preset] = round(BATCH * arguments.steps / (time.perf_counter() - started), 2)
        print(preset, found["training"][preset], "images/s", flush=True)
    print(json.dumps(found))
    if arguments.out:
        write_json(arguments.out, found)


def rate(batches: Any, seconds: float) -> float:
    """Images a second, after the first batches, which start threads and processes and fill what waits."""
    for _ in range(10):
        next(batches)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        next(batches)
        count += BATCH
    return round(count / (time.perf_counter() - started), 1)


if __name__ == "__main__":
    main()
