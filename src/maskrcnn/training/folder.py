"""The folder of a training run: what lies in it, and whether a run may begin or go on there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.config.run import RunConfig
from maskrcnn.data.dataset import Dataset
from maskrcnn.training.state import FILE, State

REPORT = "report.html"
RESULTS = ("best.keras", "last.keras", "history.csv", "metrics.json", REPORT)


AUTO = "auto"  # among a run's settings: the names of those that were chosen from its data
MAY_CHANGE = (
    "devices",
    "save_minutes",
    "workers",
    "strict",
    "no_report",
    "reading",
    "changes",
)  # the last two are recorded one by one


def settings_of_run(config: RunConfig, data: Any, val: Any) -> dict[str, Any]:
    """What a run was asked for, as JSON holds it; without what may change when it goes on."""
    given = {field.name: getattr(config, field.name) for field in dataclasses.fields(config) if field.name not in MAY_CHANGE}
    return {
        name: _plain(value) for name, value in {"data": data, "val": val, **given, **config.reading, **config.changes}.items()
    }


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, Dataset):
        return value.name
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    return str(value) if isinstance(value, Path) else getattr(value, "__name__", type(value).__name__)


def check_settings(state: State, settings: dict[str, Any], out: Path) -> None:
    """Refuses to go on with other settings; of those that are newer than the run, it had the default."""
    begun = settings_of_run(RunConfig(), None, None) | state.settings
    differing = sorted(name for name in {*begun, *settings} if begun.get(name) != settings.get(name))
    if differing:
        name = differing[0]
        raise ValueError(
            f"The run in {out} was begun with {name} = {begun.get(name)!r}, now it is {settings.get(name)!r}; "
            "resume with the same settings, or begin another run with init set to its last.keras."
        )


def check_finished(state: State, out: Path) -> None:
    """Refuses to begin anew where a run was cut short that could go on."""
    epochs, patience = state.settings["epochs"], state.settings["patience"]
    if (state.epoch, state.step) != (0, 0) and state.epoch < epochs and not has_stopped(state, patience):
        raise ValueError(
            f"The run in {out} was cut short after {state.epoch} of {epochs} epochs and {state.step} steps; go on with it by "
            f"resume=True (--resume), or train into another folder, or delete its {FILE} to begin anew."
        )


def clear_results(out: Path, log: Callable[[str], None]) -> None:
    """Takes an earlier run's files away, all together: none of them shall stand beside the new run's."""
    earlier = [path for name in (*RESULTS, FILE) if (path := out / name).exists()]
    for path in earlier:
        path.unlink()
    if earlier:
        log(f"{out} held an earlier run, which this one replaces: {', '.join(path.name for path in earlier)}.")


def has_stopped(state: State, patience: int | None) -> bool:
    return patience is not None and state.memories["early_stopping"][1] >= patience
