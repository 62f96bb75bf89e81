"""Mask R-CNN for Keras 3, on TensorFlow, JAX and PyTorch.

The public names, and nothing else. Each is imported when it is first asked for, so that `import maskrcnn` is instant and a
process that only reads images never loads Keras.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from maskrcnn import backend as _backend

if TYPE_CHECKING:
    from maskrcnn.api import MaskRCNN, load_model
    from maskrcnn.config.model import Category, ModelConfig
    from maskrcnn.data.dataset import Dataset, load_dataset
    from maskrcnn.exporting.export import export
    from maskrcnn.images.images import read_planes
    from maskrcnn.inference.detections import Detections
    from maskrcnn.inference.ensemble import Ensemble
    from maskrcnn.results.measure import measure
    from maskrcnn.structures import Sample
    from maskrcnn.verbs.convert import convert
    from maskrcnn.verbs.evaluate import compare, evaluate
    from maskrcnn.verbs.predict import predict
    from maskrcnn.verbs.track import track
    from maskrcnn.verbs.train import CocoEvaluation, train

    __version__: str

__all__ = [
    "MaskRCNN",
    "Ensemble",
    "load_model",
    "train",
    "predict",
    "evaluate",
    "compare",
    "export",
    "track",
    "convert",
    "CocoEvaluation",
    "measure",
    "read_planes",
    "load_dataset",
    "Dataset",
    "Sample",
    "Detections",
    "Category",
    "ModelConfig",
    "__version__",
]

_HOMES = {
    "MaskRCNN": "maskrcnn.api",
    "Ensemble": "maskrcnn.inference.ensemble",
    "load_model": "maskrcnn.api",
    "train": "maskrcnn.verbs.train",
    "predict": "maskrcnn.verbs.predict",
    "export": "maskrcnn.exporting.export",
    "evaluate": "maskrcnn.verbs.evaluate",
    "compare": "maskrcnn.verbs.evaluate",
    "track": "maskrcnn.verbs.track",
    "convert": "maskrcnn.verbs.convert",
    "CocoEvaluation": "maskrcnn.verbs.train",
    "measure": "maskrcnn.results.measure",
    "read_planes": "maskrcnn.images.images",
    "load_dataset": "maskrcnn.data.dataset",
    "Dataset": "maskrcnn.data.dataset",
    "Sample": "maskrcnn.structures",
    "Detections": "maskrcnn.inference.detections",
    "Category": "maskrcnn.config.model",
    "ModelConfig": "maskrcnn.config.model",
}
_NEED_KERAS = {"MaskRCNN", "load_model", "train", "evaluate", "export", "convert", "CocoEvaluation"}


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


_backend.choose()
try:
    _backend.require()
except ImportError as _missing:  # reading images and annotations works without one
    warnings.warn(str(_missing), stacklevel=2)
