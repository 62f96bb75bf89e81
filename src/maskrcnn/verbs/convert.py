"""Weights of other projects to a model file of ours, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from maskrcnn.api import MaskRCNN, load_model
from maskrcnn.config.model import Category
from maskrcnn.weights import models
from maskrcnn.weights.files.pth import write_pth
from maskrcnn.weights.projects import torchvision


def convert(
    file: str | Path,
    out: str | Path,
    *,
    to: Literal["maskrcnn", "torchvision"] = "maskrcnn",
    source: str = "auto",
    class_names: Sequence[str | Category] | None = None,
    num_classes: int | None = None,
    precision: Literal["float32", "float16"] = "float32",
    matterport_config: Any = None,
    log: Callable[[str], None] = print,
    **changes: Any,
) -> None:
    """Converts a checkpoint of torchvision, detectron2, MMDetection or matterport to a `.keras` model; or ours to torchvision.

    Args:
        file: see `MaskRCNN.from_checkpoint`; a `.keras` model or the folder of a run where `to` is `"torchvision"`.
        out: the file to write, `.keras` or `.pth`. It appears complete or not at all.
        to: `"torchvision"` gives a state dict that torchvision's `maskrcnn_resnet50_fpn` (or `_v2`, where the heads have norms)
            loads with `strict=True`; `log` is told how to make that model.
        source, class_names, matterport_config, **changes: see `MaskRCNN.from_checkpoint`, also for `input_channels`.
        num_classes: expected classes of the file, without background, as a check.
        precision: of the weights in a `.keras` file; `"float16"` halves it. Without the optimizer's state in any case.
        log: receives lines about what was found, assumed, loaded and ignored.

    Raises:
        FileNotFoundError, ConnectionError: no such file, or it cannot be downloaded.
        ValueError: a file that is damaged, of an unknown project, or that does not match the arguments.
    """
    out = Path(out)
    suffix = {"maskrcnn": ".keras", "torchvision": ".pth"}.get(to)
    if suffix is None:
        raise ValueError(f"Models are converted to maskrcnn or torchvision; received {to!r}.")
    if out.suffix != suffix:
        raise ValueError(f"A model for {to} ends with {suffix}; received {out.name}.")
    options: dict[str, Any] = {"source": source, "class_names": class_names, "matterport_config": matterport_config}
    if to == "torchvision":
        given = options | {"num_classes": num_classes, "precision": precision} | changes
        said = [name for name, value in given.items() if value not in (None, "auto", "float32")]
        if said:
            raise ValueError(f"For torchvision a model is written as it is; leave out {', '.join(said)}.")
        model = load_model(file)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_pth(out, torchvision.to_torchvision(model, model.config))
        arguments = ", ".join(f"{name}={value!r}" for name, value in torchvision.torchvision_arguments(model.config).items())
        name = "maskrcnn_resnet50_fpn" if model.config.fpn.norm == "none" else "maskrcnn_resnet50_fpn_v2"
        log(f"{out}: for torchvision.models.detection.{name}(weights=None, weights_backbone=None, {arguments})")
        return
    if precision not in ("float32", "float16"):
        raise ValueError(f"Weights are saved in float32 or float16; received {precision!r}.")
    model = MaskRCNN.from_checkpoint(file, log=log, **options, **changes)
    if num_classes not in (None, model.config.num_classes):
        raise ValueError(f"{file} knows {model.config.num_classes} classes, background not counted; num_classes={num_classes}.")
    out.parent.mkdir(parents=True, exist_ok=True)
    models.save(model, out, precision=precision)
    log(f"{out}: {model.config.num_classes} classes; weights: {model.config.origin or 'unknown'}")
