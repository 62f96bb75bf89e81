"""The numbers of a training run, each written once.

`maskrcnn.train` takes them as arguments or as a `RunConfig`; the options of `maskrcnn train`, their help, and the table in
docs/reference/run.md are made from the fields.
"""

# ruff: noqa: RUF009 - `_field` is `dataclasses.field`

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from maskrcnn.config.model import ModelConfig

READING = ("format", "masks", "classes", "class_attribute", "split", "crowds_are_objects")  # arguments of `load_dataset`
DATA = "Augmentation and rare classes"
DETAIL = "Training in detail"


class About(NamedTuple):
    """What is said of a field, and what it may hold."""

    help: str
    source: str = ""  # of the default
    group: str = ""  # of the options in --help
    metavar: str = ""  # what stands for the value on the command line; "" has no option
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()  # all there are; of `augment` those with a name


def _field(default: Any, help: str, **about: Any) -> Any:
    return dataclasses.field(default=default, metadata={"about": About(help, **about)})


@dataclass(frozen=True)
class RunConfig:
    """How a model is trained. `maskrcnn.train(data, val, out, epochs=5)` is `RunConfig(epochs=5)`.

    Example:
        config = RunConfig(epochs=50, optimizer="sgd", changes={"detect__max_detections": 400})
        maskrcnn.train("train.json", "val.json", "runs/first", config=config)

    Raises:
        ValueError: a value of another kind, or out of its range.
    """

    model: str | None = _field(
        None,
        "Architecture: mobilenet_v2_fpn (small), resnet50_fpn, resnet101_fpn and others. Default: that of a complete model in "
        "init, otherwise mobilenet_v2_fpn.",
        metavar="PRESET",
    )
    init: str | Path | None = _field(
        "auto",
        "Weights to start from: a backbone; a complete model of this package, torchvision, detectron2, MMDetection or "
        "matterport; or a published name, such as torchvision-v2 (maskrcnn convert list shows them). Default: an ImageNet "
        "backbone if available.",
        metavar="FILE|NAME",
    )
    epochs: int = _field(20, "Passes over the training data.", metavar="N", least=1)
    batch_size: int = _field(2, "Images per training step.", metavar="N", least=1)
    devices: Any = _field(
        1,
        "Number of devices that share each step's images, or all; batch_size must be a multiple of it.",
        metavar="N|all",
    )
    image_size: int | None = _field(
        None,
        "Shorter side of the resized image, in pixels; the longer side is at most 5/3 of it. Default: the preset's.",
        metavar="N",
        least=64,
    )
    input_channels: int | None = _field(
        None,
        "Channels of the images. Default: 3, or those of init, whose weights are inflated for another number.",
        metavar="N",
        least=1,
    )
    optimizer: str = _field("adam", "Optimizer.", metavar="NAME", choices=("adam", "adamw", "sgd"))
    learning_rate: float | None = _field(
        None,
        "Peak learning rate. Default: adam and adamw 2e-4, sgd 0.00125 per image of a step.",
        source="sgd: Detectron; linear in the batch, Goyal et al. 2017",
        metavar="X",
        least=0.0,
    )
    monitor: str | None = _field(
        None,
        "Logged metric that selects the best model, such as val_loss. Default: val_mask_ap; without validation data, the "
        "latest model is kept.",
        metavar="NAME",
    )
    patience: int | None = _field(
        None, "Stop early after this many epochs without improvement. Default: never.", metavar="N", least=1
    )
    save_minutes: float = _field(
        5.0, "Save the state this often; at most this much is lost if the run is killed.", metavar="X", least=0.0
    )
    seed: int = _field(0, "Seed of initialization, order, augmentation and sampling: same seed, same run.", metavar="N")
    workers: int = _field(0, "Processes that read images; 0 uses threads.", metavar="N", least=0)
    fast_decode: bool = _field(
        False,
        "Decode JPEGs that are at least twice as large as the model's input at a half, a quarter or an eighth of their size: "
        "12-megapixel photos load three times as fast and look slightly different.",
        metavar="flag",
    )
    no_report: bool = _field(False, "Do not write report.html, which shows the progress of the run.", metavar="flag")
    images: str | Path | None = _field(
        None, "Folder of the images of a COCO JSON, if they are not beside the JSON.", metavar="DIR"
    )
    val_images: str | Path | None = _field(None, "Like images, for the validation data.", metavar="DIR")
    strict: bool = _field(False, "Refuse data with any fault instead of repairing it or leaving it out.", metavar="flag")
    augment: Any = _field(
        "flip",
        "Data augmentation. In Python also an AugmentConfig, an Albumentations pipeline, or a function of (sample, rng).",
        source="Mask R-CNN, section 3.1",
        group=DATA,
        metavar="NAME",
        choices=("none", "flip", "photos", "microscopy"),
    )
    class_weights: str | Mapping[str, float] | None = _field(
        None,
        "Weight rare classes, or the classes named, more in the class loss. Default: all weights are 1.",
        group=DATA,
        metavar="balanced|effective|NAME=X,…",
    )
    repeat_threshold: float = _field(
        0.0,
        "Repeat images that contain a class present in less than this fraction of all images; 0: off.",
        source="Gupta et al. 2019 (LVIS) takes 0.001",
        group=DATA,
        metavar="X",
        least=0.0,
        most=1.0,
    )
    focal_gamma: float = _field(
        0.0,
        "Focusing parameter of the focal loss for classes; its authors use 2; 0 is cross-entropy.",
        source="Lin et al. 2017",
        group=DATA,
        metavar="X",
        least=0.0,
    )
    label_smoothing: float = _field(
        0.0,
        "Label smoothing of the classes; a usual value is 0.1. 0: off.",
        source="Szegedy et al. 2016",
        group=DATA,
        metavar="X",
        least=0.0,
        most=1.0,
    )
    schedule: str = _field(
        "cosine",
        "How the learning rate falls after the warm-up.",
        source="Loshchilov & Hutter 2017",
        group=DETAIL,
        metavar="NAME",
        choices=("cosine", "step", "constant"),
    )
    milestones: Sequence[float] = _field(
        (2 / 3, 8 / 9), "For schedule step: fractions of the run after which the rate falls to a tenth.", source="Detectron"
    )
    warm_up_steps: int | None = _field(
        None,
        "Steps of linear warm-up to the full learning rate. Default: 500, at most a tenth of the run.",
        source="Detectron",
        group=DETAIL,
        metavar="N",
        least=0,
    )
    weight_decay: float | None = _field(
        None,
        "Weight decay, of kernels only. Default: adam none, adamw 0.05, sgd 0.001.",
        source="MMDetection; Mask R-CNN, section 3.1",
        group=DETAIL,
        metavar="X",
        least=0.0,
    )
    clip_norm: float | None = _field(
        10.0,  # steps beyond it are accidents: a first step on a crowded image
        "Maximum global gradient norm; 0, or None in Python, turns clipping off.",
        group=DETAIL,
        metavar="X",
        least=0.0,
    )
    accumulate: int = _field(1, "Batches whose gradients are averaged for one step.", group=DETAIL, metavar="N", least=1)
    ema: float = _field(
        0.0,
        "Evaluate and save exponentially averaged weights with this decay: 0.998 for runs of a few thousand steps. 0: off.",
        group=DETAIL,
        metavar="X",
        least=0.0,
        most=1.0,
    )
    backbone_rate: float = _field(1.0, "Multiplier of the backbone's learning rate.", group=DETAIL, metavar="X", least=0.0)
    precision: str = _field(
        "float32",
        "Precision in which the layers compute; weights and losses are float32.",
        source="Micikevicius et al. 2018",
        group=DETAIL,
        metavar="NAME",
        choices=("float32", "bfloat16", "float16"),
    )
    freeze: str | Sequence[str] = _field(
        (),
        "Layers to freeze, by the beginning of their names: backbone, fpn … Repeat for more.",
        group=DETAIL,
        metavar="NAME",
    )
    dropout: float = _field(
        0.0,
        "Dropout rate of the box head's hidden layers; a usual value is 0.5. 0: off.",
        group=DETAIL,
        metavar="X",
        least=0.0,
        most=1.0,
    )
    stochastic_depth: float = _field(
        0.0,
        "Rate at which the backbone's last block is skipped, earlier ones less often; a usual value is 0.1. 0: off.",
        source="Huang et al. 2016",
        group=DETAIL,
        metavar="X",
        least=0.0,
        most=1.0,
    )
    matterport_config: Any = _field(
        None, "For init from matterport, the settings it was trained with: their Config, or a dict with their names."
    )
    reading: Mapping[str, Any] = dataclasses.field(
        default_factory=dict,
        metadata={"about": About("How annotations are read: format, masks, classes … as in load_dataset.")},
    )
    changes: Mapping[str, Any] = dataclasses.field(
        default_factory=dict, metadata={"about": About("Fields of ModelConfig, as section__field=value.")}
    )

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in dataclasses.fields(self):
            _check(field.name, hints[field.name], about(field), getattr(self, field.name))

    def with_settings(self, **settings: Any) -> RunConfig:
        """A copy with fields changed.

        What is `section__field`, or a field of `ModelConfig`, goes into `changes`; what `load_dataset` takes, into `reading`.

        Raises:
            ValueError: for a name that is neither, with the nearest that is; for a value out of its range.
        """
        own = {field.name for field in dataclasses.fields(self)}
        of_model = {field.name for field in dataclasses.fields(ModelConfig)}
        given = {name: value for name, value in settings.items() if name in own}
        reading = {name: value for name, value in settings.items() if name in READING}
        changes = {name: value for name, value in settings.items() if name not in own and name.split("__")[0] in of_model}
        for name in settings.keys() - given.keys() - reading.keys() - changes.keys():
            near = get_close_matches(name, [*own, *READING, *of_model], 1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"possible: {', '.join(sorted(own))}."
            raise ValueError(f"There is no setting {name!r}; {hint}")
        given["reading"] = {**self.reading, **given.get("reading", {}), **reading}
        given["changes"] = {**self.changes, **given.get("changes", {}), **changes}
        return dataclasses.replace(self, **given)

    def differing(self) -> set[str]:
        """Names of the fields that are not as by default, and of what `changes` and `reading` hold."""
        names = {
            field.name for field in dataclasses.fields(self) if getattr(self, field.name) != getattr(type(self)(), field.name)
        }
        return {*names, *self.changes, *self.reading}

    def model_changes(self) -> dict[str, Any]:
        """Fields of `ModelConfig` that the run sets; 0 leaves the model's own."""
        of_run = {
            "box_head__dropout": self.dropout,
            "backbone__stochastic_depth": self.stochastic_depth,
            "box_head__focal_gamma": self.focal_gamma,
            "box_head__label_smoothing": self.label_smoothing,
        }
        changes: dict[str, Any] = {name: value for name, value in of_run.items() if value}
        if self.image_size is not None:
            changes |= {"image__short_side": self.image_size, "image__long_side": round(self.image_size * 5 / 3)}
        return changes | dict(self.changes)


def about(field: dataclasses.Field[Any]) -> About:
    """What is said of a field of `RunConfig`."""
    return field.metadata["about"]


def _check(name: str, hint: Any, about: About, value: Any) -> None:
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if value is None and type(None) in kinds:
        return
    is_number = int in kinds or float in kinds
    wanted = Integral if int in kinds else Real
    if is_number and (isinstance(value, bool) or not isinstance(value, wanted) or not math.isfinite(value)):
        raise ValueError(f"{name} is a {'whole number' if int in kinds else 'number'}; received {value!r}.")
    if about.choices and isinstance(value, str) and value not in about.choices:
        raise ValueError(f"Unknown {name} {value!r}; possible: {', '.join(about.choices)}.")
    if about.choices and str in kinds and not isinstance(value, str):
        raise ValueError(f"{name} is one of {', '.join(about.choices)}; received {value!r}.")
    if about.least is not None and value < about.least:
        raise ValueError(f"{name} is at least {about.least:g}; received {value}.")
    if about.most is not None and value > about.most:
        raise ValueError(f"{name} is at most {about.most:g}; received {value}.")
