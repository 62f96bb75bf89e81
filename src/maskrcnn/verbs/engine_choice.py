"""Which engine a model runs on where nobody names one: what was measured once on this machine says so.

A model's first prediction runs on Keras. Afterwards its export is written, checked and timed beside Keras, and remembered by
what is in the model's file; from then on the model starts without TensorFlow where that is faster.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from maskrcnn.atomic import write_json
from maskrcnn.backend import cache_folder
from maskrcnn.locks import FolderInUseError, owned
from maskrcnn.verbs.benchmark import KERAS, MARGIN, Benchmark, beside_keras, export_in, is_installed

if TYPE_CHECKING:
    from maskrcnn.api import MaskRCNN

AUTO = ("openvino", "onnx")  # formats that start without TensorFlow, the one that is written sooner first
ROUNDS = 3
PROGRAM = (sys.executable, "-m", "maskrcnn")
SWITCH = "MASKRCNN_PREPARE_ENGINE"  # "off" in the environment: nothing is prepared
MAX_MODELS = 8  # whose exports are kept; those of the longest unused go first
_LOOK = 0.2  # seconds between two looks at a process
_END = 5  # seconds that it has to end
_NICE = 10  # of 19: how far behind others it stands


def has_choice() -> bool:
    """Whether there is anything to choose, so that a model's file is worth a look: what runs one of `AUTO` is installed, and
    Keras runs on TensorFlow, from which exports are written, because nobody asked for another backend.
    """
    return os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow" and _has_runtime()


def is_wanted() -> bool:
    """Whether exports are prepared at all: there is a choice, and nobody switched that off."""
    return os.environ.get(SWITCH) != "off" and has_choice()


def _has_runtime() -> bool:
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
    return os.environ.get(SWITCH) != "off" and _has_runtime() and remembered_engine(folder) is None


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


def prepare_apart(model: str | Path, folder: Path, stop: threading.Event) -> Path | None:
    """As `prepare_engine`, in a process of its own, for a server that answers meanwhile and goes first.

    Of several processes with the same model, one prepares; the others wait for it.

    Args:
        model: its file, or the name of a published one.
        folder: of its exports.
        stop: set when nobody needs them any more; the process then ends.

    Returns:
        The export, where it is the fastest for many images.

    Raises:
        RuntimeError: the process failed; with the last line that it wrote.
    """
    while can_prepare(folder) and not stop.is_set():
        with suppress(FolderInUseError), owned(folder, "preparing", lambda _: None):
            _benchmark_apart(model, stop)
            break
        stop.wait(_LOOK)
    return None if stop.is_set() else remembered_export(folder)


def _benchmark_apart(model: str | Path, stop: threading.Event) -> None:
    formats = [name for name in AUTO if is_installed(name)][:1]
    command = [*PROGRAM, "benchmark", str(model), "--format", *formats, "--rounds", str(ROUNDS)]
    with TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
        try:
            if sys.platform != "win32":
                os.setpriority(os.PRIO_PROCESS, process.pid, max(os.getpriority(os.PRIO_PROCESS, 0), _NICE))
            while process.poll() is None and not stop.wait(_LOOK):
                pass
        finally:
            process.terminate()  # where it still runs
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END)
            process.kill()
            process.wait()
        if process.returncode and not stop.is_set():
            log.seek(0)
            lines = log.read().decode(errors="replace").strip().splitlines()
            raise RuntimeError(lines[-1] if lines else f"maskrcnn benchmark ended with code {process.returncode}")


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
