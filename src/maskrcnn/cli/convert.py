"""`maskrcnn convert`, and the list of published weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Column, Table

import maskrcnn
from maskrcnn.cli.console import console, tell
from maskrcnn.cli.models import load_keras
from maskrcnn.cli.options import (
    parse_settings,
)

EPILOG = (
    "Published names, downloaded on first use: torchvision-v1, torchvision-v2, detectron2-r50-3x, matterport-coco and "
    "others; `maskrcnn convert list` shows them all."
)


def convert(
    file: Annotated[str, typer.Argument(metavar="FILE|NAME|list", help="A checkpoint, a published name, or the word list.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="The model to write: .keras, or .pth.")] = None,
    to: Annotated[
        Literal["maskrcnn", "torchvision"], typer.Option("--to", metavar="maskrcnn|torchvision", help="Target format.")
    ] = "maskrcnn",
    source: Annotated[
        Literal["auto", "torchvision", "detectron2", "mmdet", "matterport"],
        typer.Option(
            "--from",
            metavar="auto|torchvision|detectron2|mmdet|matterport",
            help="Source project. auto: recognized by tensor names.",
        ),
    ] = "auto",
    classes: Annotated[
        Path | None,
        typer.Option("--classes", metavar="FILE", exists=True, dir_okay=False, help="Class names, one per line, in order."),
    ] = None,
    num_classes: Annotated[
        int | None, typer.Option("--num-classes", metavar="N", min=1, help="Expected number of classes, without background.")
    ] = None,
    precision: Annotated[
        Literal["float32", "float16"],
        typer.Option(
            "--precision", metavar="float32|float16", help="Precision of the weights in a .keras file; float16 halves its size."
        ),
    ] = "float32",
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="A field of maskrcnn.ModelConfig (detect.score=0.3), or a matterport setting (IMAGE_MAX_DIM=512). Repeat.",
        ),
    ] = None,
) -> None:
    """Convert weights of torchvision, detectron2, MMDetection or matterport to a model of this package, or back.

    maskrcnn convert mask_rcnn_coco.h5 --out coco.keras

    maskrcnn convert coco.keras --to torchvision --out coco.pth
    """
    if file == "list":
        _print_published()
        return
    if out is None:
        raise typer.BadParameter("say where to write with --out FILE")
    names = None if classes is None else [line.strip() for line in classes.read_text("utf-8").splitlines() if line.strip()]
    load_keras()
    options = {"to": to, "source": source, "class_names": names, "num_classes": num_classes, "precision": precision}
    maskrcnn.convert(file, out, log=tell, **options, **parse_settings(changes))  # type: ignore[arg-type]


def _print_published() -> None:
    from maskrcnn.weights.published import PUBLISHED

    table = Table(
        Column("name", no_wrap=True, overflow="fold"),
        "model",
        "box AP",
        "mask AP",
        Column("license of the weights", min_width=12),
    )
    for key, published in PUBLISHED.items():
        scores = ("" if score is None else str(score) for score in (published.box_ap, published.mask_ap))
        table.add_row(key, published.about, *scores, published.licence)
    console.print(table)
