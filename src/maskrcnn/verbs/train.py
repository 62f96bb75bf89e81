"""Training from files to files: one function that reads from top to bottom."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from maskrcnn import memory
from maskrcnn.api import MaskRCNN
from maskrcnn.atomic import write_json
from maskrcnn.config import fields
from maskrcnn.config.augment import AUGMENTATIONS, AugmentConfig
from maskrcnn.config.model import Category
from maskrcnn.data.dataset import Dataset, load_dataset
from maskrcnn.data.imbalance import class_weights as weights_of_classes
from maskrcnn.data.imbalance import repeat_factors
from maskrcnn.data.loader import num_batches
from maskrcnn.data.reading import read_sample
from maskrcnn.training.callbacks import CocoEvaluation, EarlyStopping, SaveModels, StopOnNonFinite, WriteHistory
from maskrcnn.training.folder import check_finished, check_settings, clear_results, has_stopped, settings_of_run
from maskrcnn.training.freezing import freeze as freeze_layers
from maskrcnn.training.optimizers import CLIP_NORM, Schedule, make_optimizer
from maskrcnn.training.precision import precision_policy
from maskrcnn.training.resume import KeepState, load_state, restore
from maskrcnn.training.tensorboard import TensorBoard
from maskrcnn.weights import finding
from maskrcnn.weights.models import is_model
from maskrcnn.weights.sources import holds_whole_model

__all__ = ["CocoEvaluation", "make_optimizer", "train"]

PRESET = "mobilenet_v2_fpn"


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
    input_channels: int | None = None,
    augment: Any = "flip",
    class_weights: str | Mapping[str, float] | None = None,
    repeat_threshold: float = 0.0,
    focal_gamma: float = 0.0,
    label_smoothing: float = 0.0,
    dropout: float = 0.0,
    stochastic_depth: float = 0.0,
    optimizer: str = "adam",
    learning_rate: float | None = None,
    schedule: Schedule = "cosine",
    warm_up_steps: int | None = None,
    weight_decay: float | None = None,
    clip_norm: float | None = CLIP_NORM,
    accumulate: int = 1,
    ema: float = 0.0,
    backbone_rate: float = 1.0,
    precision: str = "float32",
    freeze: str | Sequence[str] = (),
    monitor: str | None = None,
    patience: int | None = None,
    resume: bool = False,
    save_minutes: float = 5.0,
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

    The folder gets `best.keras` (by the mask AP on `val`, or by `monitor`; without either the newest), `last.keras`,
    `history.csv`, `config.json`, `metrics.json` (the scores of `best.keras`), `tensorboard/`, and `resume.safetensors`, from
    which a run that was killed goes on. All but TensorBoard's files are replaced whole, never half-written.

    Args:
        data: training data: a COCO or VIA JSON, a label-map folder, or a `Dataset`.
        val: validation data, or None.
        out: folder of the run.
        model: preset; where None, that of a whole model in `init`, else `"mobilenet_v2_fpn"`.
        init: first weights: a backbone, see `MaskRCNN.from_preset`; or a whole model, see `MaskRCNN.from_checkpoint`, which
            brings its own architecture and conventions. Where its classes differ from the data's, their layers start anew.
        images, val_images: folders of the images, where they lie neither beside the JSON nor in `images/`.
        epochs: rounds through the data.
        batch_size: images a step.
        image_size: the shorter side of the model's input in pixels, the longer one at most 5/3 of it; the preset's where None.
        input_channels: of the images; where None, 3 or what a whole model in `init` takes. Weights of others are inflated.
        augment: how images vary, see `maskrcnn.data.augment.make_augment`: `"none"`, `"flip"`, `"photos"`, `"microscopy"`, an
            `AugmentConfig`, a pipeline of Albumentations, or a function of (sample, rng).
        class_weights: of the class loss: `"balanced"`, `"effective"`, or weights by class name; 1 for all where None.
        repeat_threshold: classes that are in a smaller part of the images than this are shown more often (LVIS); 0: none.
        focal_gamma: of the focal loss instead of cross-entropy in the class loss; 0 is cross-entropy.
        label_smoothing: of the class loss.
        dropout: in the box head.
        stochastic_depth: part of the images for which the backbone's last block is left out, earlier ones less often.
        optimizer: `"adam"`, `"adamw"` or `"sgd"`.
        learning_rate, schedule, warm_up_steps, weight_decay, clip_norm, accumulate, ema, backbone_rate: see
            `maskrcnn.training.optimizers.make_optimizer`.
        precision: `"float32"`, `"bfloat16"` or `"float16"`, in which the layers compute; weights and losses are float32.
        freeze: beginnings of the names of layers that don't learn: `["backbone", "fpn"]`.
        monitor: name of the logged value that tells the best model: a loss, or a score such as `"val_mask_ap50"`.
        patience: stop after so many epochs without a better value.
        resume: go on where the run in `out` was cut short, if there is one; its settings must be the same. Without `resume`
            such a run stays, with an error; a finished one is replaced.
        save_minutes: how often, within an epoch, the state of the run is saved.
        seed: of weights, order, augmentation and samples.
        workers: processes that read images; 0 reads in threads.
        matterport_config: for `init` from matterport, the numbers it was trained with.
        strict: refuse data with faults, also those that could be repaired.
        callbacks: more Keras callbacks; they see `val_mask_ap` and `val_box_ap` besides the losses.
        log: told what happens, line by line.
        verbose: Keras's progress bar, as in `keras.Model.fit`.
        **changes: fields of `ModelConfig`, `section__field=value`.

    Returns:
        The model of the last epoch.

    Raises:
        ValueError: settings or data that cannot be used, in one line; a loss that became NaN or infinite, with the images
            that did it, which are then in `nonfinite/` of the folder.
        MemoryError: there is too little memory for a step; told before the first, with a setting that would fit.
    """
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs and batch_size are at least 1; received {epochs} and {batch_size}.")
    settings = settings_of_run(locals())
    out = Path(out)
    state = load_state(out)
    if state is not None and resume:
        check_settings(state, settings, out)
    elif state is not None:
        check_finished(state, out)
        state = None
    train_data = _dataset(data, images, strict, log)
    val_data = None if val is None else _dataset(val, val_images, strict, log)
    train_data.check_trainable()
    if monitor is None and val_data is not None:
        monitor = "val_mask_ap"
    if patience is not None and (patience < 1 or monitor is None):
        raise ValueError(f"patience is at least 1 and needs val or monitor; received {patience}, without either or below 1.")
    changes = _model_changes(image_size, dropout, stochastic_depth, focal_gamma, label_smoothing) | changes
    if class_weights is not None:
        changes = {"box_head__class_weights": weights_of_classes(train_data, class_weights)} | changes

    with precision_policy(precision):
        start = {"seed": seed, "matterport_config": matterport_config, "log": log, "changes": changes}
        network = _start(model, init, train_data.categories, input_channels=input_channels, **start)
    if freeze:
        freeze_layers(network, freeze)
    steps = num_batches(train_data, batch_size)
    network.compile(
        make_optimizer(
            optimizer,
            learning_rate,
            batch_size=batch_size,
            num_steps=steps * epochs,
            schedule=schedule,
            warm_up_steps=warm_up_steps,
            weight_decay=weight_decay,
            clip_norm=clip_norm,
            accumulate=accumulate,
            ema=ema,
            backbone_rate=backbone_rate,
        )
    )

    def batches(start: int) -> Any:
        return network.loader(
            train_data,
            batch_size=batch_size,
            shuffle=True,
            repeat=True,
            augment=augment,
            weights=repeat_factors(train_data, repeat_threshold) if repeat_threshold else None,
            seed=seed,
            num_workers=workers,
            start=start,
        )

    first = batches(0)  # a wrong augmentation is told before anything is written; and images of other channels
    for data_set in (train_data, val_data) if val_data is not None else (train_data,):
        read_sample(data_set.samples[0], network.config.image)
    slots = (1 if optimizer == "sgd" else 2) + (accumulate > 1) + (ema > 0)
    _check_memory(network, train_data, batch_size, augment, slots=slots, bytes_a_number=4 if precision == "float32" else 2)
    out.mkdir(parents=True, exist_ok=True)
    if state is None:
        clear_results(out, log)
    write_json(out / "config.json", {"arguments": settings, "model": fields.to_dict(network.config)})
    evaluation = None if val_data is None else CocoEvaluation(val_data)
    saving, history = SaveModels(out, monitor=monitor, evaluation=evaluation), WriteHistory(out / "history.csv")
    remembering: dict[str, Any] = {"models": saving, "history": history}
    if patience is not None:
        assert monitor is not None
        remembering["early_stopping"] = EarlyStopping(monitor, patience=patience)
    keeping = KeepState(out, settings=settings, remembering=remembering, every_minutes=save_minutes, state=state)
    finite = StopOnNonFinite(
        out / "nonfinite",
        batch_of=lambda epoch, step: first.batch(epoch * steps + step),
        recover=keeping.recover,
        file_names={sample.image_id: sample.file_name for sample in train_data.samples},
        categories=network.config.categories,
    )
    done = (state.epoch, state.step) if state else (0, 0)
    if state is not None and (state.epoch >= epochs or has_stopped(state, patience)):
        log(f"The run in {out} is finished: {state.epoch} epochs.")
        restore(network, state.arrays)
        return network
    if state is not None:
        log(f"Going on after epoch {state.epoch}, step {state.step}.")
    # Keras begins with whole epochs, so what is left of one that was cut short is a `fit` of its own.
    parts = [(done[0], done[1], done[0] + 1)] if done[1] else []
    for epoch, step, last in [*parts, (done[0] + len(parts), 0, epochs)]:
        if epoch >= last or network.stop_training:
            break
        finite.first_step = step
        network.fit(
            batches(epoch * steps + step),
            validation_data=None if val_data is None else network.loader(val_data, batch_size=batch_size),
            steps_per_epoch=steps - step,
            initial_epoch=epoch,
            epochs=last,
            verbose=verbose,
            callbacks=[
                finite,
                *([evaluation] if evaluation else []),
                *remembering.values(),
                TensorBoard(out / "tensorboard", evaluation=evaluation, first_epoch=epoch),
                *callbacks,
                keeping,
            ],
        )
    return network


def _check_memory(network: MaskRCNN, data: Dataset, batch_size: int, augment: Any, **rest: Any) -> None:
    config, sizes = network.config, [sample.size for sample in data.samples]
    varied = AUGMENTATIONS.get(augment) if isinstance(augment, str) else augment
    known = varied if isinstance(varied, AugmentConfig) else None  # what others do to an image's size, nobody knows
    frame = memory.largest_frame(sizes, config.image, batch_size, known)
    num_weights = sum(math.prod(weight.shape) for weight in network.trainable_weights)
    memory.check_training(config, num_weights, frame, batch_size, max(len(sample.labels) for sample in data.samples), **rest)


def _model_changes(
    image_size: int | None, dropout: float, stochastic_depth: float, focal_gamma: float, label_smoothing: float
) -> dict[str, Any]:
    """Arguments of `train` that are fields of the model; 0 leaves the model's own."""
    given = {
        "box_head__dropout": dropout,
        "backbone__stochastic_depth": stochastic_depth,
        "box_head__focal_gamma": focal_gamma,
        "box_head__label_smoothing": label_smoothing,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value}
    if image_size is not None:
        changes |= {"image__short_side": image_size, "image__long_side": round(image_size * 5 / 3)}
    return changes


def _start(
    preset: str | None,
    init: str | Path | None,
    categories: Sequence[Category],
    *,
    input_channels: int | None,
    seed: int,
    matterport_config: Any,
    log: Callable[[str], None],
    changes: dict[str, Any],
) -> MaskRCNN:
    """A new model of a preset; or of a file that holds a whole model, which then says what the model is like."""
    path = None if init in (None, "auto", "imagenet") else finding.resolve(str(init))
    if path is None or not holds_whole_model(path) or (preset is not None and is_model(path)):
        if matterport_config:
            raise ValueError(f"Settings in matterport's names are for init with a file of matterport's; init is {init}.")
        common: dict[str, Any] = {"input_channels": input_channels, "seed": seed, "log": log}
        return MaskRCNN.from_preset(preset or PRESET, class_names=categories, weights=init, **common, **changes)
    if preset is not None:
        raise ValueError(f"{path} holds a whole model, so it decides the architecture; leave out --model {preset}.")
    options = {"input_channels": input_channels, "matterport_config": matterport_config, "seed": seed, "log": log}
    return MaskRCNN.from_checkpoint(str(init), new_classes=categories, **options, **changes)


def _dataset(data: str | Path | Dataset, images: str | Path | None, strict: bool, log: Callable[[str], None]) -> Dataset:
    dataset = data if isinstance(data, Dataset) else load_dataset(data, images=images, strict=strict)
    if dataset.faults:
        log(dataset.summary())
    return dataset
