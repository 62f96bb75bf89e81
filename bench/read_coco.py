"""Reading a COCO JSON as large as COCO's own: time and memory beside pycocotools and supervision, each in a process of its own.

    python bench/read_coco.py --images 118000 --objects 860000

Annotations are drawn (polygons of 10 to 60 corners, one crowd in a hundred); images are one file with as many names (links).
This package looks whether images are there and how large they are, which the others do not. pycocotools is measured twice:
loading alone, which leaves polygons as they are, and with `annToRLE` of every object, which is what `load_dataset` gives.
supervision holds a bitmap of the whole image for each object, 300 KB, so that it gets a part of the images alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (480, 640)  # height, width
LINKS = 50_000  # names of one file: ext4 allows 65,000
OURS = """
from maskrcnn.data.dataset import load_dataset
data = load_dataset({path!r}, verify_images=False)
count = sum(len(sample.rles) for sample in data.samples)
"""
LOADING = """
from pycocotools.coco import COCO
data = COCO({path!r})
count = len(data.anns)
"""
RUNS = {
    "maskrcnn.load_dataset": OURS,
    "pycocotools, loading alone": LOADING,
    "pycocotools and annToRLE": LOADING + "masks = [data.annToRLE(each) for each in data.anns.values()]\n",
}
SUPERVISION = """
import supervision, os
data = supervision.DetectionDataset.from_coco(os.path.splitext({path!r})[0], {path!r})
count = sum(len(each) for each in data.annotations.values())
"""


def write(folder: Path, num_images: int, num_objects: int) -> Path:
    """A JSON with so many images and objects, and the images beside it."""
    rng = np.random.default_rng(0)
    (folder / "data").mkdir()
    first = folder / "data/000000.jpg"
    Image.fromarray(rng.integers(0, 256, (*SIZE, 3), np.uint8)).save(first)
    for number in range(1, num_images):
        path = folder / f"data/{number:06d}.jpg"
        if number % LINKS == 0:
            first = Path(shutil.copyfile(first, path))
        else:
            os.link(first, path)
    images = [{"id": k + 1, "file_name": f"{k:06d}.jpg", "height": SIZE[0], "width": SIZE[1]} for k in range(num_images)]
    categories = [{"id": k + 1, "name": f"class {k + 1}"} for k in range(80)]
    path = folder / "data.json"
    with open(path, "w") as file:
        file.write(f'{{"images": {json.dumps(images)}, "annotations": [')
        for number in range(num_objects):
            file.write((", " if number else "") + json.dumps(_annotation(rng, number, num_images)))
        file.write(f'], "categories": {json.dumps(categories)}}}')
    return path


def _annotation(rng: np.random.Generator, number: int, num_images: int) -> dict[str, Any]:
    corners = int(rng.integers(10, 61))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radius = rng.uniform(10, 80) * rng.uniform(0.7, 1.0, corners)
    points = np.stack([rng.uniform(80, 560) + radius * np.cos(angles), rng.uniform(80, 400) + radius * np.sin(angles)], 1)
    low, high = points.min(axis=0), points.max(axis=0)
    return {
        "id": number + 1,
        "image_id": int(rng.integers(num_images)) + 1,
        "category_id": int(rng.integers(80)) + 1,
        "segmentation": [points.round(2).ravel().tolist()],
        "bbox": [*low.round(2).tolist(), *(high - low).round(2).tolist()],
        "area": _area(points),
        "iscrowd": int(number % 100 == 0),
    }


def _area(points: np.ndarray) -> float:
    x, y = points.T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def measure(name: str, code: str, path: Path) -> None:
    """Runs the code in a process of its own and prints what it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    told = "peak = [row.split()[1] for row in open('/proc/self/status') if row.startswith('VmHWM')]\nprint(count, *peak)"
    words = [sys.executable, "-c", code.format(path=str(path)) + told]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    count, memory = done.stdout.splitlines()[-1].split()
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    took = f"{seconds:.1f} s ({processor:.1f} s of processor), {int(memory) / 1024:.0f} MB at most"
    print(f"{name}: {count} objects, {took}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=118_000)
    parser.add_argument("--objects", type=int, default=860_000)
    parser.add_argument("--supervision-images", type=int, default=1_000, help="0: without supervision")
    arguments = parser.parse_args()
    per_image = arguments.objects / arguments.images
    few = arguments.supervision_images
    for num_images, runs in ((few, RUNS | {"supervision": SUPERVISION}), (arguments.images, RUNS)):
        if not num_images:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = write(Path(folder), num_images, round(num_images * per_image))
            print(f"{num_images} images, {round(num_images * per_image)} objects, {path.stat().st_size / 1e6:.0f} MB of JSON")
            for name, code in runs.items():
                measure(name, code, path)


if __name__ == "__main__":
    main()
