"""Memory of `predict` over many pictures: does it stay flat?

python bench/predict_memory.py MODEL PICTURES... [--num-pictures 500]

The pictures (files, folders, globs) are predicted round and round until there were enough, each with its overlay, label map and
row of predictions.json. Prints the resident memory as it goes and a JSON line at the end; the slope is over the second half.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import tempfile
from pathlib import Path

import numpy as np

from maskrcnn.api import load_model
from maskrcnn.data.images import find_pictures, read_image
from maskrcnn.predict import detect
from maskrcnn.results.files import PredictionWriter

MEGABYTE = 1 << 20


def resident() -> float:
    """Megabytes this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MEGABYTE


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory of predict over many pictures.")
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--num-pictures", type=int, default=500)
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    paths = itertools.islice(itertools.cycle(find_pictures(arguments.pictures)), arguments.num_pictures)
    held, num_objects = [], 0
    with tempfile.TemporaryDirectory() as folder, PredictionWriter(folder) as writer:
        for number, path in enumerate(paths, start=1):
            image = read_image(path)
            (detections,) = detect(model, [image], score=0.5)
            writer.write(path, image, detections, model.config.categories)
            num_objects += len(detections)
            held.append(resident())
            if number % 50 == 0 or number == 1:
                print(f"{number:5d} pictures, {num_objects:7d} objects: {held[-1]:7.0f} MB")
    half = len(held) // 2
    slope = np.polyfit(np.arange(half, len(held)), held[half:], 1)[0] if half > 1 else 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {
                "pictures": len(held),
                "objects": num_objects,
                "peak_mb": round(peak),
                "slope_kb_a_picture": round(slope * 1024, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
