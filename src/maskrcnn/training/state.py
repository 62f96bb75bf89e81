"""What a run keeps on disk to go on from: read and written without Keras."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

FILE = "resume.safetensors"


@dataclass(frozen=True, eq=False)
class State:
    """A training between two steps.

    Attributes:
        epoch: epochs that are done.
        step: batches of the next epoch that are done.
        settings: the run's arguments, to be compared with those of the run that goes on.
        memories: what each callback remembers, by its name.
        arrays: every variable of the model (seeds among them), of its optimizer and of its running means, by number and name.
    """

    epoch: int
    step: int
    settings: dict[str, Any] = field(default_factory=dict)
    memories: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


def load_state(folder: str | Path) -> State | None:
    """The state that a run left in its folder; None if it left none.

    Raises:
        ValueError: for a file that is damaged.
    """
    path = Path(folder) / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            words = json.loads(file.metadata()["state"])
            arrays = {name: file.get_tensor(name) for name in file.offset_keys()}
        return State(**words, arrays=arrays)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is damaged ({reason}); delete it to train anew.") from error


def save_state(folder: str | Path, state: State) -> None:
    """Writes a state: whole, on the disk, and only then in the place of the one before."""
    path = Path(folder) / FILE
    words = {name: getattr(state, name) for name in ("epoch", "step", "settings", "memories")}
    part = path.with_name(f".{FILE}.part")
    try:
        with open(part, "wb") as file:
            file.write(save(state.arrays, metadata={"state": json.dumps(words)}))
            file.flush()
            os.fsync(file.fileno())  # a rename may reach the disk before what it renames
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
