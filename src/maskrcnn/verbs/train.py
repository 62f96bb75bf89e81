"""Training from files to files: one function that reads from top to bottom."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from maskrcnn import memory
from maskrcnn.api import MaskRCNN
from maskrcnn.atomic import write_json
from maskrcnn.config import fields
from maskrcnn.config.augment import AUGMENTATIONS, AugmentConfig
from maskrcnn.config.run import RunConfig
from maskrcnn.data.dataset import Dataset
from maskrcnn.data.imbalance import repeat_factors
from maskrcnn.data.loader import Loader
from maskrcnn.data.reading import read_sample
from maskrcnn.distributed.devices import check_settings, needs_processes, num_devices, num_of_all, shared_by, synchronise_norms
from maskrcnn.distributed.meeting import meeting
from maskrcnn.distributed.place import ALONE, Place
from maskrcnn.distributed.processes import greatest, helped, joined
from maskrcnn.distributed.scoring import SharedFinder
from maskrcnn.distributed.together import together
from maskrcnn.interrupts import StopRequest
from maskrcnn.locks import owned
from maskrcnn.reports.training import write_training_report
from maskrcnn.training.assembly import make_callbacks
from maskrcnn.training.callbacks import CocoEvaluation, HelpScoring
from maskrcnn.training.folder import REPORT, clear_results
from maskrcnn.training.freezing import freeze
from maskrcnn.training.optimizers import make_optimizer, peak_rate, slots_of, warm_up
from maskrcnn.training.plan import PRESET, Plan, chooses, make_plan
from maskrcnn.training.precision import precision_policy
from maskrcnn.training.progress import Progress
from maskrcnn.training.resume import restore
from maskrcnn.training.state import State
from maskrcnn.training.tuning import tuned
from maskrcnn.weights import finding
from maskrcnn.weights.models import is_model
from maskrcnn.weights.sources import holds_whole_model

__all__ = ["CocoEvaluation", "make_optimizer", "train"]

SETTABLE = "/set_rate"  # ends the name of a variable of optimizers whose rate callbacks may set
ONE_STOP = 2.0  # seconds within which a launcher's signals to all processes are one


def train(
    data: str | Path | Dataset,
    val: str | Path | Dataset | float | None,
    out: str | Path,
    *,
    config: RunConfig | None = None,
    auto: bool = False,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    log: Callable[[str], None] = print,
    verbose: int | str = "auto",
    report: Callable[[Progress], None] | None = None,
    place: Place = ALONE,
    **settings: Any,
) -> MaskRCNN:
    """Trains a model and writes everything to a folder.

    The folder gets `best.keras` (by the mask AP on `val`, or by `monitor`; without either the latest), `last.keras`,
    `history.csv`, `config.json`, `metrics.json` (the scores of `best.keras`), `report.html` (curves, images and hints, updated
    after each epoch), `tensorboard/`, and `resume.safetensors`, from which an interrupted run resumes. All files except
    TensorBoard's are replaced atomically. Ctrl-C and SIGTERM end the run after the step that is being
    computed, when its state is saved.

    Example:
        maskrcnn.train("train.json", "val.json", "runs/first", epochs=50, augment="photos", detect__max_detections=400)

    Args:
        data: training data: a file or folder of any format in docs/data.md, or a `Dataset`.
        val: validation data; a fraction of `data` to hold out for it, such as 0.2; or None.
        out: folder of the run, used by one process at a time.
        config: settings of the run; the defaults of `RunConfig` if None.
        auto: choose settings from the data that are neither given here nor changed in `config`: image size, anchors, batch
            size, epochs, augmentation, numbers of detections and proposals; choices and reasons are logged.
        resume: continue the interrupted run in `out`, if there is one; its settings must be the same. Without `resume`,
            an interrupted run is an error, and a finished one is replaced.
        callbacks: additional Keras callbacks; they receive `val_mask_ap` and `val_box_ap` besides the losses, and may set
            the learning rate, which then no longer follows the schedule.
        log: receives progress messages, line by line.
        verbose: Keras's progress bar, as in `keras.Model.fit`.
        report: called after each step with the progress, for a custom display.
        place: of this process among those that a launcher started, each of which calls this function; see
            `maskrcnn.distributed.place.find_place`. The first one writes, and calls `callbacks`, `log` and `report`.
        **settings: fields of `RunConfig`, such as `epochs=5`; of `ModelConfig`, `section__field=value`; and what
            `load_dataset` takes, such as `classes=["cell"]`.

    Returns:
        The model of the last epoch.

    Raises:
        ValueError: unusable settings or data, in one line; a loss that became NaN or infinite, with the images that caused
            it, which are then in `nonfinite/` of the folder.
        MemoryError: there is too little memory for a step; raised before the first, with a setting that would fit.
        FolderInUseError: another process is training in the folder.
        LostProcessError: one of the processes that train together ended too early.
        KeyboardInterrupt: training was stopped; its note says what is kept.
    """
    given = {*settings, *(config or RunConfig()).differing()}
    config = (config or RunConfig()).with_settings(**settings)
    with meeting(place), owned(out, "training", log) if place.is_first else nullcontext():
        told = place.voice(log)
        auto = chooses(auto, place.among, told)
        plan = make_plan(data, val, out, config, resume=resume, log=told, auto=auto, owns_folder=place.is_first)
        plan = tuned(plan, given, told) if auto else plan
        return run_plan(plan, place, callbacks=callbacks, log=log, verbose=verbose, report=report)


def run_plan(
    plan: Plan,
    place: Place = ALONE,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    log: Callable[[str], None] = print,
    verbose: int | str = "auto",
    report: Callable[[Progress], None] | None = None,
) -> MaskRCNN:
    """Trains what was planned, in a folder that the first process owns; the arguments are those of `train`."""
    shown: dict[str, Any] = {"callbacks": callbacks, "log": log, "verbose": verbose, "report": report}
    if place.launched:
        with joined(place):
            devices = num_of_all(plan.config.devices, plan.config.batch_size, place)
            return _share(_as_the_first_has_it(plan, place), devices, place, **shown)
    devices = num_devices(plan.config.devices, plan.config.batch_size)
    if devices > 1 and needs_processes():
        with helped(devices, _help, plan) as place, joined(place):
            return _share(plan, devices, place, **shown)
    return _share(plan, devices, ALONE, **shown)


def _help(place: Place, plan: Plan) -> None:
    """What the other processes of a training do that the first one started."""
    with joined(place):
        _share(plan, place.among, place)


def _share(plan: Plan, devices: int, place: Place, **shown: Any) -> MaskRCNN:
    """The first process writes and talks."""
    if not place.is_first:
        shown = {"callbacks": (), "log": place.voice(print), "verbose": 0, "report": None}
    if devices > 1:
        check_settings(plan.config)
        shown["log"](_sharing(plan, devices))
    with shared_by(1 if needs_processes() else devices):
        return _run(plan, devices, place, **shown)


def _as_the_first_has_it(plan: Plan, place: Place) -> Plan:
    """The plan with the first process's state, of which others learn the place; they get its arrays when training begins."""
    state = plan.state
    own = [0, 0, 0, 0, 0]
    if place.is_first and state is not None:
        own = [1, state.epoch, state.step, int(plan.is_finished), int(_has_settable_rate(state))]
    is_there, epoch, step, is_finished, is_settable = greatest(own)
    if place.is_first or not is_there:
        return plan
    arrays = {SETTABLE: np.zeros(())} if is_settable else {}
    memories = {"early_stopping": [None, plan.config.patience if is_finished else 0]}
    return replace(plan, state=State(epoch, step, plan.settings, memories, arrays))


def _sharing(plan: Plan, devices: int) -> str:
    config, steps = plan.config, plan.steps * plan.config.epochs
    rule = "which grows with them" if config.optimizer == "sgd" else f"which {config.optimizer} keeps at any number"
    if config.learning_rate is not None:
        rule = "as it was set"
    return (
        f"{devices} devices share the {config.batch_size} images of a step. The learning rate is {peak_rate(config):g}, "
        f"{rule}, after a warm-up of {warm_up(config, steps)} steps."
    )


def _run(
    plan: Plan,
    devices: int,
    place: Place,
    *,
    callbacks: Sequence[keras.callbacks.Callback],
    log: Callable[[str], None],
    verbose: int | str,
    report: Callable[[Progress], None] | None,
) -> MaskRCNN:
    config, state = plan.config, plan.state
    with precision_policy(config.precision):
        network = _start(plan, log)
    if devices > 1:
        synchronise_norms(network)
    if config.freeze:
        freeze(network, config.freeze)
    # The kept state of an optimizer whose rate nobody could set has no place for one; that of the other has.
    # Another process's callbacks set no rate here, so with several nobody can.
    settable = bool(callbacks) and place.among == 1 if state is None else _has_settable_rate(state)
    network.compile(make_optimizer(config, num_steps=plan.steps * config.epochs, settable=settable))
    batches = partial(_batches, network, plan, devices, place)
    begin = batches(0)  # a wrong augmentation is told before anything is written; and images of other channels
    for data_set in (plan.train, plan.val) if plan.val is not None else (plan.train,):
        read_sample(data_set.samples[0], network.config.image)
    _check_memory(network, plan)
    if state is not None and plan.is_finished:
        if not place.is_first:
            return network
        log(f"The run in {plan.out} is finished: {state.epoch} epochs.")
        restore(network, state.arrays)
        return network
    val = _validation(network, plan, devices, place)
    first, last = together() if place.among > 1 else ([], [])
    finder_of = partial(SharedFinder, place=place, batch_size=devices // place.among) if place.among > 1 else None
    if not place.is_first:
        assert finder_of is not None
        helping = [] if plan.val is None else [HelpScoring(plan.val, finder_of=finder_of)]
        _fit(network, plan, batches, val, lambda *_: [*first, *helping, *last], 0)
        return network
    if state is None:
        clear_results(plan.out, log)
    else:
        log(f"Going on after epoch {state.epoch}, step {state.step}.")
    write_json(plan.out / "config.json", {"arguments": plan.settings, "model": fields.to_dict(network.config)})
    evaluation = None
    if plan.val is not None:  # a finder that is shared is asked for all images at once
        evaluation = CocoEvaluation(plan.val, batch_size=len(plan.val) if finder_of else devices, finder_of=finder_of)
    with StopRequest(one_within=ONE_STOP if place.launched else 0.0) as stop:
        show = partial(write_training_report, plan.out / REPORT)
        own = make_callbacks(plan, network, begin, stop, evaluation=evaluation, report=report, show=show, log=log)
        try:
            _fit(network, plan, batches, val, lambda at, step: [*first, *own.in_order(at, step, callbacks), *last], verbose)
        except KeyboardInterrupt as error:
            error.add_note(own.where_it_stopped())
            raise
    return network


def _has_settable_rate(state: State) -> bool:
    return any(name.endswith(SETTABLE) for name in state.arrays)


def _fit(
    network: MaskRCNN,
    plan: Plan,
    batches: Callable[[int], Loader],
    val: Loader | None,
    callbacks: Callable[[int, int], list[keras.callbacks.Callback]],
    verbose: int | str,
) -> None:
    """Keras begins with whole epochs, so what is left of one that was cut short is a `fit` of its own."""
    done, step = (plan.state.epoch, plan.state.step) if plan.state else (0, 0)
    parts = [(done, step, done + 1)] if step else []
    for epoch, step, last in [*parts, (done + len(parts), 0, plan.config.epochs)]:
        if epoch >= last or network.stop_training:
            break
        network.fit(
            batches(epoch * plan.steps + step),
            validation_data=val,
            steps_per_epoch=plan.steps - step,
            initial_epoch=epoch,
            epochs=last,
            verbose=verbose,
            callbacks=callbacks(epoch, step),
        )


def _validation(network: MaskRCNN, plan: Plan, devices: int, place: Place) -> Loader | None:
    if plan.val is None:
        return None
    loader = network.loader(plan.val, batch_size=plan.config.batch_size, part=(place.number, place.among))
    return _for(loader, network, devices, place)


def _for(loader: Loader, network: MaskRCNN, devices: int, place: Place) -> Loader:
    """The batches as all devices of this process, or this one among several, take them."""
    if place.among > 1:
        return loader.as_wide_as(greatest, network.config.image.place)
    return loader.for_devices(devices)


def _batches(network: MaskRCNN, plan: Plan, devices: int, place: Place, start: int) -> Loader:
    """The run's batches from this one on, counted through all epochs."""
    config = plan.config
    loader = network.loader(
        plan.train,
        batch_size=config.batch_size,
        shuffle=True,
        repeat=True,
        augment=config.augment,
        weights=repeat_factors(plan.train, config.repeat_threshold) if config.repeat_threshold else None,
        seed=config.seed,
        num_workers=config.workers,
        start=start,
        fast_decode=config.fast_decode,
        part=(place.number, place.among),
    )
    return _for(loader, network, devices, place)


def _check_memory(network: MaskRCNN, plan: Plan) -> None:
    config, augment, sizes = plan.config, plan.config.augment, [sample.size for sample in plan.train.samples]
    varied = AUGMENTATIONS.get(augment) if isinstance(augment, str) else augment
    known = varied if isinstance(varied, AugmentConfig) else None  # what others do to an image's size, nobody knows
    frame = memory.largest_frame(sizes, network.config.image, config.batch_size, known)
    memory.check_training(
        network.config,
        sum(math.prod(weight.shape) for weight in network.trainable_weights),
        frame,
        config.batch_size,
        max(len(sample.labels) for sample in plan.train.samples),
        slots=slots_of(config),
        bytes_a_number=4 if config.precision == "float32" else 2,
    )


def _start(plan: Plan, log: Callable[[str], None]) -> MaskRCNN:
    """A new model of a preset; or of a file that holds a whole model, which then says what the model is like."""
    config, categories = plan.config, plan.train.categories
    init, numbers = config.init, config.matterport_config
    common: dict[str, Any] = {"input_channels": config.input_channels, "seed": config.seed, "log": log}
    common |= {"detect__best_scores": ()}  # those of init are of weights that training changes
    common |= plan.model_changes()
    path = None if init in (None, "auto", "imagenet") else finding.resolve(str(init))
    if path is None or not holds_whole_model(path) or (config.model is not None and is_model(path)):
        if numbers:
            raise ValueError(f"Settings in matterport's names are for init with a file of matterport's; init is {init}.")
        return MaskRCNN.from_preset(config.model or PRESET, class_names=categories, weights=init, **common)
    if config.model is not None:
        raise ValueError(f"{path} holds a whole model, so it decides the architecture; leave out --model {config.model}.")
    return MaskRCNN.from_checkpoint(str(init), new_classes=categories, matterport_config=numbers, **common)
