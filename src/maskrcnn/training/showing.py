"""A run's report, written anew after each epoch: it costs little, and whatever goes wrong with it, the training goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from maskrcnn.config.run import RunConfig
from maskrcnn.data.reading import read_sample
from maskrcnn.doctor.object_sizes import cover, measure_objects
from maskrcnn.structures import Detections, RunView
from maskrcnn.training.callbacks import CocoEvaluation
from maskrcnn.training.examples import batch_truth, small_copy, thumbnail, truth_of
from maskrcnn.training.folder import AUTO, settings_of_run
from maskrcnn.training.hints import Diagnosis, hints
from maskrcnn.training.plan import Plan

NUM_IMAGES = 8  # of the validation data, evenly from all of them; and of the augmented input
MOST_LOOKS = 8  # epochs of which their predictions are kept, evenly from the first to the newest
SHOWN_SCORE = 0.5  # the least of a detection that is drawn, as in `maskrcnn predict`
_LONGEST_VALUE = 120  # characters of a setting


class ShowRun(keras.callbacks.Callback):
    """Gives `write` a `RunView` before the first epoch and after each.

    Predictions are those of the evaluation, so the model runs no more than without this; thumbnails are drawn once and kept.

    Args:
        plan: of the run.
        write: takes the view; `reports.training.write_training_report` makes a page of it.
        history: gives the rows of `history.csv`.
        evaluation: whose detections are shown.
        batch_of: the batch (dict of arrays, see `Batch`) of the given number, counted through the whole run.
        log: told once, where something goes wrong.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        write: Callable[[RunView], None],
        history: Callable[[], Sequence[Mapping[str, float]]],
        evaluation: CocoEvaluation | None,
        batch_of: Callable[[int], dict[str, Any]],
        log: Callable[[str], None],
    ):
        super().__init__()
        self.plan = plan
        self.write = write
        self.history = history
        self.evaluation = evaluation
        self.batch_of = batch_of
        self.log = log
        self.rates: dict[int, float] = {}
        self.looks: dict[int, list[str]] = {}
        self._inputs: list[tuple[str, str]] | None = None  # None: nothing is drawn yet
        self._truths: list[tuple[str, str]] = []
        self._small: dict[int, np.ndarray] = {}  # images without anything drawn in, by id
        self._moments = (0.0, 1.0)  # mean and standard deviation of the normalized input
        self._has_failed = False
        if evaluation is not None:
            samples = evaluation.dataset.samples
            places = np.linspace(0, len(samples) - 1, min(NUM_IMAGES, len(samples))).round().astype(int)
            self._shown = [samples[place] for place in places.tolist()]
            evaluation.kept = {sample.image_id: None for sample in self._shown}

    @property
    def memory(self) -> dict[str, Any]:
        """Learning rates and thumbnails by epoch, for a run that goes on."""
        return {"rates": list(self.rates.items()), "looks": list(self.looks.items())}

    @memory.setter
    def memory(self, value: dict[str, Any]) -> None:
        self.rates = {int(epoch): float(rate) for epoch, rate in value["rates"]}
        self.looks = {int(epoch): list(images) for epoch, images in value["looks"]}

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._inputs is None:
            self._inputs = []
            self._safely(self._prepare)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._safely(lambda: self._look(epoch))

    def _safely(self, work: Callable[[], None]) -> None:
        """A report never ends a training."""
        try:
            work()
            self.write(self.view())
        except Exception as error:
            if not self._has_failed:
                self.log(f"The run's report could not be written ({type(error).__name__}: {error}); the training goes on.")
            self._has_failed = True

    def _prepare(self) -> None:
        """Draws what stays the same."""
        self._inputs, self._moments = self._augmented()
        if self.evaluation is not None:
            categories = self.evaluation.dataset.categories
            for sample in self._shown:
                image = read_sample(sample, self.model.config.image).image
                assert image is not None
                self._small[sample.image_id] = small_copy(image)
                drawn = thumbnail(self._small[sample.image_id], truth_of(sample, categories))
                self._truths.append((sample.file_name, drawn))

    def _augmented(self) -> tuple[list[tuple[str, str]], tuple[float, float]]:
        """The first images of the run with their ground truth; mean and standard deviation of them, normalized."""
        names = {sample.image_id: sample.file_name for sample in self.plan.train.samples}
        config = self.model.config
        mean, std = np.array(config.image.mean), np.array(config.image.std)
        values, inputs = [], []
        for number in range(-(-NUM_IMAGES // self.plan.config.batch_size)):
            batch = self.batch_of(number)
            for row, image_id in enumerate(batch["image_ids"].tolist()):
                height, width = batch["sizes"][row].tolist()
                image, truth = batch_truth(batch, row, config.class_names)
                values.append(((image[:height:8, :width:8] - mean) / std).ravel())  # each eighth pixel tells as much
                inputs.append((names.get(image_id, str(image_id)), thumbnail(small_copy(image), truth)))
        pixels = np.concatenate(values)
        return inputs[:NUM_IMAGES], (float(pixels.mean()), float(pixels.std()))

    def _look(self, epoch: int) -> None:
        self.rates[epoch] = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        found = self._found()
        if len(found) == len(self._small) > 0:
            self.looks[epoch] = [thumbnail(self._small[name], each, score=SHOWN_SCORE) for name, each in found.items()]
        while len(self.looks) > MOST_LOOKS:
            del self.looks[least_missed(list(self.looks))]

    def _found(self) -> dict[int, Detections]:
        """What the newest evaluation found in the images that are shown."""
        kept = {} if self.evaluation is None else self.evaluation.kept
        return {image_id: found for image_id, found in kept.items() if found is not None}

    def view(self) -> RunView:
        """The run as it stands."""
        plan, history = self.plan, self.history()
        val = "without validation data" if plan.val is None else f"scored on {_described(plan.val.name, len(plan.val))}"
        trained = f"{_described(plan.train.name, len(plan.train))}, {val}. {self.model.config.backbone.name}"
        return RunView(
            title=f"Training {plan.out.name}",
            paragraphs=[f"Trained on {trained}, batches of {plan.config.batch_size}."],
            epochs=plan.config.epochs,
            history=history,
            rates=sorted(self.rates.items()),
            hints=hints(history, epochs=plan.config.epochs, has_validation=plan.val is not None, diagnose=self._diagnose),
            inputs=self._inputs or [],
            truths=self._truths,
            looks=self.looks,
            settings=differing_settings(plan.settings),
        )

    def _diagnose(self) -> Diagnosis:
        config, sides = self.model.config, measure_objects(self.plan.train).in_frame(self.model.config.image)
        scores = np.concatenate([np.zeros(0), *(found.scores for found in self._found().values())])
        return Diagnosis(
            coverage=cover(sides, config.anchors) if len(sides) else None,
            num_found=len(scores),
            best_score=float(scores.max(initial=0.0)),
            least_score=config.detect.score,
            mean=self._moments[0],
            deviation=self._moments[1],
        )


def least_missed(epochs: Sequence[int]) -> int:
    """Of rising epochs the one whose neighbors are nearest to each other; never the first or the last."""
    return epochs[min(range(1, len(epochs) - 1), key=lambda place: epochs[place + 1] - epochs[place - 1])]


def differing_settings(settings: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(name, value, default) of the settings of a run that are not the defaults; data are no settings."""
    defaults = settings_of_run(RunConfig(), None, None)
    return [
        (name, _short(value), _short(defaults[name]) if name in defaults else "the model's own")
        for name, value in settings.items()
        if name not in ("data", "val", AUTO) and (name not in defaults or value != defaults[name])
    ]


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _described(name: str, count: int) -> str:
    return f"{name or 'a data set'} ({count} images)"
