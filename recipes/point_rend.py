"""What PointRend's mask head gains at the borders of masks, and what it costs: beside a plain mask head, as many steps each.

Data: as in `recipes/nuclei.py`, or any folder with `train.json` and `val.json`.

Command:
    python recipes/point_rend.py FOLDER --init mobilenet_v2_imagenet.npz --epochs 2 --out runs/point-rend

Boundary AP and IoU are those of `maskrcnn.metrics.boundary`; minutes and seconds are of the processor.

Scores on 89 validation images of nuclei after one epoch (235 steps of two images), two seeds, mean and standard deviation
(Intel Xeon with AMX, one thread, other work beside):

                           mask AP          boundary AP      boundary IoU     minutes    seconds an image
    plain mask head, 28²   0.499 ± 0.002    0.481 ± 0.000    0.799 ± 0.002    4.0        0.49
    PointRend, 112²        0.499 ± 0.008    0.484 ± 0.010    0.803 ± 0.003    4.0        1.38

So on nuclei, which are 5 to 100 pixels wide, nothing is gained beyond the spread. Large objects were not measured.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from variants import Scores, compare

from maskrcnn.config.augment import AugmentConfig

BASELINE: dict[str, Any] = {
    "model": "mobilenet_v2_fpn",
    "image_size": 512,
    "augment": AugmentConfig(vertical_flip=0.5, turns=0.75, jitter=(0.75, 1.35), crop=320),
    "batch_size": 2,
    "learning_rate": 6e-4,
    "ema": 0.98,
    "anchors__sizes": ((12,), (24,), (48,), (96,), (192,)),
    "rpn__top_k": 500,
    "rpn__proposals": 500,
    "roi_sampler__num_sampled": 64,
    "box_head__hidden": 256,
    "detect__max_detections": 200,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain mask head, 28×28": {},
    "PointRend, 112×112": {"mask_head__kind": "point_rend", "mask_head__mask_size": 112},
}


def run(out: Path, changes: Mapping[str, Any], seed: int, *, folder: Path, init: str, epochs: int) -> Scores:
    """One training and its scores."""
    import maskrcnn

    train, val = (maskrcnn.load_dataset(folder / f"{part}.json", verify_images=False) for part in ("train", "val"))
    busy = time.process_time()
    maskrcnn.train(train, None, out, init=init, seed=seed, epochs=epochs, verbose=0, **{**BASELINE, **changes})
    trained = time.process_time()
    scores = maskrcnn.evaluate(maskrcnn.load_model(out), val)
    scored = time.process_time()
    edges = scores.analysis["boundary"]
    of_masks = {f"mask {name}": scores["mask"][name] for name in ("AP", "AP50", "AP75")}
    of_edges = {f"boundary {name}": edges[name] for name in ("AP", "AP50", "AP75")}
    found = [row for row in edges["per_class"].values() if row["boundary_IoU"] is not None]
    return {
        **of_masks,
        **of_edges,
        "boundary IoU": sum(row["boundary_IoU"] for row in found) / max(len(found), 1),
        "box AP": scores["box"]["AP"],
        "minutes of training": (trained - busy) / 60,
        "seconds an image": (scored - trained) / len(val),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="PointRend beside a plain mask head.")
    parser.add_argument("folder", type=Path, help="holds train.json and val.json")
    parser.add_argument("--init", default="auto", help="ImageNet weights of MobileNetV2, a file")
    parser.add_argument("--out", type=Path, default=Path("runs/point-rend"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1)
    arguments = parser.parse_args()
    run_here = partial(run, folder=arguments.folder, init=arguments.init, epochs=arguments.epochs)
    compare(VARIANTS, range(arguments.seeds), arguments.out, run_here)


if __name__ == "__main__":
    main()
