"""Models that commands work with; Keras and its backend are loaded here, and late."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import maskrcnn
from maskrcnn.cli.console import tell
from maskrcnn.resources import seconds_since_start

if TYPE_CHECKING:
    from maskrcnn.structures import Detector, Finder


def load_model(name_or_path: str | Path) -> maskrcnn.MaskRCNN:
    """A model; where there is none, that is said before Keras is loaded, which takes seconds."""
    from maskrcnn.weights.finding import file_here, published_model

    path = file_here(name_or_path)
    load_keras()
    return maskrcnn.load_model(published_model(name_or_path) or path)


@contextmanager
def models_to_run(
    names_or_paths: Sequence[str | Path], engine: str | None, *, tta: bool = False, images: int | None = None
) -> Iterator[Detector | Finder]:
    """Several models asked together, each as `model_to_run` has it; with `tta` each looks six times, see `Ensemble`."""
    with ExitStack() as stack:
        models = [stack.enter_context(model_to_run(each, engine, images=images)) for each in names_or_paths]
        if len(models) == 1 and not tta:
            yield models[0]
            return
        from maskrcnn.inference.ensemble import TTA_SCALES, Ensemble

        yield Ensemble(models, flip="horizontal", scales=TTA_SCALES) if tta else Ensemble(models)


@contextmanager
def model_to_run(name_or_path: str | Path, engine: str | None, *, images: int | None = None) -> Iterator[Detector]:
    """A model to predict with.

    With the engine `"auto"`, what was measured on this machine decides. Where nothing was yet, the model runs on Keras, and
    its export is prepared for the next time when all else is done.

    Args:
        name_or_path: a run's folder, a `.keras` file, an exported model, or the name of one.
        engine: its name, `"keras"`, `"auto"`, or None: Keras for what is not exported.
        images: how many there are; None: many.
    """
    from maskrcnn import engines
    from maskrcnn.verbs.engine_choice import has_choice, remembered_export

    if engine != "auto" or engines.recognise(name_or_path) is not None or not has_choice():
        yield load_to_run(name_or_path, None if engine == "auto" else engine)
        return
    from maskrcnn.verbs.benchmark import engine_folder
    from maskrcnn.weights.finding import file_here

    folder = engine_folder(file_here(name_or_path))  # by what the file holds now: it may be another one afterwards
    export = remembered_export(folder, images=images)
    if export is not None:
        tell(f"Running on {engines.recognise(export)}, the fastest here; --engine keras runs it on Keras.")
        yield engines.load(export)
        return
    model = load_model(name_or_path)
    start = seconds_since_start()
    yield model
    _prepare(model, folder, start)


def load_to_run(name_or_path: str | Path, engine: str | None) -> Detector:
    """A model to predict with: an exported one on its engine, any other on Keras."""
    from maskrcnn import engines

    if engine in (None, "keras") and engines.recognise(name_or_path) is None:
        return load_model(name_or_path)
    return engines.load(name_or_path, engine)


def _prepare(model: maskrcnn.MaskRCNN, folder: Path, start: float) -> None:
    from maskrcnn.verbs.engine_choice import can_prepare, prepare_engine

    if not can_prepare(folder):
        return
    tell("Preparing a faster start for the next time, once for this model; it takes half a minute or so, Ctrl-C leaves it out.")
    try:
        name = prepare_engine(model, folder, start=start, log=lambda _: None)
    except KeyboardInterrupt:
        tell("Left out.")
        return
    tell("Keras stays the fastest." if name == "keras" else f"Done: it will run on {name}.")


def load_keras() -> None:
    """Imports Keras without TensorFlow's greeting, which goes straight to the process's stderr, whatever the log level.

    Raises:
        ImportError: where no backend is installed, saying what to install.
    """
    maskrcnn.backend.require()
    maskrcnn.backend.keep_compiled_programs()
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "3":  # with --debug, or by the user's wish
        return
    kept = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        import keras  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)
