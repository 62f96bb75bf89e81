"""Any file of weights, understood: which project it came from, and what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

from maskrcnn.config.model import Category
from maskrcnn.weights import models
from maskrcnn.weights.checkpoint import Checkpoint
from maskrcnn.weights.files.read import read_tensors
from maskrcnn.weights.projects import (
    convnexts,
    detectron2,
    detectron2_swin,
    efficientnet_lites,
    efficientnets,
    matterport,
    mmdet,
    mobilenets,
    regnets,
    resnets,
    swins,
    torchvision,
    vitdet,
    vits,
)

Source = Literal["auto", "torchvision", "detectron2", "mmdet", "matterport"]
SOURCES: dict[str, ModuleType] = {
    "torchvision": torchvision,
    "detectron2": detectron2,
    "mmdet": mmdet,
    "matterport": matterport,
}
BACKBONES: dict[str, ModuleType] = {
    "resnet": resnets,
    "efficientnet_lite": efficientnet_lites,
    "efficientnet": efficientnets,
    "convnext": convnexts,
    "swin": swins,
    "regnet": regnets,
    "mobilenet": mobilenets,
    "vit": vits,
}

CLASS_NAMES = ("meta/CLASSES", "meta/dataset_meta/classes")  # where MMDetection 2 and 3 write what its classes are called


def read_checkpoint(
    path: str | Path,
    *,
    source: str = "auto",
    class_names: Sequence[str | Category] | None = None,
    matterport_config: Any = None,
) -> Checkpoint:
    """Reads a file of another project's weights.

    Args:
        path: `.pth`, `.pkl`, `.safetensors` or `.h5`; the kind is told by the content.
        source: `"torchvision"`, `"detectron2"`, `"mmdet"`, `"matterport"`, or `"auto"`: told by the tensors' names.
        class_names: of the classes in the file, background not counted; where None, those that the file tells.
        matterport_config: of a matterport file, the numbers it was trained with: their `Config`, or a dict in their names.

    Raises:
        FileNotFoundError: no such file.
        ValueError: one line that names the file: damaged, of another project than said, of none that is known, or not fitting.
    """
    if source not in get_args(Source):
        raise ValueError(f"Unknown source {source!r}; possible: {', '.join(get_args(Source))}.")
    path = Path(path)
    file = read_tensors(path)
    tensors = file.tensors
    recognised, module = _recognise(tensors)
    if module is None:
        some = ", ".join(map(repr, list(tensors)[:3]))
        raise ValueError(
            f"{path} holds {len(tensors)} tensors ({some}, …) of no project that is known: they are named neither as "
            "torchvision, detectron2, MMDetection or matterport name a Mask R-CNN's, nor as torchvision or timm name one of "
            f"these backbones: {', '.join(BACKBONES)}."
        )
    if source not in ("auto", recognised):
        raise ValueError(
            f"{path} holds tensors named as {recognised} names them, not {source}; use --from auto or {recognised}."
        )
    told = next((file.meta[key] for key in CLASS_NAMES if isinstance(file.meta.get(key), tuple) and file.meta[key]), None)
    options: dict[str, Any] = {} if recognised in BACKBONES else {"class_names": told if class_names is None else class_names}
    if recognised == "matterport":
        options["config"] = matterport_config
    elif matterport_config:
        raise ValueError(
            f"{path} is of {recognised}; settings in matterport's names ({_names(matterport_config)}) say nothing."
        )
    try:
        return module.read(tensors, **options)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def holds_whole_model(path: str | Path) -> bool:
    """Whether the file is a whole model of a project that is known: of this package, or of another; a backbone is none."""
    path = Path(path)
    if path.suffix == ".npz":
        return False
    if models.is_model(path):
        return True
    try:
        return _recognise(read_tensors(path).tensors)[0] in SOURCES
    except ValueError:
        return False  # of Keras, say; whoever reads it in earnest says what is wrong with it


def _recognise(tensors: Mapping[str, Any]) -> tuple[str, ModuleType | None]:
    """The source and its reader. Whole models hold a backbone too, so they are asked first."""
    known = (("detectron2", vitdet), ("detectron2", detectron2_swin), *SOURCES.items(), *BACKBONES.items())
    return next(((name, module) for name, module in known if module.recognise(tensors)), ("", None))


def _names(config: Any) -> str:
    return ", ".join(config) if isinstance(config, Mapping) else type(config).__name__
