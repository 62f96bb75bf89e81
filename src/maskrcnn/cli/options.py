"""Options that several commands share, and values that are more than a number or a word."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

MODEL_HELP = (
    "A training run's folder (its best.keras), a .keras file, nuclei (included in the package), or a "
    "published model such as torchvision-v2, downloaded on first use (maskrcnn convert list shows them)."
)
MODEL_OPTION = typer.Option("--model", metavar="RUN|FILE|NAME", help=MODEL_HELP)
MODELS_OPTION = typer.Option("--model", metavar="RUN|FILE|NAME", help=f"{MODEL_HELP} Repeat for an ensemble.")
TtaOption = Annotated[
    bool,
    typer.Option(
        "--tta",
        help="Test-time augmentation: process each image six times, mirrored and at three scales, and fuse the detections. "
        "Takes about seven times as long.",
    ),
]


ImagesOption = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Folder of the images, if they are not beside the annotations.",
    ),
]


EngineName = Literal["auto", "keras", "litert", "onnxruntime", "openvino", "saved-model", "torch"]
EngineOption = Annotated[
    EngineName,
    typer.Option(
        "--engine",
        metavar="ENGINE",
        help="Runtime of the model: keras, litert, onnxruntime, openvino, saved-model or torch. auto (default): exported "
        "models run on the engine they were written for; others run on Keras, or on OpenVINO or ONNX Runtime if that is "
        "faster here, which is measured once per model, after its first results.",
    ),
]


BatchOption = Annotated[int, typer.Option("--batch-size", metavar="N", min=1, help="Images processed by the model together.")]


StrictOption = Annotated[
    bool, typer.Option("--strict", help="Refuse data with any fault instead of repairing it or leaving it out.")
]


DATA_HELP = "A file or folder of annotations: COCO, VIA, YOLO, LabelMe, VOC, CVAT, label maps … (docs/data.md lists all)."


IN_DETAIL: dict[str, Any] = {"rich_help_panel": "Training in detail"}


MEDICAL: dict[str, Any] = {"rich_help_panel": "Medical and scientific images"}


LARGE: dict[str, Any] = {"rich_help_panel": "Large images"}


MANY: dict[str, Any] = {"rich_help_panel": "Millions of images"}


ABOUT_DATA: dict[str, Any] = {"rich_help_panel": "Augmentation and rare classes"}


DataArgument = Annotated[Path, typer.Argument(metavar="DATA", exists=True, help=DATA_HELP)]


LooksOption = Annotated[
    str,
    typer.Option("--model", metavar="PRESET|RUN|FILE", help="Use the settings of this preset, run folder or .keras file."),
]


SizeOption = Annotated[
    int | None,
    typer.Option(
        "--image-size", metavar="N", min=64, help="Shorter side of the resized image in pixels, instead of the model's."
    ),
]


def check_not_data(out: Path | None, *data: Path | str | None) -> None:
    """Refuses to write a page or numbers over a file that is read: the data set itself, or what lies in its folder.

    A page of before may be replaced, wherever it lies: no annotations are HTML.

    Raises:
        typer.BadParameter: for such a file.
    """
    if out is None or not out.is_file():
        return
    for given in (Path(each) for each in data if each is not None):
        if not given.exists():
            continue
        inside = given.is_dir() and out.suffix.lower() != ".html" and out.resolve().is_relative_to(given.resolve())
        if inside or out.samefile(given):
            raise typer.BadParameter(f"{out} is a file of the data itself, and would be lost; name another file to write to.")


def parse_settings(changes: Iterable[str] | None) -> dict[str, Any]:
    """What `--set` said: fields of `ModelConfig`, and, gathered under one name, numbers in matterport's capitals."""
    given = dict(parse_setting(change) for change in changes or [])
    numbers = {name: value for name, value in given.items() if name.isupper()}
    fields = {name: value for name, value in given.items() if not name.isupper()}
    return fields | ({"matterport_config": numbers} if numbers else {})


def parse_setting(change: str) -> tuple[str, Any]:
    """`detect.max_detections=400` as a name and a value of `ModelConfig`."""
    field, _, value = change.partition("=")
    try:
        return field.replace(".", "__"), json.loads(value)
    except json.JSONDecodeError:
        return field.replace(".", "__"), value  # a word, such as class_agnostic


def parse_class_weights(text: str | None) -> str | dict[str, float] | None:
    """`balanced`, or `car=1,bus=4` by name."""
    if text is None or "=" not in text:
        return text
    pairs = [part.rpartition("=") for part in text.split(",")]
    try:
        return {name.strip(): float(value) for name, _, value in pairs}
    except ValueError:
        raise typer.BadParameter(f"--class-weights is balanced, effective or NAME=X,NAME=X; received {text}.") from None


def parse_score(text: str, *, least: float = 0.0) -> float | Literal["auto"]:
    """`0.5`, or `auto`."""
    if text == "auto":
        return "auto"
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not least <= score <= 1.0:
        raise typer.BadParameter(f"a number from {least:g} to 1, or auto; received {text}.", param_hint="'--score'")
    return score


def parse_window(text: str | None) -> tuple[float, float] | int | None:
    """`40,400` as (center, width), `2` as a number."""
    if text is None:
        return None
    try:
        if "," not in text:
            return int(text)
        centre, width = map(float, text.split(","))
        if not math.isfinite(centre + width):
            raise ValueError
        return centre, width
    except ValueError:
        raise typer.BadParameter(f"a window is CENTER,WIDTH, such as 40,400, or a number; received {text}") from None
