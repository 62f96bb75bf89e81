"""Accuracy after the same processor time from the same ImageNet weights, beside torchvision, on small real data sets.

python bench/accuracy.py DATA OUT --init mobilenet_v2_imagenet.npz --peer PYTHON [--sets nuts kudzu] [--seeds 3] [--seconds 150]

DATA holds the data sets' folders, each as its recipe or `SETS` describes it. PYTHON has torch, torchvision and pycocotools.
Everything runs on one thread. A cell, one data set, one way of training and one seed, is a process of its own; what is done is
not done again, so a comparison may be cut short and called anew, also for more sets, seeds or seconds.

The ways of training:

- `auto`: as `maskrcnn train` with no settings, which chooses image size, anchors, batch, augmentation and more from the data.
- `fixed`: as `maskrcnn train --no-auto`.
- `torchvision`: its Mask R-CNN on the same MobileNetV2, with its own defaults (`bench/torchvision_train.py`).
- `torchvision-ours`: the same with what `auto` chose: image size, anchors, number of detections, and Adam at our learning rate.

`--ways lite2=efficientnet_lite2_fpn:FILE` adds `auto` with another preset from another file.

OUT/accuracy.json gets every cell's scores: mask, box and boundary AP on images that were not trained on. A table shows means
and standard deviations of the seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import maskrcnn
from maskrcnn.annotations import coco_writing
from maskrcnn.atomic import write_json
from maskrcnn.data.dataset import Dataset
from maskrcnn.metrics.boundary import boundary_scores
from maskrcnn.metrics.coco import evaluate_coco
from maskrcnn.verbs.evaluate import read_results

HERE = Path(__file__).parent
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "KERAS_BACKEND": "tensorflow",
}
WAYS = ("auto", "fixed", "torchvision", "torchvision-ours")
SCORES = ("mask AP", "mask AP50", "box AP", "box AP50", "boundary AP")

Parts = tuple[Dataset, Dataset]


def _two_files(folder: Path) -> Parts:
    return maskrcnn.load_dataset(folder / "train.json"), maskrcnn.load_dataset(folder / "val.json")


def _last_apart(name: str, images: str | None, num_val: int) -> Callable[[Path], Parts]:
    """Of a data set that comes in one part the last images in the file's order are held out."""

    def read(folder: Path) -> Parts:
        data = maskrcnn.load_dataset(folder / name, images=folder / images if images else None)
        samples = data.samples
        return replace(data, samples=samples[:-num_val]), replace(data, samples=samples[-num_val:])

    return read


SETS: dict[str, Callable[[Path], Parts]] = {
    "nuts": _last_apart("trainval.json", None, 6),
    "mushrooms": _last_apart("train.json", None, 6),
    "kudzu": lambda folder: (maskrcnn.load_dataset(folder / "train"), maskrcnn.load_dataset(folder / "val")),
    "coco128": _last_apart("train.json", None, 32),
    "facades": _two_files,
    "nuclei": _two_files,
}


def prepare(name: str, source: Path, out: Path) -> tuple[Path, Path]:
    """Both parts as COCO JSON, the same for all; they are written once."""
    paths = tuple(out / part / coco_writing.FILE for part in ("train", "val"))
    if not all(path.is_file() for path in paths):
        for path, data in zip(paths, SETS[name](source), strict=True):
            coco_writing.write(data, path.parent, images="link")
    return paths[0], paths[1]


class Cell:
    """One training: a data set, a way and a seed."""

    def __init__(self, arguments: argparse.Namespace, data: str, way: str, seed: int) -> None:
        self.arguments, self.data, self.way, self.seed = arguments, data, way, seed
        self.folder = self._folder(way)
        self.train, self.val = prepare(data, arguments.data / data, arguments.out / "data" / data)

    def _folder(self, way: str) -> Path:
        return self.arguments.out / f"{self.data}-{self.arguments.seconds:g}s" / way / str(self.seed)

    def scores(self) -> dict[str, Any]:
        """Of the held-out images; what is missing for them is made first."""
        path = self.folder / "scores.json"
        if not path.is_file():
            if not (self.folder / "timings.json").is_file():
                print(f"{self.data}, {self.way}, seed {self.seed}", flush=True)
                (self._train_theirs if self.way.startswith("torchvision") else self._train_ours)()
            write_json(path, self._score())
        return json.loads(path.read_text())

    def _train_ours(self) -> None:
        command = [sys.executable, HERE / "train_for_seconds.py", self.train, self.val]
        preset, _, file = self.arguments.presets.get(self.way, "").partition(":")
        options = ["--init", file or self.arguments.init, "--seconds", self.arguments.seconds, "--seed", self.seed]
        options += ["--model", preset] if preset else []
        options += ["--no-auto"] if self.way == "fixed" else []
        probe = self.folder.parent / "probe" / "probe.json"
        if not probe.is_file():
            self._run([*command, probe.parent, *options, "--probe"])
        found = json.loads(probe.read_text())
        fitting = ["--first-seconds", found["first"], "--step-seconds", found["step"]]
        self._run([*command, self.folder, *options, *fitting, "--steps-an-epoch", found["steps_an_epoch"]])

    def _train_theirs(self) -> None:
        command = [self.arguments.peer, HERE / "torchvision_train.py", self.train, self.val, self.folder]
        images = ["--images", self.train.parent / "images", "--val-images", self.val.parent / "images"]
        options = ["--init", self.arguments.init, "--cpu-minutes", self.arguments.seconds / 60, "--seed", self.seed]
        options += ["--threads", 1]
        if self.way == "torchvision-ours":
            timings = self._folder("auto") / "timings.json"
            if not timings.is_file():
                sys.exit("torchvision-ours takes what auto chose: say --ways auto torchvision-ours.")
            ours = json.loads(timings.read_text())
            options += ["--min-size", ours["short_side"], "--max-size", ours["long_side"]]
            options += ["--anchor-sizes", *map(round, ours["anchor_sizes"]), "--max-detections", ours["max_detections"]]
            options += ["--optimizer", "adam", "--learning-rate", ours["learning_rate"]]
        self._run([*command, *images, *options])

    def _run(self, command: list[Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder.parent / f"{self.seed}.log").open("w") as log:
            subprocess.run(
                list(map(str, command)), check=True, env=os.environ | ONE_THREAD, stdout=log, stderr=subprocess.STDOUT
            )

    def _score(self) -> dict[str, Any]:
        """COCO's scores over as many detections as an image has, and boundary AP: the same code for every way."""
        data = maskrcnn.load_dataset(self.val)
        rows = json.loads((self.folder / "results.json").read_text())
        most = max([100, *Counter(row["image_id"] for row in rows).values()])
        limits = (1, 10, 100, most) if most > 100 else (1, 10, 100)
        scores = evaluate_coco(data.samples, data.categories, rows, max_detections=limits)
        evaluation = read_results(self.folder / "results.json", data.samples, data.categories)
        edges = boundary_scores(replace(evaluation, max_detections=most))
        timings = json.loads((self.folder / "timings.json").read_text())
        kept = ("steps", "epochs", "train_cpu_seconds", "predict_cpu_seconds", "short_side", "augment", "batch_size")
        return {
            "data": self.data,
            "way": self.way,
            "seed": self.seed,
            "seconds": self.arguments.seconds,
            **{name: timings.get(name) for name in kept},
            **{f"{kind} {name}": scores[kind][name] for kind in ("mask", "box") for name in ("AP", "AP50", "AP75")},
            **{f"boundary {name}": edges[name] for name in ("AP", "AP50", "AP75")},
        }


def print_table(cells: list[dict[str, Any]]) -> None:
    """A row for each data set and way: mean of its seeds and their standard deviation."""
    print(f"| data | way | seeds | steps | {' | '.join(SCORES)} |")
    print("|" + "---|" * (len(SCORES) + 4))
    rows: dict[tuple[str, float, str], list[dict[str, Any]]] = {}
    for cell in cells:
        rows.setdefault((cell["data"], cell["seconds"], cell["way"]), []).append(cell)
    for (data, seconds, way), runs in rows.items():
        steps = round(statistics.mean(run["steps"] for run in runs))
        means = " | ".join(_mean([run[name] or 0.0 for run in runs]) for name in SCORES)
        print(f"| {data}, {seconds:g} s | {way} | {len(runs)} | {steps} | {means} |", flush=True)


def _mean(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy after the same processor time, beside torchvision.")
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("out", type=Path, help="folder for the cells")
    parser.add_argument("--init", type=Path, required=True, help="ImageNet weights of MobileNetV2, a .npz")
    parser.add_argument("--peer", default=sys.executable, help="Python that has torchvision")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--ways", nargs="+", default=list(WAYS), help=f"{', '.join(WAYS)}, NAME=PRESET:FILE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=150.0, help="of processor time, for each training")
    arguments = parser.parse_args()
    arguments.presets = dict(way.split("=", 1) for way in arguments.ways if "=" in way)
    ways = [way.partition("=")[0] for way in arguments.ways]
    if unknown := set(ways) - set(WAYS) - arguments.presets.keys():
        parser.error(f"--ways knows {', '.join(WAYS)} and NAME=PRESET:FILE; received {', '.join(sorted(unknown))}.")
    for seed in arguments.seeds:
        for data in arguments.sets:
            for way in ways:
                Cell(arguments, data, way, seed).scores()
                cells = [json.loads(path.read_text()) for path in sorted(arguments.out.glob("*/*/*/scores.json"))]
                write_json(arguments.out / "accuracy.json", cells)
    print_table(cells)


if __name__ == "__main__":
    main()
