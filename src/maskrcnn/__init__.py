"""Mask R-CNN for Keras 3, on TensorFlow, JAX and PyTorch.

The public names, and nothing else. Each is imported when it is first asked for, so that `import maskrcnn` is instant and a
process that only reads pictures never loads Keras.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any

from maskrcnn import backend as _backend

if TYPE_CHECKING:
    from maskrcnn.api import MaskRCNN, load_model
    from maskrcnn.config import ModelConfig
    from maskrcnn.convert import convert
    from maskrcnn.data import Dataset, load_dataset
    from maskrcnn.data.planes import read_planes
    from maskrcnn.evaluate import evaluate
    from maskrcnn.results.measure import measure
    from maskrcnn.structures import Detections, Sample
    from maskrcnn.track import track
    from maskrcnn.train import CocoEvaluation, train

    __version__: str

__all__ = [
    "MaskRCNN",
    "load_model",
    "train",
    "evaluate",
    "track",
    "convert",
    "CocoEvaluation",
    "measure",
    "read_planes",
    "load_dataset",
    "Dataset",
    "Sample",
    "Detections",
    "ModelConfig",
    "__version__",
]

_HOMES = {
    "MaskRCNN": "maskrcnn.api",
    "load_model": "maskrcnn.api",
    "train": "maskrcnn.train",
    "evaluate": "maskrcnn.evaluate",
    "track": "maskrcnn.track",
    "convert": "maskrcnn.convert",
    "CocoEvaluation": "maskrcnn.train",
    "measure": "maskrcnn.results.measure",
    "read_planes": "maskrcnn.data.planes",
    "load_dataset": "maskrcnn.data",
    "Dataset": "maskrcnn.data",
    "Sample": "maskrcnn.structures",
    "Detections": "maskrcnn.structures",
    "ModelConfig": "maskrcnn.config",
}
_NEED_KERAS = {"MaskRCNN", "load_model", "train", "evaluate", "convert", "CocoEvaluation"}


class _Package(ModuleType):
    """Keeps `maskrcnn.train` the function, also after something has imported the module `maskrcnn.train`.

    Python binds a module to its package when it is first imported, so a verb's name would mean the function or the module
    depending on who came first. Here the public name always wins; the module is still there for `from maskrcnn.train import …`.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and name in _HOMES:
            value = getattr(value, name)
        super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("maskrcnn")
    if name not in _HOMES:
        raise AttributeError(f"module 'maskrcnn' has no attribute {name!r}")
    if name in _NEED_KERAS:
        _backend.require()
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


sys.modules[__name__].__class__ = _Package

_backend.choose()
try:
    _backend.require()
except ImportError as _missing:  # reading pictures and annotations works without one
    warnings.warn(str(_missing), stacklevel=2)
