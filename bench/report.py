"""How long the error report takes beside the evaluation itself, and how much memory.

python bench/report.py [--num-images 5000] [--num-objects 30] [--parts] [--out report.json]

Images of 640 × 480 pixels with ellipses, and for each image as many results, of every kind of error; eight classes. The
evaluation (rows of results beside the ground truth) is made before the clock starts. Memory is the most that the process held
while the report was made, less what it held before.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from maskrcnn.atomic import write_json, write_png
from maskrcnn.config.model import Category
from maskrcnn.geometry.masks import mask_to_box
from maskrcnn.geometry.rle import mask_to_rle, rle_area
from maskrcnn.metrics.analysis import analyse
from maskrcnn.metrics.coco import evaluate_coco
from maskrcnn.metrics.rows import Evaluation, collect_rows
from maskrcnn.reports.errors import write_error_report
from maskrcnn.structures import Sample
from maskrcnn.verbs.evaluate import read_rgb

SIZE = (480, 640)
CATEGORIES = tuple(Category(number, f"class {number}") for number in range(1, 9))
NUM_SHAPES = 2000  # objects that images draw from


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of the error report.")
    parser.add_argument("--num-images", type=int, default=5000)
    parser.add_argument("--num-objects", type=int, default=30)
    parser.add_argument("--parts", action="store_true", help="Say where the time goes.")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.png"
        write_png(image, np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8))
        samples, results = data_of(arguments.num_images, arguments.num_objects, str(image))
        started = time.perf_counter()
        scores = evaluate_coco(samples, CATEGORIES, results)
        evaluation = Evaluation(samples, CATEGORIES, collect_rows(samples, CATEGORIES, results))
        found: dict[str, Any] = {"images": len(samples), "objects": len(evaluation.objects), "results": len(evaluation.rows)}
        found["seconds_of_scoring"] = round(time.perf_counter() - started, 1)
        profile = cProfile.Profile()
        with Memory() as memory:
            started, work = time.perf_counter(), time.process_time()
            if arguments.parts:
                profile.enable()
            analysis = analyse(evaluation)
            found["seconds_of_analysis"] = round(time.perf_counter() - started, 1)
            write_error_report(Path(folder) / "report", evaluation, analysis, scores, title="Bench", read=read_rgb)
            profile.disable()
            found["seconds_of_report"] = round(time.perf_counter() - started, 1)
        found["processor_seconds_of_report"] = round(time.process_time() - work, 1)
        found["gigabytes_beyond"] = round(memory.most / 1e9, 2)
        found["megabytes_of_page"] = round((Path(folder) / "report" / "report.html").stat().st_size / 1e6, 2)
        found["boundary_images"] = analysis["boundary"]["images"]
    print(json.dumps(found))
    if arguments.parts:
        pstats.Stats(profile).sort_stats("cumulative").print_stats("maskrcnn|hotcoco", 30)
    if arguments.out:
        write_json(arguments.out, found)


class Memory:
    """The most that this process held while it was open, beyond what it held before; `most` in bytes."""

    def __enter__(self) -> Memory:
        self.most, self._done, self._process = 0, threading.Event(), psutil.Process()
        self._before = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.most = max(self.most, self._process.memory_info().rss - self._before)


def data_of(num_images: int, num_objects: int, path: str) -> tuple[list[Sample], list[dict[str, Any]]]:
    """Samples, and rows of a COCO result file."""
    rng = np.random.default_rng(0)
    shapes = [_shape(rng) for _ in range(NUM_SHAPES)]
    samples, results = [], []
    for image_id in range(1, num_images + 1):
        chosen = rng.integers(0, NUM_SHAPES, num_objects).tolist()
        labels = rng.integers(0, len(CATEGORIES), num_objects)
        samples.append(
            Sample(
                image_id=image_id,
                file_name=f"{image_id}.png",
                path=path,
                size=SIZE,
                boxes=np.array([shapes[k][0][1] for k in chosen], np.float32),
                labels=labels.astype(np.int32),
                crowd=np.zeros(num_objects, bool),
                rles=[shapes[k][0][0] for k in chosen],
                areas=np.array([shapes[k][0][2] for k in chosen], np.float32),
                annotation_ids=np.arange(num_objects) + num_objects * image_id,
            )
        )
        for k, label in zip(chosen, labels.tolist()):
            wrong_place, wrong_class = rng.random(2) < 0.15
            rle, box, _ = shapes[int(rng.integers(NUM_SHAPES))][1] if wrong_place else shapes[k][1]
            results.append(
                {
                    "image_id": image_id,
                    "category_id": CATEGORIES[int(rng.integers(len(CATEGORIES))) if wrong_class else label].id,
                    "score": float(rng.beta(2, 5) if wrong_place or wrong_class else rng.beta(5, 2)),
                    "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    "segmentation": rle,
                }
            )
    return samples, results


def _shape(rng: np.random.Generator) -> list[tuple[dict[str, Any], list[float], float]]:
    """(mask, box, area) of an object, and of a result that found it, more or less."""
    centre, axes, angle = rng.uniform(0, SIZE[::-1]), rng.uniform(6, 60, 2), rng.uniform(0, 180)
    pair = []
    for spread in (0.0, 0.06):
        moved, grown = centre + rng.normal(0, spread, 2) * axes, axes * np.exp(rng.normal(0, spread, 2))
        mask = np.zeros(SIZE, np.uint8)
        inside = np.clip(np.rint(moved), 8, np.array(SIZE[::-1]) - 8).astype(int).tolist()
        cv2.ellipse(mask, inside, np.maximum(np.rint(grown), 2).astype(int).tolist(), angle, 0, 360, 1, -1)
        rle = mask_to_rle(mask.astype(bool))
        pair.append((rle, mask_to_box(mask.astype(bool)).tolist(), float(rle_area(rle))))
    return pair


if __name__ == "__main__":
    main()
