"""Everything once, from nothing: the model that comes with the package finds cell nuclei; then another learns drawn shapes.

A report opens with the nuclei, and has the shapes, their scores and the losses below.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskrcnn.api import load_model
from maskrcnn.data.dataset import load_dataset
from maskrcnn.data.shapes import make_shapes
from maskrcnn.images.images import read_image
from maskrcnn.inference.scoring import evaluate
from maskrcnn.reports.run import write_report
from maskrcnn.results.draw import draw_detections, draw_truth
from maskrcnn.training.folder import REPORT
from maskrcnn.training.state import FILE
from maskrcnn.verbs.train import train
from maskrcnn.weights.published import SHIPPED

if TYPE_CHECKING:
    import numpy as np

    from maskrcnn.api import MaskRCNN
    from maskrcnn.data.dataset import Dataset
    from maskrcnn.training.progress import Progress


NUM_TRAIN = 160
NUM_VAL = 40
EPOCHS = 2
SETTINGS: dict[str, Any] = {  # two cores have minutes: small images, trained weights, and as many proposals as shapes need
    "init": "nuclei",
    "batch_size": 4,
    "image_size": 128,
    "learning_rate": 1e-3,
    "roi_sampler__num_sampled": 64,
    "rpn__train_proposals": 200,
    "rpn__proposals": 200,
    "detect__max_detections": 100,
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
    log: Callable[[str], None] = print,
    verbose: int | str = "auto",
    report: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Finds nuclei with the model that comes with the package; then trains a model on drawn shapes and scores it.

    Args:
        out: folder for `shapes/` (images and annotations), `run/` (the model and its history) and `report.html`, which is
            there as soon as the nuclei are found and is written again when the training is done.
        num_train: images to learn from.
        num_val: images to score.
        epochs: times to go through the training images.
        log: told what happens, line by line.
        verbose: Keras's progress bar, as in `keras.Model.fit`.
        report: told after each step how far the training is.

    Returns:
        The scores of the trained model, as `evaluate` returns them.
    """
    out = Path(out)
    page = out / "report.html"
    log("Finding cell nuclei in an image of a microscope, with the model that comes with the package")
    start = time.perf_counter()
    found = _nuclei()
    nuclei = {f"{found[2]}, found by the model that comes with the package": [found]}
    out.mkdir(parents=True, exist_ok=True)
    text = f"The model of shapes is being trained; it will be shown here. Its own page, as it goes: {out / 'run' / REPORT}."
    write_report(page, title="Mask R-CNN", text=text, curves={}, images=[], scores={}, before=nuclei)
    log(f"{found[2]} found in {time.perf_counter() - start:.0f} s; {page} shows them")

    log(f"Drawing {num_train} images of shapes to learn from and {num_val} to be scored on, in {out / 'shapes'}")
    train_json, val_json = make_shapes(out / "shapes", num_train=num_train, num_val=num_val, seed=SEED)
    val = load_dataset(val_json)
    log(f"Training on them for {epochs} epochs, from the weights of the model that found the nuclei")
    start = time.perf_counter()
    (out / "run" / FILE).unlink(missing_ok=True)  # a demonstration that was cut short begins anew
    model = train(
        train_json, val, out / "run", epochs=epochs, seed=SEED, log=log, verbose=verbose, report=report, **SETTINGS
    )  # fmt: skip
    minutes = (time.perf_counter() - start) / 60

    scores = evaluate(model, val)
    write_report(
        page,
        title="Mask R-CNN",
        text=(
            f"Below, a model that learned shapes from {num_train} drawn images in {epochs} epochs and {minutes:.1f} minutes, "
            f"on {num_val} others. It began with the weights of the model that found the nuclei."
        ),
        curves=_read_history(out / "run" / "history.csv"),
        images=[_truth_and_prediction(model, val, row) for row in range(min(NUM_SHOWN, num_val))],
        scores=scores,
        before=nuclei,
    )
    log(f"Mask AP50 {scores['mask']['AP50']:.3f} after {minutes:.1f} minutes of training. The report: {page}")
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
