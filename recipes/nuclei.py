"""Cell nuclei in microscope pictures, MobileNetV2-FPN on two processor cores.

Data: Data Science Bowl 2018, stage 1, corrected masks, as COCO JSON; 469 pictures to train, 89 to validate, 1 to 375 nuclei
a picture.

Command:
    python recipes/nuclei.py FOLDER --init mobilenet_v2_imagenet.npz --out runs/nuclei

FOLDER holds `train.json` and `val.json` with their pictures in `train/` and `val/`. Without `--init` the ImageNet backbone
comes from `keras.applications`.

Machine: two processor cores, TensorFlow 2.21, no GPU. Time: 57 minutes with other work on the same cores (67 on the clock, of
which it was halted for 10), evaluation after each of the 6 epochs included.

Scores on the 89 validation pictures, at most 400 detections a picture:
    mask AP 0.608, AP50 0.894, AP75 0.665; box AP 0.593, AP50 0.895, AP75 0.655

One run, seed 0; the spread over seeds was not measured.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from maskrcnn.train import train

# Nuclei are 5 to 60 pixels wide in pictures of 256: at 512 the smallest anchor, 16, is half the smallest usual one.
SETTINGS = {
    "model": "mobilenet_v2_fpn",
    "image_size": 512,
    "epochs": 6,
    "batch_size": 2,
    "optimizer": "adam",
    "learning_rate": 4e-4,
    "anchors__sizes": ((16,), (32,), (64,), (128,), (256,)),
    "rpn__train_proposals": 1000,
    "rpn__top_k": 1000,
    "rpn__proposals": 1000,
    "roi_sampler__num_sampled": 256,
    "detect__max_detections": 400,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Train on the nuclei of the Data Science Bowl 2018.")
    parser.add_argument("folder", type=Path, help="holds train.json and val.json")
    parser.add_argument("--init", default="auto", help="ImageNet weights of MobileNetV2, a file")
    parser.add_argument("--out", type=Path, default=Path("runs/nuclei"))
    arguments = parser.parse_args()
    started = time.monotonic()
    train(arguments.folder / "train.json", arguments.folder / "val.json", arguments.out, init=arguments.init, **SETTINGS)
    print(f"Trained in {(time.monotonic() - started) / 60:.0f} minutes; the scores are in {arguments.out / 'metrics.json'}.")


if __name__ == "__main__":
    main()
