"""A run as TensorBoard shows it. Keras's own callback needs TensorFlow; this one runs on every backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
from keras import ops
from tensorboardX import SummaryWriter

from maskrcnn.data.reading import read_sample
from maskrcnn.results.draw import draw_detections, draw_truth
from maskrcnn.structures import Sample
from maskrcnn.training.callbacks import CocoEvaluation
from maskrcnn.training.optimizers import averaged

NUM_IMAGES = 6
WIDTH = 1600  # pixels of the sheet
SHOWN_SCORE = 0.5  # the least of a detection that is drawn, as in `maskrcnn predict`


class TensorBoard(keras.callbacks.Callback):
    """Losses and the learning rate after each epoch; with an evaluation, AP by class and a sheet of validation images.

    Args:
        folder: for TensorBoard's files.
        evaluation: whose scores and images are shown.
        first_epoch: where the training begins or goes on; what an earlier one wrote there of later epochs is hidden.
    """

    def __init__(self, folder: Path, *, evaluation: CocoEvaluation | None = None, first_epoch: int = 0):
        super().__init__()
        self.folder = folder
        self.evaluation = evaluation
        self.first_epoch = first_epoch

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.writer = SummaryWriter(str(self.folder), purge_step=self.first_epoch + 1)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        step = epoch + 1
        for name, value in (logs or {}).items():
            part, _, rest = name.partition("val_")
            self.writer.add_scalar(f"validation/{rest}" if not part else f"training/{name}", float(value), step)
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.writer.add_scalar("training/learning_rate", rate, step)
        if self.evaluation is not None:
            for name, row in self.evaluation.scores.get("per_class", {}).items():
                if row["mask_AP"] is not None:
                    self.writer.add_scalar(f"mask_ap_by_class/{name}", row["mask_AP"], step)
            self.writer.add_image("validation/truth_and_found", self._sheet(self.evaluation), step, dataformats="HWC")
        self.writer.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.writer.close()

    def _sheet(self, evaluation: CocoEvaluation) -> np.ndarray:
        """Some images, evenly from the whole set: the truth on the left, what is found on the right."""
        samples = evaluation.dataset.samples
        chosen = np.linspace(0, len(samples) - 1, min(NUM_IMAGES, len(samples))).round().astype(int)
        with averaged(self.model):
            rows = [self._row(read_sample(samples[index], self.model.config.image), evaluation) for index in chosen]
        return np.concatenate(rows)

    def _row(self, sample: Sample, evaluation: CocoEvaluation) -> np.ndarray:
        assert sample.image is not None
        (found,) = self.model.detect(sample.image, score=SHOWN_SCORE)
        pair = [draw_truth(sample.image, sample, evaluation.dataset.categories), draw_detections(sample.image, found)]
        height = round(sample.size[0] * WIDTH / 2 / sample.size[1])
        return np.concatenate([cv2.resize(image, (WIDTH // 2, height), interpolation=cv2.INTER_AREA) for image in pair], axis=1)
