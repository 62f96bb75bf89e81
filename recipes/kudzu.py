"""Kudzu bugs: twenty-four photos with hundreds of small insects. MobileNetV2-FPN on two processor cores.

Data: 24 photos of 768×576 pixels to train and 16 to score, 869 bugs of one class (lesc-ufv/kudzu-dataset, MIT), in the JSON of
the VGG Image Annotator (VIA), one file in each folder.

Command:
    python recipes/kudzu.py FOLDER --init mobilenet_v2_imagenet.npz --out runs/kudzu

Machine: one processor core with AVX-512, TensorFlow 2.21, no GPU. Time: 18 minutes beside other work, 14 of processor time.

Scores on the 16 photos, at most 150 detections a photo: mask AP 0.199, AP50 0.563, AP75 0.075; box AP 0.212, AP50 0.542, AP75
0.118. The outlines of the truth are a few strokes each, of bugs about ten pixels wide, which AP75 shows.

torchvision's Mask R-CNN (`bench/torchvision_train.py`) from the same ImageNet file with its own defaults at 576 pixels, the
photos' own size, and anchors from 16 to 256, got through 56 steps in as much processor time and found nothing yet: all scores
0.000. One run each, seed 0.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import maskrcnn
from maskrcnn.config.augment import AUGMENTATIONS
from maskrcnn.config.fields import replace
from maskrcnn.inference.scoring import write_scores

# Size, anchors and detections are those that `maskrcnn data stats` suggests for these photos.
SETTINGS = {
    "model": "mobilenet_v2_fpn",
    "image_size": 1024,
    "augment": replace(AUGMENTATIONS["photos"], crop=448, jitter=(0.6, 1.6), vertical_flip=0.5, turns=0.75),
    "epochs": 50,  # of twelve steps
    "batch_size": 2,
    "learning_rate": 5e-4,
    "ema": 0.98,
    "anchors__sizes": ((12,), (24,), (48,), (96,), (192,)),
    "roi_sampler__num_sampled": 128,
    "box_head__hidden": 256,
    "detect__max_detections": 150,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Train on twenty-four photos of kudzu bugs.")
    parser.add_argument("folder", type=Path, help="holds train/ and val/, each with its images and a VIA file")
    parser.add_argument("--init", default="auto", help="ImageNet weights of MobileNetV2, a file")
    parser.add_argument("--out", type=Path, default=Path("runs/kudzu"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=SETTINGS["epochs"])
    arguments = parser.parse_args()
    started, busy = time.monotonic(), time.process_time()
    train_data, val_data = (maskrcnn.load_dataset(arguments.folder / part) for part in ("train", "val"))
    settings = SETTINGS | {"epochs": arguments.epochs}
    maskrcnn.train(train_data, None, arguments.out, init=arguments.init, seed=arguments.seed, **settings)
    print(f"Trained in {(time.monotonic() - started) / 60:.0f} minutes, {(time.process_time() - busy) / 60:.0f} of a core.")
    scores = maskrcnn.evaluate(maskrcnn.load_model(arguments.out), val_data)
    write_scores(arguments.out / "scores.json", scores)
    for kind in ("mask", "box"):
        print(kind, {name: round(scores[kind][name], 3) for name in ("AP", "AP50", "AP75")})


if __name__ == "__main__":
    main()
