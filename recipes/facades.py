"""Windows, shops, cars and seven more classes in photos of streets, MobileNetV2-FPN on one processor core.

Data: 402 street photos of 640×640 pixels with 12,942 objects of ten classes (a-hwang/building-facade-segmentation, CC BY 4.0),
as COCO JSON; 343 photos to train, 59 to validate.

Command:
    python recipes/facades.py FOLDER --init mobilenet_v2_imagenet.npz --out runs/facades

FOLDER holds `train.json` and `val.json` with their images in `train/` and `val/`. Without `--init` the ImageNet backbone
comes from `keras.applications`.

The validation photos choose nothing: the model is that of the last step.

Scores on the 59 validation photos, at most 150 detections a photo, one run with `--precision bfloat16`, which took 44
minutes of one core (Intel Xeon with AMX; a step 0.78 s in its last epoch, other work beside it):

    masks   AP 0.180, AP50 0.353, AP75 0.165
    boxes   AP 0.193, AP50 0.356, AP75 0.189

    mask AP50: facade 0.894, window 0.699, street 0.464, balcony-fence 0.459, car 0.341, vegetation 0.298, fence 0.287,
    shop 0.064, non-building-infrastructure 0.026, traffic-infrastructure 0.000

Windows, facades and balcony fences are found well; what has few examples (114 shops, 136 non-building infrastructure, 175
traffic infrastructure) has not been learned yet. The loss was still falling, from 0.93 to 0.90 in the last epoch. The run was
made before the gradients of biases in bfloat16 were corrected (see the changelog). No such model comes with the package.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import maskrcnn
from maskrcnn.inference.scoring import write_scores

# A training of few steps on one core: photos are seen whole, because half of a facade is no facade; one a step, so that there
# are more steps; and only mirrored, because strong augmentation pays in longer trainings.
SETTINGS = {
    "model": "mobilenet_v2_fpn",
    "image_size": 512,
    "epochs": 10,
    "batch_size": 1,
    "learning_rate": 3e-4,
    "ema": 0.998,
    "anchors__sizes": ((20,), (40,), (80,), (160,), (352,)),  # windows are 30 pixels wide (median), facades fill the photo
    "roi_sampler__num_sampled": 128,
    "box_head__hidden": 256,
    "detect__max_detections": 150,  # the fullest photo has 122 objects
}

ORIGIN = (
    "trained on the street photos of a-hwang/building-facade-segmentation (CC BY 4.0) from an ImageNet MobileNetV2 "
    "(Apache-2.0); licence: Apache-2.0"
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train on photos of streets.")
    parser.add_argument("folder", type=Path, help="holds train.json and val.json")
    parser.add_argument("--init", default="auto", help="ImageNet weights of MobileNetV2, a file")
    parser.add_argument("--out", type=Path, default=Path("runs/facades"))
    parser.add_argument("--epochs", type=int, default=SETTINGS["epochs"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="float32", help="bfloat16 is faster on processors with AMX, and on GPUs")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was cut short")
    arguments = parser.parse_args()
    started, busy = time.monotonic(), time.process_time()
    train_data, val_data = (maskrcnn.load_dataset(arguments.folder / f"{part}.json") for part in ("train", "val"))
    run = {name: getattr(arguments, name) for name in ("init", "seed", "precision", "resume")}
    maskrcnn.train(train_data, None, arguments.out, **run, **(SETTINGS | {"epochs": arguments.epochs}))
    print(f"Trained in {(time.monotonic() - started) / 60:.0f} minutes, {(time.process_time() - busy) / 60:.0f} of a core.")
    scores = maskrcnn.evaluate(maskrcnn.load_model(arguments.out), val_data)
    write_scores(arguments.out / "scores.json", scores)
    for kind in ("mask", "box"):
        print(kind, {name: round(scores[kind][name], 3) for name in ("AP", "AP50", "AP75")})
    maskrcnn.convert(arguments.out, arguments.out / "facades.keras", precision="float16", origin=ORIGIN)


if __name__ == "__main__":
    main()
