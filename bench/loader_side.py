"""How many images a second does one core read for training, beside torchvision's references and Albumentations?

python bench/loader_side.py ../shared/data/coco128/train.json --images ../shared/data/coco128/train --torchvision PYTHON

In turn, so that whatever else the machine does falls on all: every image of the data read, flipped by chance, and brought to a
short side of 512 with its masks; one thread each. Counted are processor seconds. torchvision resizes on the device that trains,
so it is measured without that too; it and Albumentations leave whole masks, this package crops them to their boxes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median

from side import Side

from maskrcnn.atomic import write_json

SIDE = 512
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "KERAS_BACKEND": "torch"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Three loaders on one core.")
    parser.add_argument("data", type=Path, help="COCO")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--torchvision", required=True, help="a Python with torchvision and pycocotools")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    here = Path(__file__).parent
    ours, theirs = here / "loader_side_ours.py", here / "loader_side_torchvision.py"
    with Side(sys.executable, ours, **ONE_THREAD) as one, Side(arguments.torchvision, theirs, **ONE_THREAD) as other:
        count = one.ask("prepare", data=str(arguments.data), side=SIDE)["images"]
        other.ask("prepare", data=str(arguments.data), images=str(arguments.images))
        tasks = {
            "maskrcnn, flip": lambda: one.ask("maskrcnn", augment="flip"),
            "maskrcnn, photos": lambda: one.ask("maskrcnn", augment="photos"),
            "Albumentations, flip": lambda: one.ask("albumentations"),
            "torchvision, flip": lambda: other.ask("load", side=SIDE),
            "torchvision, flip, not resized": lambda: other.ask("load", side=0),
        }
        seconds: dict[str, list[float]] = {name: [] for name in tasks}
        for _ in range(arguments.rounds):
            for name, task in tasks.items():
                seconds[name].append(task()["processor_seconds"])
        stages = {augment: one.ask("stages", augment=augment) for augment in ("flip", "photos")}
    found = {
        "images a second of a core": {name: round(count / median(took), 1) for name, took in seconds.items()},
        "milliseconds an image": {
            augment: {name: round(1e3 * took / count, 2) for name, took in own.items()} for augment, own in stages.items()
        },
    }
    print(json.dumps(found, indent=1))
    if arguments.out:
        write_json(arguments.out, found)


if __name__ == "__main__":
    main()
