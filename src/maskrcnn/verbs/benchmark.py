"""Benchmark: which of the engines that are installed runs a model fastest on this machine, with the same answers.

Which one that is depends on the processor (AVX-512, bfloat16, AMX) and on the model, so it is measured and not ruled.
"""

from __future__ import annotations

import hashlib
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from maskrcnn import engines
from maskrcnn.atomic import write_json
from maskrcnn.backend import cache_folder
from maskrcnn.inference.whole import detect
from maskrcnn.structures import Detector
from maskrcnn.weights.finding import model_file
from maskrcnn.weights.published import SHIPPED

KERAS = "keras"
# Exports in float32 that a TensorFlow process writes, and what runs each.
RUNTIMES = {"openvino": "openvino", "onnx": "onnxruntime", "litert": "ai-edge-litert", "saved-model": "tensorflow-cpu"}
AUTO = ("openvino", "onnx")  # what `--engine auto` chooses among: the two that start without TensorFlow
ROUNDS = 5
MARGIN = 0.95  # an engine is taken where it needs no more than this part of Keras's time


class Timing(NamedTuple):
    """What an engine took for the images.

    Attributes:
        name: `"keras"`, or the format of the export.
        seconds: median over the rounds, for all images together, reading and masks included.
        spread: least and most.
    """

    name: str
    seconds: float
    spread: tuple[float, float]


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
        model: a run's folder, a `.keras` file, or `"nuclei"`.
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
    path, images = model_file(model), list(images) or [SHIPPED["nuclei"].with_suffix(".png")]
    folder = _folder(path)
    detectors, failures = _detectors(path, folder, [name for name in formats if _is_installed(name)], log)
    seconds: dict[str, list[float]] = {name: [] for name in detectors}
    for number in range(rounds + 1):  # in turn, so that what else the machine does is shared out
        for name, detector in detectors.items():
            start = time.perf_counter()
            for found in detect(detector, images):
                found.rle()
            if number:
                seconds[name].append(time.perf_counter() - start)
    timings = [Timing(name, statistics.median(each), (min(each), max(each))) for name, each in seconds.items()]
    return Benchmark(sorted(timings, key=lambda timing: timing.seconds), failures, folder)


def fastest_engine(
    model: str | Path, *, log: Callable[[str], None] = print, on_measure: Callable[[], None] | None = None
) -> Path | None:
    """The export that runs a model fastest on this machine, of OpenVINO's and ONNX Runtime's; None where Keras is as fast.

    The first call measures, which takes a minute or two; later ones read what it found, as long as the model and the versions
    stay as they are.

    Args:
        model: a run's folder, a `.keras` file, or `"nuclei"`.
        log: told what is being done.
        on_measure: called before Keras is loaded, where it has to be.

    Raises:
        FileNotFoundError: no such model.
    """
    path = model_file(model)
    folder = _folder(path)
    record = folder / f"fastest-{platform.node()}.json"
    try:
        name = str(json.loads(record.read_text("utf-8"))["fastest"])
    except (OSError, ValueError, LookupError, TypeError):
        if not any(map(_is_installed, AUTO)):
            log("Without OpenVINO and ONNX Runtime it runs on Keras; install one of the extras openvino and onnx.")
            return None
        log("Measuring once which engine is fastest here; it takes a minute or two.")
        if on_measure is not None:
            on_measure()
        measured = benchmark(path, formats=AUTO, rounds=3, log=log)
        name = measured.fastest
        write_json(record, {"fastest": name, "seconds": {timing.name: timing.seconds for timing in measured.timings}})
    export = _export(folder, name) if name in AUTO else None
    return export if export is not None and export.exists() else None


def _detectors(
    path: Path, folder: Path, formats: Sequence[str], log: Callable[[str], None]
) -> tuple[dict[str, Detector], dict[str, str]]:
    from maskrcnn.api import load_model  # Keras and its backend, late
    from maskrcnn.exporting.export import export

    model = load_model(path, compile=False)
    detectors: dict[str, Detector] = {KERAS: model}
    failures: dict[str, str] = {}
    for name in formats:
        out = _export(folder, name)
        try:
            if not out.exists():
                log(f"Writing the export for {name}.")
                export(model, out, format=name, log=log)  # type: ignore[arg-type]
            detectors[name] = engines.load(out)
        except (ValueError, ImportError, OSError) as error:
            failures[name] = str(error)
    return detectors, failures


def _folder(path: Path) -> Path:
    """Where a model's exports are kept: by what is in its file, by the machine's kind, and by the versions that wrote them."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    for name in ("maskrcnn", *RUNTIMES.values()):
        digest.update(f"{name} {_version(name)} ".encode())
    digest.update(platform.machine().encode())
    return cache_folder() / "engines" / digest.hexdigest()[:24]


def _export(folder: Path, name: str) -> Path:
    return folder / {"openvino": "openvino", "onnx": "model.onnx", "litert": "model.tflite", "saved-model": "saved-model"}[name]


def _is_installed(name: str) -> bool:
    return bool(_version(RUNTIMES[name])) or (name == "saved-model" and bool(_version("tensorflow")))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
