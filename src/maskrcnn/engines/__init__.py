"""A finished model run elsewhere than on Keras, with the Keras model's answers. One file a runtime.

Each engine has what prediction asks of a model, `config` and `predict_on_batch`, so that files, tiles, measurements and
tracks work with it unchanged; and `detect`, as `MaskRCNN` has it. None of them loads Keras.
"""

from __future__ import annotations

from pathlib import Path

from maskrcnn.engines.engine import Engine
from maskrcnn.engines.litert import LiteRt
from maskrcnn.engines.onnxruntime import OnnxRuntime
from maskrcnn.engines.openvino import OpenVino
from maskrcnn.engines.saved_model import SavedModel
from maskrcnn.engines.torch_export import TorchExport
from maskrcnn.structures import Detector

ENGINES: dict[str, type[Engine]] = {
    "litert": LiteRt,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "saved-model": SavedModel,
    "torch": TorchExport,
}


def recognise(path: str | Path) -> str | None:
    """Which of `ENGINES` an exported model is for, told by what the file or folder holds; None where it is for none."""
    return next((name for name, engine in ENGINES.items() if engine.holds(Path(path))), None)


def load(path: str | Path, engine: str | None = None) -> Engine:
    """An exported model, ready to run.

    Args:
        path: what `maskrcnn export` wrote.
        engine: the engine that is expected; whatever the file is for where None.

    Raises:
        FileNotFoundError: nothing there.
        ImportError: the engine is not installed.
        ValueError: no exported model of this package, or one for another engine.
    """
    return ENGINES[check(path, engine)](Path(path))


def name_of(detector: Detector) -> str | None:
    """Which of `ENGINES` it is; None for any other detector."""
    return next((name for name, engine in ENGINES.items() if isinstance(detector, engine)), None)


def check(path: str | Path, engine: str | None = None) -> str:
    """Which of `ENGINES` the exported model is for; arguments and errors are those of `load`."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"No exported model at {path}.")
    found = recognise(path)
    if found is None:
        raise ValueError(f"{path} is no exported model; make one with maskrcnn export MODEL --format FORMAT --out PATH.")
    if engine not in (None, found):
        raise ValueError(f"{path} was exported for {found}, not for {engine}; leave out --engine, or export it for {engine}.")
    return found
