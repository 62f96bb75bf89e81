"""Which engine a model runs on where nobody names one: what was measured once on this machine says so.

A model's first prediction runs on Keras. Afterwards its export is written, checked and timed beside Keras, and remembered by
what is in the model's file; from then on the model starts without TensorFlow where that is faster.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskrcnn.atomic import write_json
from maskrcnn.backend import cache_folder
from maskrcnn.verbs.benchmark import KERAS, MARGIN, Benchmark, beside_keras, export_in, is_installed

if TYPE_CHECKING:
    from maskrcnn.api import MaskRCNN

AUTO = ("openvino", "onnx")  # formats that start without TensorFlow, the one that is written sooner first
ROUNDS = 3
SWITCH = "MASKRCNN_PREPARE_ENGINE"  # "off" in the environment: nothing is prepared
MAX_MODELS = 8  # whose exports are kept; those of the longest unused go first


def has_runtime() -> bool:
    """Whether what runs one of `AUTO` is installed: without, there is nothing to choose, and no file to look into."""
    return any(map(is_installed, AUTO))


def remembered_engine(folder: Path, *, images: int | None = None) -> str | None:
    """The fastest for so many images, start included: `"keras"`, or one of `AUTO`; None where nothing was measured yet.

    Args:
        folder: of the model's exports, `engine_folder` of its file.
        images: how many it will look at; None: many, so that the start does not count.
    """
    try:
        measured = {name: (float(start), float(image)) for name, (start, image) in _read(folder)["engines"].items()}
        keras = measured.pop(KERAS)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None

    def seconds(cost: tuple[float, float]) -> float:
        return cost[1] if images is None else cost[0] + images * cost[1]

    there = {name: seconds(cost) for name, cost in measured.items() if name in AUTO and export_in(folder, name).exists()}
    if not there:
        return KERAS
    best = min(there, key=there.__getitem__)
    return best if there[best] <= MARGIN * seconds(keras) else KERAS


def remembered_export(folder: Path, *, images: int | None = None) -> Path | None:
    """The export that `remembered_engine` names; None where it names none."""
    name = remembered_engine(folder, images=images)
    if name in (None, KERAS):
        return None
    folder.touch()  # used just now
    return export_in(folder, str(name))


def can_prepare(folder: Path) -> bool:
    """Whether an export of the model would be of use: none was measured yet, what runs it is installed, and it is wanted."""
    return os.environ.get(SWITCH) != "off" and has_runtime() and remembered_engine(folder) is None


def prepare_engine(model: MaskRCNN, folder: Path, *, start: float, log: Callable[[str], None] = print) -> str:
    """Writes and measures the export that the next prediction may run on.

    Args:
        model: on TensorFlow, from which exports are written.
        folder: of its exports.
        start: seconds from the process's start until the model was loaded.
        log: told what is being done.

    Returns:
        What was the fastest for a single image, start included.
    """
    formats = [name for name in AUTO if is_installed(name)][:1]
    remember(beside_keras(model, folder, formats, start=start, rounds=ROUNDS, log=log))
    return remembered_engine(folder, images=1) or KERAS


def remember(found: Benchmark) -> None:
    """Keeps what was measured for `remembered_engine`, and drops the exports of models that were not used for long."""
    engines = {timing.name: (timing.start, timing.seconds) for timing in found.timings}
    found.folder.mkdir(parents=True, exist_ok=True)
    write_json(_record(found.folder), {"engines": engines, "failures": found.failures})
    folders = sorted((cache_folder() / "engines").iterdir(), key=lambda folder: folder.stat().st_mtime)
    for folder in folders[:-MAX_MODELS]:
        shutil.rmtree(folder, ignore_errors=True)


def _read(folder: Path) -> Any:
    return json.loads(_record(folder).read_text("utf-8"))


def _record(folder: Path) -> Path:
    return folder / f"measured-{platform.node()}.json"
