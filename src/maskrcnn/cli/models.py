"""Models that commands work with; Keras and its backend are loaded here, and late."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import maskrcnn

if TYPE_CHECKING:
    from maskrcnn.structures import Detector, Finder


def load_model(name_or_path: str | Path) -> maskrcnn.MaskRCNN:
    """A model; where there is none, that is said before Keras is loaded, which takes seconds."""
    from maskrcnn.weights.finding import fetch, model_file, published_model

    published = published_model(name_or_path)
    path = model_file(name_or_path) if published is None else fetch(published)
    load_keras()
    return maskrcnn.load_model(published or path)


def load_to_run(name_or_path: str | Path, engine: str | None) -> Detector:
    """A model to predict with: an exported one on its engine, any other on Keras; `"auto"`: on what is fastest here."""
    from maskrcnn import engines

    if engine == "auto":
        return _fastest(name_or_path)
    if engine in (None, "keras") and engines.recognise(name_or_path) is None:
        return load_model(name_or_path)
    return engines.load(name_or_path, engine)


def _fastest(name_or_path: str | Path) -> Detector:
    from maskrcnn import engines
    from maskrcnn.cli.console import tell
    from maskrcnn.verbs.benchmark import fastest_engine

    if engines.recognise(name_or_path) is not None:
        return engines.load(name_or_path)
    maskrcnn.backend.prefer("tensorflow")  # from which exports are written, where there is none yet
    export = fastest_engine(name_or_path, log=tell, on_measure=load_keras)
    if export is None:
        return load_model(name_or_path)
    tell(f"Running on {engines.recognise(export)}, the fastest here; --engine keras runs it on Keras.")
    return engines.load(export)


def load_together(names_or_paths: Sequence[str | Path], engine: str | None, *, tta: bool) -> Detector | Finder:
    """A model, or several that are asked together; with `tta` each looks at an image six times, see `Ensemble`."""
    models = [load_to_run(each, engine) for each in names_or_paths]
    if len(models) == 1 and not tta:
        return models[0]
    from maskrcnn.inference.ensemble import TTA_SCALES, Ensemble

    return Ensemble(models, flip="horizontal", scales=TTA_SCALES) if tta else Ensemble(models)


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
