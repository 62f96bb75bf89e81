"""Training from files to files: one function that reads from top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
from tensorboardX import SummaryWriter

from maskrcnn import config as configs
from maskrcnn.api import MaskRCNN
from maskrcnn.config import Category
from maskrcnn.data import Dataset, load_dataset
from maskrcnn.data.loader import num_batches
from maskrcnn.evaluate import evaluate
from maskrcnn.results.files import write_json
from maskrcnn.weights import published
from maskrcnn.weights.models import is_model, save
from maskrcnn.weights.sources import holds_whole_model

PRESET = "mobilenet_v2_fpn"

LEARNING_RATES = {
    "adam": 2e-4,  # at any batch size
    "adamw": 2e-4,  # MMDetection's "ResNet strikes back" recipe
    "sgd": 0.02 / 16,  # a picture of the batch; Detectron's 0.02 for 16
}
WEIGHT_DECAY = {"adamw": 0.05, "sgd": 1e-4}  # the same sources
WARM_UP_STEPS = 500  # Detectron; at most a tenth of the run
CLIP_NORM = 10.0  # steps beyond it are accidents: a first step on a crowded picture


def train(
    data: str | Path | Dataset,
    val: str | Path | Dataset | None,
    out: str | Path,
    *,
    model: str | None = None,
    init: str | Path | None = "auto",
    images: str | Path | None = None,
    val_images: str | Path | None = None,
    epochs: int = 20,
    batch_size: int = 2,
    image_size: int | None = None,
    optimizer: str = "adam",
    learning_rate: float | None = None,
    seed: int = 0,
    workers: int = 0,
    matterport_config: Any = None,
    strict: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    log: Callable[[str], None] = print,
    verbose: int | str = "auto",
    **changes: Any,
) -> MaskRCNN:
    """Trains a model and leaves everything in a folder.

    The folder gets `best.keras` (by the mask AP on `val`; without `val` the newest), `last.keras`, `history.csv`,
    `config.json`, `metrics.json` (the scores of `best.keras`) and `tensorboard/`. Models and JSON are replaced whole, never
    half-written.

    Args:
        data: training data: a COCO JSON, a label-map folder, or a `Dataset`.
        val: validation data, or None.
        out: folder of the run.
        model: preset; where None, that of a whole model in `init`, else `"mobilenet_v2_fpn"`.
        init: first weights: a backbone, see `MaskRCNN.from_preset`; or a whole model, see `MaskRCNN.from_checkpoint`, which
            brings its own architecture and conventions. Where its classes differ from the data's, their layers start anew.
        images, val_images: folders of the pictures, where they lie neither beside the JSON nor in `images/`.
        epochs: rounds through the data.
        batch_size: pictures a step.
        image_size: the shorter side of the model's input in pixels, the longer one at most 5/3 of it; the preset's where None.
        optimizer: `"adam"`, `"adamw"` or `"sgd"`; the rate warms up, then falls along a cosine.
        learning_rate: peak rate; chosen by optimizer and batch size where None.
        seed: of weights, order, flips and samples.
        workers: processes that read pictures; 0 reads in threads.
        matterport_config: for `init` from matterport, the numbers it was trained with.
        strict: refuse data with faults, also those that could be repaired.
        callbacks: more Keras callbacks; they see `val_mask_ap` and `val_box_ap` besides the losses.
        log: told what happens, line by line.
        verbose: Keras's progress bar, as in `keras.Model.fit`.
        **changes: fields of `ModelConfig`, `section__field=value`.

    Returns:
        The model of the last epoch.

    Raises:
        ValueError: settings or data that cannot be used, in one line.
    """
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs and batch_size are at least 1; received {epochs} and {batch_size}.")
    train_data = _dataset(data, images, strict, log)
    val_data = None if val is None else _dataset(val, val_images, strict, log)
    if not len(train_data):
        raise ValueError(f"{train_data.name} holds no picture to train on.")
    if image_size is not None:
        changes = {"image__short_side": image_size, "image__long_side": round(image_size * 5 / 3), **changes}
    start = {"seed": seed, "matterport_config": matterport_config, "log": log, "changes": changes}
    network = _start(model, init, train_data.categories, **start)
    steps = num_batches(train_data, batch_size)
    network.compile(optimizer=make_optimizer(optimizer, learning_rate, batch_size=batch_size, num_steps=steps * epochs))

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    arguments = {
        "data": train_data.name,
        "val": val_data.name if val_data else None,
        "model": model,
        "init": str(init) if init else None,
        "epochs": epochs,
        "batch_size": batch_size,
        "image_size": image_size,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    write_json(out / "config.json", {"arguments": arguments, "model": configs.to_dict(network.config)})
    evaluation = [] if val_data is None else [CocoEvaluation(val_data)]
    network.fit(
        network.loader(train_data, batch_size=batch_size, shuffle=True, repeat=True, flip=True, seed=seed, num_workers=workers),
        validation_data=None if val_data is None else network.loader(val_data, batch_size=batch_size),
        steps_per_epoch=steps,
        epochs=epochs,
        verbose=verbose,
        callbacks=[
            *evaluation,
            SaveModels(out, scores=evaluation[0] if evaluation else None),
            keras.callbacks.CSVLogger(out / "history.csv"),
            TensorBoardScalars(out / "tensorboard"),
            *callbacks,
        ],
    )
    return network


def make_optimizer(name: str, learning_rate: float | None, *, batch_size: int, num_steps: int) -> keras.optimizers.Optimizer:
    """An optimizer with warm-up and cosine decay, and without weight decay on norms and biases.

    Raises:
        ValueError: for a name other than `adam`, `adamw`, `sgd`.
    """
    if name not in LEARNING_RATES:
        raise ValueError(f"Unknown optimizer {name!r}; possible: {', '.join(LEARNING_RATES)}.")
    if learning_rate is None:
        learning_rate = LEARNING_RATES[name] * (batch_size if name == "sgd" else 1)
    warm_up = min(WARM_UP_STEPS, num_steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 100, max(1, num_steps - warm_up), alpha=0.01, warmup_target=learning_rate, warmup_steps=warm_up
    )
    options = {"learning_rate": schedule, "global_clipnorm": CLIP_NORM, "weight_decay": WEIGHT_DECAY.get(name)}
    if name == "sgd":
        return keras.optimizers.SGD(momentum=0.9, **options)
    return (keras.optimizers.AdamW if name == "adamw" else keras.optimizers.Adam)(**options)


class CocoEvaluation(keras.callbacks.Callback):
    """Average precision after each epoch, as `val_mask_ap`, `val_mask_ap50` and `val_box_ap` for every later callback.

    Example:
        stop = keras.callbacks.EarlyStopping("val_mask_ap", mode="max", patience=5)
        model.fit(train_data, epochs=50, callbacks=[CocoEvaluation(val_data), stop])

    Args:
        dataset: what to evaluate on.
        batch_size: pictures that go through the model together.
    """

    def __init__(self, dataset: Dataset, *, batch_size: int = 1):
        super().__init__()
        self.dataset = dataset
        self.batch_size = batch_size
        self.scores: dict[str, Any] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.scores = evaluate(self.model, self.dataset, batch_size=self.batch_size)
        if logs is not None:
            for name, (kind, key) in {
                "val_mask_ap": ("mask", "AP"), "val_mask_ap50": ("mask", "AP50"), "val_box_ap": ("box", "AP")
            }.items():  # fmt: skip
                value = self.scores[kind][key]
                logs[name] = 0.0 if value is None else value  # no object to find: nothing was found


class SaveModels(keras.callbacks.Callback):
    """`last.keras` after each epoch, `best.keras` and its `metrics.json` whenever the mask AP is the greatest so far."""

    def __init__(self, folder: Path, *, scores: CocoEvaluation | None):
        super().__init__()
        self.folder = folder
        self.evaluation = scores
        self.best = -1.0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        save(self.model, self.folder / "last.keras")
        score = (logs or {}).get("val_mask_ap", 0.0)
        if self.evaluation is not None and score <= self.best:
            return
        self.best = score
        save(self.model, self.folder / "best.keras")
        scores = self.evaluation.scores if self.evaluation else {}
        write_json(self.folder / "metrics.json", {"epoch": epoch + 1, **scores})


class TensorBoardScalars(keras.callbacks.Callback):
    """Every logged number, for TensorBoard. Keras's own callback needs TensorFlow; this one runs on every backend."""

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = folder

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.writer = SummaryWriter(str(self.folder))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for name, value in (logs or {}).items():
            part, _, rest = name.partition("val_")
            self.writer.add_scalar(f"validation/{rest}" if not part else f"training/{name}", float(value), epoch + 1)
        self.writer.add_scalar(
            "training/learning_rate", float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)), epoch + 1
        )
        self.writer.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.writer.close()


def _start(
    preset: str | None,
    init: str | Path | None,
    categories: Sequence[Category],
    *,
    seed: int,
    matterport_config: Any,
    log: Callable[[str], None],
    changes: dict[str, Any],
) -> MaskRCNN:
    """A new model of a preset; or of a file that holds a whole model, which then says what the model is like."""
    path = None if init in (None, "auto", "imagenet") else published.resolve(str(init))
    if path is None or not holds_whole_model(path) or (preset is not None and is_model(path)):
        if matterport_config:
            raise ValueError(f"Settings in matterport's names are for init with a file of matterport's; init is {init}.")
        return MaskRCNN.from_preset(preset or PRESET, class_names=categories, weights=init, seed=seed, **changes)
    if preset is not None:
        raise ValueError(f"{path} holds a whole model, so it decides the architecture; leave out --model {preset}.")
    options = {"matterport_config": matterport_config, "seed": seed, "log": log}
    return MaskRCNN.from_checkpoint(str(init), new_classes=categories, **options, **changes)


def _dataset(data: str | Path | Dataset, images: str | Path | None, strict: bool, log: Callable[[str], None]) -> Dataset:
    dataset = data if isinstance(data, Dataset) else load_dataset(data, images=images, strict=strict)
    if dataset.faults:
        log(dataset.summary())
    return dataset
