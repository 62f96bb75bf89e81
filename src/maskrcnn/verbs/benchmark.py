"""Benchmark: which of the engines that are installed runs a model fastest on this machine, with the same answers.

Which one that is depends on the processor (AVX-512, bfloat16, AMX) and on the model, so it is measured and not ruled.
"""

from __future__ import annotations

import hashlib
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from maskrcnn import engines
from maskrcnn.backend import cache_folder
from maskrcnn.inference.whole import detect
from maskrcnn.structures import Detector
from maskrcnn.weights.finding import file_here, published_model
from maskrcnn.weights.published import SHIPPED

if TYPE_CHECKING:
    from maskrcnn.api import MaskRCNN

KERAS = "keras"
# Exports in float32 that a TensorFlow process writes, and what runs each.
RUNTIMES = {"openvino": "openvino", "onnx": "onnxruntime", "litert": "ai-edge-litert", "saved-model": "tensorflow-cpu"}
ROUNDS = 5
MARGIN = 0.95  # an engine is named the fastest where it needs no more than this part of Keras's time


class Timing(NamedTuple):
    """What an engine took for the images.

    Attributes:
        name: `"keras"`, or the format of the export.
        seconds: median over the rounds, for all images together, reading and masks included.
        spread: least and most.
        start: seconds until a new process had loaded the model.
    """

    name: str
    seconds: float
    spread: tuple[float, float]
    start: float


class Benchmark(NamedTuple):
    """What was measured, fastest first; `folder` holds the exports, each in a file or folder of its format's name."""

    timings: list[Timing]
    failures: dict[str, str]  # of a format: why it takes no part
    folder: Path

    @property
    def fastest(self) -> str:
        """The name of the fastest; Keras where none is clearly faster."""
        best = self.timings[0]
        keras = next(timing for timing in self.timings if timing.name == KERAS)
        return best.name if best.seconds <= MARGIN * keras.seconds else KERAS


def benchmark(
    model: str | Path,
    *,
    images: Sequence[Any] = (),
    formats: Sequence[str] = tuple(RUNTIMES),
    rounds: int = ROUNDS,
    log: Callable[[str], None] = print,
) -> Benchmark:
    """Times a model on Keras and on every installed engine, in turn. Exports are written once, checked, and kept in the cache.

    Args:
        model: a run's folder, a `.keras` file, `"nuclei"`, or the name of a published model.
        images: to time with, as `MaskRCNN.detect` takes them; those of the nuclei model where there are none.
        formats: some of `RUNTIMES`; those whose runtime is not installed are left out.
        rounds: how often each looks at the images, after once that does not count.
        log: told what is being done.

    Raises:
        ValueError: an exported model, an unknown format, no rounds.
        FileNotFoundError: no such model.
    """
    if engines.recognise(model) is not None:
        raise ValueError(f"{model} is exported already; benchmark takes the .keras file or the run that it was made from.")
    unknown = [name for name in formats if name not in RUNTIMES]
    if unknown or rounds < 1:
        raise ValueError(f"benchmark knows {', '.join(RUNTIMES)}, and rounds from 1; received {', '.join(unknown) or rounds}.")
    from maskrcnn.api import load_model  # Keras and its backend, late

    path, formats = file_here(model), [name for name in formats if is_installed(name)]
    name = published_model(model) or path
    start = _seconds_to_load(name, "load_model")
    loaded = load_model(name, compile=False)
    return beside_keras(loaded, engine_folder(path), formats, start=start, images=images, rounds=rounds, log=log)


def beside_keras(
    model: MaskRCNN,
    folder: Path,
    formats: Sequence[str],
    *,
    start: float,
    images: Sequence[Any] = (),
    rounds: int = ROUNDS,
    log: Callable[[str], None] = print,
) -> Benchmark:
    """As `benchmark`, of a model that is loaded.

    Args:
        model: on Keras.
        folder: of its exports, `engine_folder` of its file.
        formats: whose runtimes are installed.
        start: seconds until a process had loaded the Keras model.
        images, rounds, log: as there.
    """
    images = list(images) or [SHIPPED["nuclei"].with_suffix(".png")]
    detectors, failures = _detectors(model, folder, formats, log)
    starts = {name: _seconds_to_load(export_in(folder, name), "engines.load") for name in detectors if name != KERAS}
    starts[KERAS] = start
    seconds: dict[str, list[float]] = {name: [] for name in detectors}
    for number in range(rounds + 1):  # in turn, so that what else the machine does is shared out
        for name, detector in detectors.items():
            begin = time.perf_counter()
            for found in detect(detector, images):
                found.rle()
            if number:
                seconds[name].append(time.perf_counter() - begin)
    timings = [Timing(name, statistics.median(each), (min(each), max(each)), starts[name]) for name, each in seconds.items()]
    return Benchmark(sorted(timings, key=lambda timing: timing.seconds), failures, folder)


def _detectors(
    model: MaskRCNN, folder: Path, formats: Sequence[str], log: Callable[[str], None]
) -> tuple[dict[str, Detector], dict[str, str]]:
    from maskrcnn.exporting.export import export

    detectors: dict[str, Detector] = {KERAS: model}
    failures: dict[str, str] = {}
    for name in formats:
        out = export_in(folder, name)
        try:
            if not out.exists():
                log(f"Writing the export for {name}.")
                export(model, out, format=name, log=log)  # type: ignore[arg-type]
            detectors[name] = engines.load(out)
        except (ValueError, ImportError, OSError) as error:
            failures[name] = str(error)
    return detectors, failures


def _seconds_to_load(path: str | Path, function: str) -> float:
    """In a process of its own, because this one has loaded most of it already."""
    load = f"import maskrcnn, maskrcnn.engines; maskrcnn.{function}({str(path)!r})"
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", load], check=True, capture_output=True)
    return time.perf_counter() - start


def engine_folder(path: Path) -> Path:
    """Where a model's exports are kept: by what is in its file, by the machine's kind, and by the versions that wrote them."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    for name in ("maskrcnn", *RUNTIMES.values()):
        digest.update(f"{name} {_version(name)} ".encode())
    digest.update(platform.machine().encode())
    return cache_folder() / "engines" / digest.hexdigest()[:24]


def export_in(folder: Path, name: str) -> Path:
    """Where in the folder of a model the export of that format is."""
    return folder / {"openvino": "openvino", "onnx": "model.onnx", "litert": "model.tflite", "saved-model": "saved-model"}[name]


def is_installed(name: str) -> bool:
    """Whether what runs a format of `RUNTIMES` is installed."""
    return bool(_version(RUNTIMES[name])) or (name == "saved-model" and bool(_version("tensorflow")))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
