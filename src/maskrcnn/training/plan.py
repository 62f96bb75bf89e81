"""What a run is going to do: its numbers and its data, looked at before Keras is loaded, which takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskrcnn.config import fields, presets
from maskrcnn.config.run import RunConfig
from maskrcnn.data.dataset import Dataset, load_dataset
from maskrcnn.data.imbalance import class_weights, count_images, count_objects
from maskrcnn.data.parts import read_parts
from maskrcnn.data.split import split
from maskrcnn.training.folder import AUTO, check_finished, check_settings, has_stopped, settings_of_run
from maskrcnn.training.state import State, load_state
from maskrcnn.weights.published import SHIPPED

Data = str | Path | Dataset
LOGGED = {"val_mask_ap": ("mask", "AP"), "val_mask_ap50": ("mask", "AP50"), "val_box_ap": ("box", "AP")}  # of `evaluate`
PRESET = "mobilenet_v2_fpn"
COUNTED_BY = {"federated": count_images, "seesaw": count_objects}  # what `box_head.class_counts` are for a class loss


@dataclass(frozen=True, eq=False)
class Plan:
    """A training that can begin.

    Attributes:
        config: its numbers.
        out: folder of the run.
        train, val: its data.
        settings: what it was asked for, as `config.json` has it.
        state: where it goes on, if it does.
    """

    config: RunConfig
    out: Path
    train: Dataset
    val: Dataset | None
    settings: dict[str, Any]
    state: State | None = None

    @property
    def monitor(self) -> str | None:
        """Name of the logged value that tells the best model."""
        by_itself = None if self.val is None else "val_mask_ap" if self.val.has_objects else "val_loss"
        return self.config.monitor or by_itself

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return -(-len(self.train) // self.config.batch_size)

    @property
    def is_finished(self) -> bool:
        state, config = self.state, self.config
        return state is not None and (state.epoch >= config.epochs or has_stopped(state, config.patience))

    def model_changes(self) -> dict[str, Any]:
        """Fields of `ModelConfig` that the run sets."""
        changes = self.config.model_changes()
        if counted := COUNTED_BY.get(changes.get("box_head__class_loss", "")):
            changes = {"box_head__class_counts": tuple(map(float, counted(self.train)))} | changes
        if self.config.class_weights is None:
            return changes
        return {"box_head__class_weights": class_weights(self.train, self.config.class_weights)} | changes


def chooses(auto: bool, num_processes: int, log: Callable[[str], None]) -> bool:
    """Whether settings are chosen from the data: not by processes that train together, which have to have the same."""
    if auto and num_processes > 1:
        log("Processes that train together choose nothing from the data: what isn't given has its default.")
    return auto and num_processes == 1


def make_plan(
    data: Data,
    val: Data | float | None,
    out: str | Path,
    config: RunConfig,
    *,
    resume: bool,
    log: Callable[[str], None],
    auto: bool = False,
    owns_folder: bool = True,
) -> Plan:
    """Reads the data's annotations and the state of an earlier run, and refuses what cannot be.

    Args:
        data, val, out, config, resume, log: see `verbs.train.train`.
        auto: of a run that goes on, what was chosen from the data when it began (`training.tuning`) is taken over. A new run's
            plan is not tuned yet.
        owns_folder: whether this process writes into `out`, and so knows what state is there; of others no file is read.

    Raises:
        ValueError, FileNotFoundError: data that cannot be trained on, an unknown preset or field, settings that do not go
            together, or a run in `out` that was begun otherwise or was cut short.
    """
    out = Path(out)
    state = load_state(out) if owns_folder else None
    chosen = state.settings.get(AUTO, []) if state is not None and resume and auto else []
    if state is not None and chosen:
        config = config.with_settings(**{name: state.settings[name] for name in chosen})
    settings = settings_of_run(config, data, val) | ({AUTO: chosen} if chosen else {})
    if state is not None and resume:
        check_settings(state, settings, out)
    elif state is not None:
        check_finished(state, out)
        state = None
    train_data, val_data = _parts(data, val, config, log)
    for dataset in (train_data, val_data):
        if dataset is not None and dataset.faults:
            log(dataset.summary())
    train_data.check_trainable()
    plan = Plan(config, out, train_data, val_data, settings, state)
    _check_model(plan)
    if val_data is not None and not val_data.has_objects:
        if config.monitor in LOGGED:
            raise ValueError(f"monitor={config.monitor} is measured on objects, and the images to validate with hold none.")
        log(
            f"The {len(val_data)} images to validate with hold no object: nothing can be scored on them, and "
            f"{plan.monitor} tells the best model."
        )
    if config.patience is not None and plan.monitor is None:
        raise ValueError(f"patience is at least 1 and needs val or monitor; received {config.patience}, without either.")
    return plan


def _check_model(plan: Plan) -> None:
    """What can be said of a new model's architecture; a whole model in `init` brings its own."""
    config = plan.config
    if config.init in (None, "auto", "imagenet") and config.model not in SHIPPED:
        known = presets.preset(config.model or PRESET, plan.train.categories, input_channels=config.input_channels or 3)
        fields.replace(known, **plan.model_changes())


def _parts(
    data: Data, val: Data | float | None, config: RunConfig, log: Callable[[str], None]
) -> tuple[Dataset, Dataset | None]:
    """What to learn from and what to score on, each read where it is a path."""
    options: dict[str, Any] = {"strict": config.strict, **config.reading}
    if val is not None and not isinstance(data, Dataset) and not isinstance(val, Dataset):
        images = {"images": config.images, "val_images": config.val_images}
        return read_parts(data, val, seed=config.seed, log=log, **images, **options)
    if isinstance(val, float):
        assert isinstance(data, Dataset)
        return split(data, val, config.seed)
    train = data if isinstance(data, Dataset) else load_dataset(data, images=config.images, **options)
    if val is None or isinstance(val, Dataset):
        return train, val
    return train, load_dataset(val, images=config.val_images, **options)
