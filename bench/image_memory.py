"""How much memory one large image with many objects takes, from its file to overlay, label map and predictions.json.

python bench/image_memory.py [--preset resnet50_fpn] [--megapixels 16] [--objects 1000]

Random weights with a score threshold of 0 and no NMS, so that there are as many objects as are asked for, many of them large.
Prints a line of JSON: the process's peak, what it held before, and how much the image's files took beside the model's call.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

import maskrcnn
from maskrcnn.atomic import write_png
from maskrcnn.inference.whole import detect
from maskrcnn.verbs.predict import predict_files


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory of one large image.")
    parser.add_argument("--preset", default="resnet50_fpn")
    parser.add_argument("--megapixels", type=float, default=16)
    parser.add_argument("--objects", type=int, default=1000)
    arguments = parser.parse_args()
    model = maskrcnn.MaskRCNN.from_preset(
        arguments.preset,
        num_classes=80,
        weights=None,
        seed=0,
        detect__score=0.0,
        detect__nms_iou=1.0,
        detect__max_detections=arguments.objects,
    )
    side = round((arguments.megapixels * 1e6) ** 0.5)
    found = {"preset": arguments.preset, "side": side, "objects": arguments.objects, "before_mb": megabytes("VmRSS")}
    with tempfile.TemporaryDirectory() as folder:
        image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
        write_png(Path(folder) / "large.png", image)
        del image
        small = np.random.default_rng(1).integers(0, 256, (640, 640, 3), np.uint8)
        (first,) = detect(model, small)  # in the frame that a square image has, whatever its size
        found["found_in_a_small_one"] = len(first)
        found["model_mb"] = megabytes("VmHWM")
        started = time.perf_counter()
        failures = predict_files(model, [Path(folder) / "large.png"], Path(folder) / "found", score=0.0)
        assert not failures
        found["seconds"] = round(time.perf_counter() - started, 1)
        rows = json.loads((Path(folder) / "found" / "predictions.json").read_text())
    found |= {"rows": len(rows), "peak_mb": megabytes("VmHWM")}
    areas = [row["bbox"][2] * row["bbox"][3] / side**2 for row in rows]
    found["box_share"] = [round(float(np.quantile(areas, part)), 4) for part in (0.1, 0.5, 0.9)]
    print(json.dumps(found))


def megabytes(name: str) -> int:
    """A line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(round(int(line.split()[1]) * 1024 / 1e6) for line in lines if line.startswith(name + ":"))


if __name__ == "__main__":
    main()
