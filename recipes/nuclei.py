"""Cell nuclei in microscope images, MobileNetV2-FPN on two processor cores.

Data: Data Science Bowl 2018, stage 1, corrected masks, as COCO JSON; 469 images to train, 89 to validate, 1 to 375 nuclei
an image.

Command:
    python recipes/nuclei.py FOLDER --init mobilenet_v2_imagenet.npz --out runs/nuclei

FOLDER holds `train.json` and `val.json` with their images in `train/` and `val/`. Without `--init` the ImageNet backbone
comes from `keras.applications`.

The validation images choose nothing: the model is that of the last step, and the score from which a detection counts in the
Data Science Bowl's measure is the best one for 60 of the training images. `nuclei.keras`, which the recipe writes last, is
the file that comes with the package.

Machine: two processor cores with AVX-512, TensorFlow 2.21, no GPU. Time: 39 minutes, 73 minutes of processor time.

Scores on the 89 validation images, at most 400 detections an image:
    mask AP 0.584, AP50 0.897, AP75 0.640; box AP 0.551, AP50 0.887, AP75 0.611
    from a score of 0.90 on: Data Science Bowl 0.549, TP/(TP+FP+FN) 0.769 at an IoU of 0.5 and 0.609 at 0.75

StarDist 2D, trained on the same images with its published defaults (50 epochs, 70 minutes of processor time), has 0.433 on
the Data Science Bowl's measure, 0.717 at an IoU of 0.5 and 0.467 at 0.75.

torchvision's Mask R-CNN (`bench/torchvision_train.py`), from the same ImageNet file with torchvision's defaults at 512 pixels,
got through 385 steps in 75 minutes of processor time: mask AP 0.464, AP50 0.805, AP75 0.496; box AP 0.487. From a score of 0.5
on it has 0.420 on the Data Science Bowl's measure, 0.671 at an IoU of 0.5 and 0.465 at 0.75; with 0.70, the best for the
validation images themselves, 0.441, 0.690 and 0.497.

One run, seed 0; the spread over seeds was not measured. An earlier recipe (6 epochs of whole images at 512 pixels, mirrored,
Adam at 4e-4) had better COCO scores after as much time, mask AP 0.608 and box AP 0.593; its other scores were not measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import maskrcnn
from maskrcnn.config.augment import AUGMENTATIONS
from maskrcnn.config.fields import replace
from maskrcnn.inference.scoring import best_score_threshold, write_scores

# Nuclei are 5 to 60 pixels wide in images of 256, so the model sees them enlarged, and its smallest anchor is 8 (`maskrcnn
# data stats`). It trains on crops, which is faster than whole images. The fullest image has 375 nuclei.
SETTINGS = {
    "model": "mobilenet_v2_fpn",
    "image_size": 640,
    "augment": replace(AUGMENTATIONS["microscopy"], crop=384, jitter=(0.5, 1.5)),
    "epochs": 12,
    "batch_size": 2,
    "learning_rate": 5e-4,
    "ema": 0.998,
    "anchors__sizes": ((8,), (16,), (32,), (64,), (128,)),
    "rpn__top_k": 1000,
    "rpn__proposals": 1000,
    "roi_sampler__positive_fraction": 0.5,  # crops hold many nuclei and little else
    "box_head__hidden": 256,  # one class needs no more, and the file is two fifths smaller
    "detect__max_detections": 400,
}

ORIGIN = (
    "trained on the nuclei of the Data Science Bowl 2018 (CC0) from an ImageNet MobileNetV2 (Apache-2.0); licence: Apache-2.0"
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train on the nuclei of the Data Science Bowl 2018.")
    parser.add_argument("folder", type=Path, help="holds train.json and val.json")
    parser.add_argument("--init", default="auto", help="ImageNet weights of MobileNetV2, a file")
    parser.add_argument("--out", type=Path, default=Path("runs/nuclei"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on with a run that was cut short")
    arguments = parser.parse_args()
    started, busy = time.monotonic(), time.process_time()
    train_data, val_data = (maskrcnn.load_dataset(arguments.folder / f"{part}.json") for part in ("train", "val"))
    run = {"init": arguments.init, "seed": arguments.seed, "resume": arguments.resume}
    maskrcnn.train(train_data, None, arguments.out, **run, **SETTINGS)
    print(f"Trained in {(time.monotonic() - started) / 60:.0f} minutes, {(time.process_time() - busy) / 60:.0f} of a core.")
    model = maskrcnn.load_model(arguments.out)
    threshold = best_score_threshold(model, dataclasses.replace(train_data, samples=train_data.samples[:60]))
    scores = maskrcnn.evaluate(model, val_data, biology=threshold)
    write_scores(arguments.out / "scores.json", scores)
    for kind in ("mask", "box"):
        print(kind, {name: round(scores[kind][name], 3) for name in ("AP", "AP50", "AP75")})
    print(f"biology, from a score of {threshold:.2f}:", scores["biology"])
    maskrcnn.convert(arguments.out, arguments.out / "nuclei.keras", precision="float16", origin=ORIGIN)


if __name__ == "__main__":
    main()
