"""What does Ray cost beside plain prediction, and does its driver grow with the images?

python bench/ray_predict.py ../shared/data/nuclei/val/images --images 40 --pairs 5 --tiny 20000 [--out ray.json]

First the same images and model, on the same cores: `predict` in one process, then one worker of Ray with all cores, and again,
so many pairs; without the start of either, wall clock and processor seconds an image, of all processes and of the worker. What
Ray costs is the median over the pairs of its ratio to plain prediction: one pair alone is at the mercy of what else the
machine does, its processor seconds less than its wall clock. Then a model without a
network over many tiny images: the driver's resident memory at the first shard, half-way and at the end; what an image takes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from maskrcnn.atomic import write_json
from maskrcnn.config.model import Category, ImageConfig, ModelConfig
from maskrcnn.distributed.ray import Workers, pack
from maskrcnn.structures import PaddedDetections
from maskrcnn.verbs import predict_many as verb

os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's own is 15: beside other work its workers would wait
SHARD = 4  # images; the first shard waits for the model and its first run, and is not counted
CORES = len(os.sched_getaffinity(0))
PLAIN = """
import json, sys, time, resource
from pathlib import Path
from maskrcnn.verbs.predict import open_model, predict_files
from maskrcnn.verbs.predict_many import _packed
import tempfile
paths, out = sys.argv[3:], sys.argv[2]
with tempfile.TemporaryDirectory() as folder:
    model = open_model(_packed(sys.argv[1]).unpack(Path(folder)))
predict_files(model, paths[:4], out + "/first", save=())
began, used = time.perf_counter(), time.process_time()
predict_files(model, paths[4:], out + "/rest", save=())
print(json.dumps({"wall": time.perf_counter() - began, "processor": time.process_time() - used}))
"""


class Watch:
    """Looks at the clock and at all processes whenever a shard is done."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def begin(self, total: int, about: str = "") -> None:
        print(about, flush=True)

    def advance(self) -> None:
        me = psutil.Process()
        processor = workers = 0.0
        for each in (me, *me.children(recursive=True)):
            times = each.cpu_times()
            processor += times.user + times.system
            if "_Worker" in "".join(each.cmdline()):
                workers += times.user + times.system
        now = time.perf_counter()
        self.seen.append({"wall": now, "processor": processor, "workers": workers, "driver": me.memory_info().rss})


class NoNetwork:
    """Finds one box in every image."""

    config = ModelConfig(categories=(Category(1, "thing"),), image=ImageConfig(short_side=32, long_side=32, resize="mmdet"))

    def predict_on_batch(self, batch: dict[str, Any]) -> PaddedDetections:
        count = len(batch["images"])
        ones = np.ones((count, 1))
        boxes = np.tile(np.float32([4, 4, 20, 20]), (count, 1, 1))
        return PaddedDetections(boxes, ones, ones.astype(int) - 1, np.ones((count, 1, 28, 28), np.float32), ones > 0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Ray beside plain prediction.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--tiny", type=int, default=20_000)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Any] = {"cores": CORES}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.images:
            paths = sorted(str(path.absolute()) for path in arguments.folder.iterdir())[: arguments.images]
            found["pairs"] = []
            for number in range(arguments.pairs):
                own = f"{folder}/{number}"
                pair = {"plain": plain(paths, arguments.model, own), "ray": with_ray(paths, arguments.model, own)}
                print(pair, flush=True)
                found["pairs"].append(pair)
            found["ray over plain, median"] = {
                name: round(statistics.median(pair["ray"][name] / pair["plain"][name] for pair in found["pairs"]), 3)
                for name in ("wall s an image", "processor s an image")
            }
        if arguments.tiny:
            found["tiny"] = tiny(arguments.tiny, Path(folder))
    print(json.dumps(found))
    if arguments.out:
        write_json(arguments.out, found)


def plain(paths: list[str], model: str, folder: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", PLAIN, model, folder, *paths], capture_output=True, text=True, check=True)
    return each(json.loads(done.stdout.splitlines()[-1]), len(paths) - SHARD)


def with_ray(paths: list[str], model: str, folder: str) -> dict[str, float]:
    watch = Watch()
    workers = Workers(number=1, cpus=CORES)
    verb.predict_many(paths, f"{folder}/ray", model=model, workers=workers, watcher=watch, shard_size=SHARD)
    return each(between(watch.seen[0], watch.seen[-1]), len(paths) - SHARD)


def tiny(count: int, folder: Path) -> dict[str, Any]:
    (folder / "tiny").mkdir()
    for number in range(count):
        Image.fromarray(np.full((16, 16, 3), number % 256, np.uint8)).save(folder / "tiny" / f"{number:06d}.png")
    (folder / "list.txt").write_text("".join(f"tiny/{number:06d}.png\n" for number in range(count)))
    (folder / "no-network").write_text("")
    verb._load, verb._packed = lambda _: NoNetwork(), lambda path: pack(Path(path))
    watch = Watch()
    workers = Workers(number=CORES, cpus=1)
    out, list_of_all = folder / "found", folder / "list.txt"
    many = verb.predict_many([list_of_all], out, model=folder / "no-network", workers=workers, watcher=watch, batch_size=8)
    assert many.totals == (count, count, 0), many
    seen = watch.seen
    memory = [round(seen[place]["driver"] / 1e6, 1) for place in (0, len(seen) // 2, -1)]
    files = [path for path in out.rglob("*") if path.is_file()]
    done = each(between(seen[0], seen[-1]), count - 256)
    size = sum(path.stat().st_size for path in files) / count
    return {"images": count, "driver MB": memory, "bytes an image": round(size, 1), "files": len(files)} | done


def between(first: dict[str, float], last: dict[str, float]) -> dict[str, float]:
    return {name: last[name] - first[name] for name in ("wall", "processor", "workers")}


def each(seconds: dict[str, float], count: int) -> dict[str, float]:
    return {f"{name} s an image": round(value / count, 5) for name, value in seconds.items()}


if __name__ == "__main__":
    main()
