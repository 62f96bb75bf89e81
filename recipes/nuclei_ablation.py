"""What each part of the nuclei recipe is worth: one change a row, three seeds.

Data: as in `recipes/nuclei.py`. A short training, one epoch of its 469 images in crops of 256, so that eight settings and
three seeds fit into an hour; what takes longer to pay, or to hurt, shows less here than it would in the recipe itself.

Command:
    python recipes/nuclei_ablation.py FOLDER --init mobilenet_v2_imagenet.npz --out runs/ablation

Time: 70 minutes of one core of two (AVX-512) with TensorFlow: 2.5 minutes of training a run, and its scoring.

Scores on the 89 images of val, mean and standard deviation of the seeds:

| 3 seeds | mask AP | mask AP50 | mask AP75 | box AP | processor minutes |
|---|---|---|---|---|---|
| baseline | 0.463 ± 0.007 | 0.788 ± 0.009 | 0.501 ± 0.008 | 0.437 ± 0.010 | 2.5 |
| augmentation: mirrors and turns alone | 0.484 ± 0.005 | 0.801 ± 0.002 | 0.519 ± 0.004 | 0.465 ± 0.007 | 2.5 |
| EMA: none | 0.465 ± 0.007 | 0.787 ± 0.009 | 0.503 ± 0.008 | 0.442 ± 0.008 | 2.4 |
| dropout: 0.3 | 0.452 ± 0.005 | 0.782 ± 0.009 | 0.483 ± 0.006 | 0.408 ± 0.009 | 2.5 |
| weight decay: 0.05 | 0.462 ± 0.005 | 0.785 ± 0.010 | 0.497 ± 0.006 | 0.439 ± 0.007 | 2.5 |
| image scale: 256 pixels | 0.428 ± 0.000 | 0.745 ± 0.002 | 0.461 ± 0.004 | 0.414 ± 0.004 | 2.0 |
| anchors: 32 to 512 | 0.419 ± 0.009 | 0.690 ± 0.009 | 0.456 ± 0.017 | 0.391 ± 0.009 | 2.5 |
| schedule: constant rate | 0.462 ± 0.022 | 0.790 ± 0.008 | 0.495 ± 0.035 | 0.425 ± 0.017 | 2.5 |

Anchors of the objects' sizes and a larger image are worth 4.4 and 3.5 points of mask AP. Strong augmentation and dropout
cost 2.1 and 1.1 in so short a training. EMA, weight decay and the schedule change nothing beyond chance, but for a constant
rate's spread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from variants import Scores, compare

from maskrcnn.config.augment import AUGMENTATIONS, AugmentConfig
from maskrcnn.config.fields import replace

CROP = 256
MICROSCOPY = replace(AUGMENTATIONS["microscopy"], crop=CROP, jitter=(0.6, 1.6))
BASELINE: dict[str, Any] = {
    "model": "mobilenet_v2_fpn",
    "image_size": 384,
    "augment": MICROSCOPY,
    "epochs": 1,
    "batch_size": 2,
    "learning_rate": 6e-4,
    "ema": 0.98,
    "anchors__sizes": ((12,), (24,), (48,), (96,), (192,)),
    "rpn__top_k": 500,
    "rpn__proposals": 500,
    "roi_sampler__num_sampled": 64,
    "box_head__hidden": 256,
    "detect__max_detections": 400,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "augmentation: mirrors and turns alone": {
        "augment": AugmentConfig(vertical_flip=0.5, turns=0.75, jitter=(1.0, 1.0), crop=CROP)
    },
    "EMA: none": {"ema": 0.0},
    "dropout: 0.3": {"dropout": 0.3},
    "weight decay: 0.05": {"optimizer": "adamw", "weight_decay": 0.05},
    "image scale: 256 pixels": {"image_size": 256, "augment": replace(MICROSCOPY, crop=CROP * 2 // 3)},
    "anchors: 32 to 512": {"anchors__sizes": ((32,), (64,), (128,), (256,), (512,))},
    "schedule: constant rate": {"schedule": "constant"},
}


def run(out: Path, changes: Mapping[str, Any], seed: int, *, folder: Path, init: str) -> Scores:
    """One training and its scores."""
    import maskrcnn

    train, val = (maskrcnn.load_dataset(folder / f"{part}.json", verify_images=False) for part in ("train", "val"))
    busy = time.process_time()
    maskrcnn.train(train, None, out, init=init, seed=seed, verbose=0, **{**BASELINE, **changes})
    minutes = (time.process_time() - busy) / 60
    scores = maskrcnn.evaluate(maskrcnn.load_model(out), val)
    columns = {f"{kind} {name}": scores[kind][name] for kind, name in (("mask", "AP"), ("mask", "AP50"), ("mask", "AP75"))}
    return {**columns, "box AP": scores["box"]["AP"], "processor minutes": minutes}


def main() -> None:
    parser = argparse.ArgumentParser(description="One change at a time to the nuclei recipe.")
    parser.add_argument("folder", type=Path, help="holds train.json and val.json")
    parser.add_argument("--init", default="auto", help="ImageNet weights of MobileNetV2, a file")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    run_here = partial(run, folder=arguments.folder, init=arguments.init)
    compare(VARIANTS, range(arguments.seeds), arguments.out, run_here)


if __name__ == "__main__":
    main()
