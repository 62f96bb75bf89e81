"""A rare class with and without class weights: five figs among fifty nuts, four seeds.

Data: `recipes/nuts.py`'s 18 photos. Seven of them, chosen for their few figs, to train: 30 dates, 18 hazelnuts and 5 figs. The
other eleven, with 41 dates, 35 hazelnuts and 36 figs, to score.

Command:
    python recipes/imbalance.py FOLDER --init mobilenet_v2_imagenet.npz --out runs/imbalance

Machine: one processor core with AVX-512, TensorFlow 2.21, no GPU. Time: about 4 minutes of processor time a run.

Scores on the eleven photos, mean and standard deviation of the seeds:

| | fig mask AP | fig AP50 | date mask AP | hazelnut mask AP | mask AP |
|---|---|---|---|---|---|
| no weights | 0.614 ± 0.028 | 0.940 ± 0.033 | 0.887 ± 0.008 | 0.751 ± 0.014 | 0.751 ± 0.013 |
| balanced weights | 0.634 ± 0.024 | 0.936 ± 0.044 | 0.878 ± 0.006 | 0.758 ± 0.013 | 0.757 ± 0.012 |

So here weights change nothing beyond chance: the mean of the figs rises by less than a standard deviation.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from variants import Scores, compare

from maskrcnn.config.augment import AUGMENTATIONS
from maskrcnn.config.fields import replace

TRAIN = (1, 5, 8, 10, 14, 16, 17)  # in the file's order
SETTINGS: dict[str, Any] = {
    "model": "mobilenet_v2_fpn",
    "image_size": 320,
    "augment": replace(AUGMENTATIONS["photos"], crop=320, jitter=(0.6, 1.6), vertical_flip=0.5, turns=0.75),
    "epochs": 60,  # of four steps
    "batch_size": 2,
    "learning_rate": 5e-4,
    "ema": 0.98,
    "roi_sampler__num_sampled": 64,
    "box_head__hidden": 256,
}
VARIANTS: dict[str, dict[str, Any]] = {"no weights": {}, "balanced weights": {"class_weights": "balanced"}}


def run(out: Path, changes: Mapping[str, Any], seed: int, *, folder: Path, init: str) -> Scores:
    """One training and the mask AP of each class, the rare one first."""
    import maskrcnn

    data = maskrcnn.load_dataset(folder / "trainval.json")
    train = dataclasses.replace(data, samples=[data.samples[k] for k in TRAIN])
    test = dataclasses.replace(data, samples=[sample for k, sample in enumerate(data.samples) if k not in TRAIN])
    maskrcnn.train(train, None, out, init=init, seed=seed, verbose=0, **{**SETTINGS, **changes})
    scores = maskrcnn.evaluate(maskrcnn.load_model(out), test)
    columns = {
        f"{name} mask {kind}": scores["per_class"][name][f"mask_{kind}"]
        for kind in ("AP", "AP50")
        for name in ("fig", "date", "hazelnut")
    }
    return {**columns, "mask AP": scores["mask"]["AP"]}


def main() -> None:
    parser = argparse.ArgumentParser(description="A rare class with and without class weights.")
    parser.add_argument("folder", type=Path, help="holds trainval.json and images/")
    parser.add_argument("--init", default="auto", help="ImageNet weights of MobileNetV2, a file")
    parser.add_argument("--out", type=Path, default=Path("runs/imbalance"))
    parser.add_argument("--seeds", type=int, default=4)
    arguments = parser.parse_args()
    compare(VARIANTS, range(arguments.seeds), arguments.out, partial(run, folder=arguments.folder, init=arguments.init))


if __name__ == "__main__":
    main()
