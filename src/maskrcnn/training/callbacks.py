"""What happens beside the steps of a training: evaluation, saving, stopping. All are Keras callbacks."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from maskrcnn.atomic import write_json, write_png, write_text
from maskrcnn.config.model import Category
from maskrcnn.data.dataset import Dataset, open_dataset
from maskrcnn.inference.scoring import evaluate, images_of
from maskrcnn.results.draw import draw_detections
from maskrcnn.structures import Detections, Finder
from maskrcnn.training.examples import batch_truth
from maskrcnn.training.optimizers import averaged
from maskrcnn.training.plan import LOGGED
from maskrcnn.weights.models import save


class CocoEvaluation(keras.callbacks.Callback):
    """Average precision after each epoch, as `val_mask_ap`, `val_mask_ap50` and `val_box_ap` for every later callback.

    Of the averaged weights, where the optimizer averages them. What cannot be measured is not logged: nothing is, where the
    data hold no object to find.

    Example:
        ```python
        stop = keras.callbacks.EarlyStopping("val_mask_ap", mode="max", patience=5)
        model.fit(train_data, epochs=50, callbacks=[CocoEvaluation(val_data), stop])
        ```

    Args:
        dataset: what to evaluate on, or its path.
        batch_size: images that go through the model together.
        on_scored: called after each batch with the numbers of images that are scored, and of all.
        finder_of: what looks at the images for the model, such as several processes together; the model where None.

    Attributes:
        scores: the newest of `maskrcnn.inference.scoring`.
        kept: by image id the newest detections, of the images whose ids are there.
    """

    def __init__(
        self,
        dataset: str | Path | Dataset,
        *,
        batch_size: int = 1,
        on_scored: Callable[[int, int], None] | None = None,
        finder_of: Callable[[Any], Finder] | None = None,
    ):
        super().__init__()
        self.dataset: Dataset = open_dataset(dataset)
        self.batch_size = batch_size
        self.on_scored = on_scored
        self.finder_of = finder_of
        self.scores: dict[str, Any] = {}
        self.kept: dict[int, Detections | None] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._num_scored = 0
        with averaged(self.model):
            model = self.model if self.finder_of is None else self.finder_of(self.model)
            self.scores = evaluate(model, self.dataset, batch_size=self.batch_size, progress=self._count, on_found=self._keep)
        for name, (kind, key) in LOGGED.items() if logs is not None else ():
            value = self.scores[kind][key]
            if value is not None:
                logs[name] = value  # type: ignore[index]

    def _keep(self, image_id: int, detections: Detections) -> None:
        if image_id in self.kept:
            self.kept[image_id] = detections

    def _count(self, num_images: int) -> None:
        self._num_scored += num_images
        if self.on_scored is not None:
            self.on_scored(self._num_scored, len(self.dataset))


class HelpScoring(keras.callbacks.Callback):
    """`CocoEvaluation` of a process that trains with others and leaves the scores to the first: it looks at its images.

    Args:
        dataset: what is evaluated on.
        finder_of: see `CocoEvaluation`; the answers of its finder are not looked at.
    """

    def __init__(self, dataset: Dataset, *, finder_of: Callable[[Any], Finder]):
        super().__init__()
        self.dataset = dataset
        self.finder_of = finder_of

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        with averaged(self.model):
            finder = self.finder_of(self.model)
            score = finder.config.detect.score
            list(finder.detect(images_of(self.dataset), batch_size=len(self.dataset), score=score))


class Best:
    """The best value of a logged number so far: the least of a loss, the greatest of anything else.

    Args:
        monitor: its name in the logs.
        min_delta: by how much a value must be better.
    """

    def __init__(self, monitor: str, *, min_delta: float = 0.0):
        self.monitor = monitor
        self.min_delta = min_delta
        self.sign = -1.0 if "loss" in monitor else 1.0
        self.value: float | None = None

    def improves(self, logs: dict[str, Any] | None) -> bool:
        """Whether the value in `logs` is the best so far; then it is kept.

        Raises:
            ValueError: if nothing of that name is logged.
        """
        if self.monitor not in (logs or {}):
            raise ValueError(f"Nothing is logged as {self.monitor!r}; possible: {', '.join(sorted(logs or {}))}.")
        value = float((logs or {})[self.monitor])
        if not math.isfinite(value) or (self.value is not None and self.sign * (value - self.value) <= self.min_delta):
            return False
        self.value = value
        return True


class SaveModels(keras.callbacks.Callback):
    """`last.keras` after each epoch, `best.keras` and its `metrics.json` whenever the monitored value is the best so far.

    Both answer with the averaged weights, where the optimizer averages them.

    Args:
        folder: of the run.
        monitor: name of the logged value, see `Best`; None means that the newest model is the best.
        evaluation: whose scores go into `metrics.json`.
    """

    def __init__(self, folder: Path, *, monitor: str | None, evaluation: CocoEvaluation | None):
        super().__init__()
        self.folder = folder
        self.evaluation = evaluation
        self.best = None if monitor is None else Best(monitor)

    @property
    def memory(self) -> float | None:
        return self.best.value if self.best else None

    @memory.setter
    def memory(self, value: float | None) -> None:
        if self.best:
            self.best.value = value

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        with averaged(self.model):
            save(self.model, self.folder / "last.keras")
            if self.best is not None and not self.best.improves(logs):
                return
            save(self.model, self.folder / "best.keras")
        scores = self.evaluation.scores if self.evaluation else {}
        write_json(self.folder / "metrics.json", {"epoch": epoch + 1, **scores})


class EarlyStopping(keras.callbacks.Callback):
    """Ends the training when the monitored value has not improved for some epochs. Keras's own forgets that when resumed.

    Args:
        monitor: name of the logged value, see `Best`.
        patience: epochs without improvement.
        min_delta: a smaller improvement is none.
    """

    def __init__(self, monitor: str, *, patience: int, min_delta: float = 0.0):
        super().__init__()
        self.best = Best(monitor, min_delta=min_delta)
        self.patience = patience
        self.waited = 0

    @property
    def memory(self) -> list[Any]:
        return [self.best.value, self.waited]

    @memory.setter
    def memory(self, value: list[Any]) -> None:
        self.best.value, self.waited = value

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.waited = 0 if self.best.improves(logs) else self.waited + 1
        if self.waited >= self.patience:
            self.model.stop_training = True


class WriteHistory(keras.callbacks.Callback):
    """`history.csv`, a row an epoch, replaced whole: a resumed run neither repeats nor loses one."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.memory: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        row = {"epoch": epoch, **{name: float(value) for name, value in (logs or {}).items()}}
        self.memory = [*self.memory, row]
        text = io.StringIO()
        writer = csv.DictWriter(
            text, sorted({name for row in self.memory for name in row}, key=lambda name: (name != "epoch", name))
        )
        writer.writeheader()
        writer.writerows(self.memory)
        write_text(self.path, text.getvalue())


class StopOnNonFinite(keras.callbacks.Callback):
    """Ends the training at the first loss that is not finite, and saves the batch that gave it.

    The model gets its weights from before back. Losses are looked at after each step, as Keras logs them: running means, which
    stay non-finite from the first such value on. Comes first among the callbacks, so that nothing of it is saved.

    Args:
        folder: where the batch goes: `batch.npz`, and each image with its truth as PNG.
        batch_of: the batch (dict of arrays, see `Batch`) that the given step of an epoch had.
        recover: puts the last good weights back into the model.
        file_names: of the images, by image id.
        categories: of the model.
    """

    def __init__(
        self,
        folder: Path,
        *,
        batch_of: Callable[[int, int], dict[str, Any]],
        recover: Callable[[], None],
        file_names: dict[int, str],
        categories: Sequence[Category],
    ):
        super().__init__()
        self.folder = folder
        self.batch_of = batch_of
        self.recover = recover
        self.file_names = file_names
        self.categories = categories
        self.first_step = 0  # of the epoch, where a part of it was trained before
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.step = self.first_step + batch
        bad = sorted(name for name, value in (logs or {}).items() if not np.isfinite(value))
        if bad:
            self._stop(f"{', '.join(bad)} became {float((logs or {})[bad[0]])}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not all(np.isfinite(ops.convert_to_numpy(weight)).all() for weight in self.model.weights):
            self._stop("weights became NaN or infinite")  # by the last step, of which no loss tells before they are saved

    def _stop(self, reason: str) -> None:
        arrays = self.batch_of(self.epoch, self.step)
        names = [self.file_names.get(int(number), str(int(number))) for number in arrays["image_ids"]]
        self._write(arrays)
        self.recover()
        raise ValueError(
            f"{reason} in epoch {self.epoch + 1}, step {self.step + 1}, with the "
            f"images {', '.join(names)}: look at them and their annotations in {self.folder}; if they are right, lower the "
            "learning rate."
        )

    def _write(self, arrays: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(self.folder / "batch.npz", **arrays)
        class_names = [category.name for category in self.categories]
        for row, number in enumerate(arrays["image_ids"]):
            image, truth = batch_truth(arrays, row, class_names)
            write_png(self.folder / f"{row + 1}_{int(number)}.png", draw_detections(image, truth, show_scores=False))
