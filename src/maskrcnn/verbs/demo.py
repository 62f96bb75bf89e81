"""Everything once, from nothing: shapes are drawn, the small model learns them, is scored, and a report shows it.

Beside it the report shows what the model that comes with the package finds on an image of cell nuclei.
"""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from maskrcnn.api import load_model
from maskrcnn.data.dataset import load_dataset
from maskrcnn.data.shapes import make_shapes
from maskrcnn.images.images import read_image
from maskrcnn.inference.scoring import evaluate
from maskrcnn.reports.run import write_report
from maskrcnn.reports.tables import print_scores
from maskrcnn.results.draw import draw_detections, draw_truth
from maskrcnn.training.state import FILE
from maskrcnn.verbs.train import train
from maskrcnn.weights.published import SHIPPED

if TYPE_CHECKING:
    import numpy as np

    from maskrcnn.api import MaskRCNN
    from maskrcnn.data.dataset import Dataset


PRESET = "mobilenet_v2_fpn"  # the smallest; from random weights, so that nothing is downloaded
NUM_TRAIN = 500
NUM_VAL = 40
EPOCHS = 12
BATCH_SIZE = 4
IMAGE_SIZE = 128
LEARNING_RATE = 1e-3
NARROW: dict[str, Any] = {  # a half of the preset's width after the backbone: shapes are simple, and two cores have minutes
    "fpn__channels": 64,
    "box_head__hidden": 256,
    "mask_head__channels": 64,
    "roi_sampler__num_sampled": 64,
}
SEED = 0
NUM_SHOWN = 8  # validation images in the report
SCORE_SHOWN = 0.5  # the least score of a detection drawn there


def demo(
    out: str | os.PathLike[str],
    *,
    num_train: int = NUM_TRAIN,
    num_val: int = NUM_VAL,
    epochs: int = EPOCHS,
    image_size: int = IMAGE_SIZE,
    console: Console | None = None,
    verbose: int | str = "auto",
) -> dict[str, Any]:
    """Draws a data set of shapes, trains on it, scores the model and writes `report.html`.

    Args:
        out: folder for `shapes/` (images and annotations), `run/` (the model and its history) and `report.html`.
        num_train: images to learn from.
        num_val: images to score.
        epochs: times to go through the training images.
        image_size: shorter side as the model sees it, pixels.
        console: where to tell what happens.
        verbose: Keras's progress bar, as in `keras.Model.fit`.

    Returns:
        The scores, as `evaluate` returns them.
    """
    out = Path(out)
    console = console or Console(highlight=False)

    def tell(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    tell(f"Drawing {num_train} images of shapes to learn from and {num_val} to be scored on, in {out / 'shapes'}")
    train_json, val_json = make_shapes(out / "shapes", num_train=num_train, num_val=num_val, seed=SEED)
    val = load_dataset(val_json)

    tell(f"Training {PRESET} from random weights for {epochs} epochs")
    start = time.perf_counter()
    (out / "run" / FILE).unlink(missing_ok=True)  # a demonstration that was cut short begins anew
    train(
        train_json,
        val,
        out / "run",
        model=PRESET,
        init=None,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        image_size=image_size,
        learning_rate=LEARNING_RATE,
        seed=SEED,
        log=tell,
        verbose=verbose,
        **NARROW,
    )
    minutes = (time.perf_counter() - start) / 60

    model = load_model(out / "run")
    scores = evaluate(model, val)
    print_scores(scores, console)
    report = out / "report.html"
    write_report(
        report,
        title="Mask R-CNN learns shapes",
        text=(
            f"{num_train} drawn images, {epochs} epochs, {minutes:.1f} minutes of training from random weights. "
            f"Scores are those of {num_val} other images, which the model has not learned from."
        ),
        curves=_read_history(out / "run" / "history.csv"),
        images=[_truth_and_prediction(model, val, row) for row in range(min(NUM_SHOWN, num_val))],
        scores=scores,
        more={"Cell nuclei, found by the model that comes with the package": [_nuclei()]},
    )
    tell(f"Mask AP50 {scores['mask']['AP50']:.3f} after {minutes:.1f} minutes of training. The report: {report}")
    return scores


def _read_history(path: Path) -> dict[str, list[float]]:
    """The columns of a run's history by name, one value an epoch."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0] if name != "epoch"}


def _truth_and_prediction(model: MaskRCNN, dataset: Dataset, row: int) -> tuple[np.ndarray, np.ndarray, str]:
    sample = dataset.samples[row]
    image = read_image(sample.path)
    (detections,) = model.detect([image], score=SCORE_SHOWN)
    return draw_truth(image, sample, dataset.categories), draw_detections(image, detections), sample.file_name


def _nuclei() -> tuple[np.ndarray, np.ndarray, str]:
    """A validation image of the Data Science Bowl 2018 (CC0) and what the shipped model finds on it."""
    image = read_image(SHIPPED["nuclei"].with_suffix(".png"))
    (detections,) = load_model(SHIPPED["nuclei"]).detect([image], score=SCORE_SHOWN)
    return image, draw_detections(image, detections), f"{len(detections)} nuclei"
