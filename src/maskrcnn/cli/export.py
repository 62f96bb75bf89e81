"""`maskrcnn export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from maskrcnn.backend import prefer
from maskrcnn.cli.console import tell
from maskrcnn.cli.models import load_model


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A training run's folder, a .keras file, or nuclei.")],
    format: Annotated[
        Literal[
            "saved-model",
            "openvino",
            "litert",
            "onnx",
            "torch",
        ],
        typer.Option("--format", help="Target runtime."),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="PATH", help="The folder or file to write; it appears complete or not at all.")
    ],
    precision: Annotated[
        Literal[
            "float32",
            "float16",
            "bfloat16",
            "int8",
        ],
        typer.Option(
            "--precision",
            metavar="float32|float16|bfloat16|int8",
            help="Of the weights; bfloat16 and int8 are also computed in. Formats differ: docs/export.md.",
        ),
    ] = "float32",
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(
            "--calibrate",
            metavar="DIR|FILE",
            exists=True,
            help="For int8: about a hundred images like those the model will see. Repeat for more.",
        ),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            "--images",
            "--pictures",
            metavar="FILE",
            exists=True,
            help="Check the export with this image instead of nuclei. Repeat for more.",
        ),
    ] = None,
) -> None:
    """Export a model to another runtime, including masks and preprocessing, and check it against Keras.

    maskrcnn export runs/first --format onnx --out first.onnx

    maskrcnn predict --model first.onnx photo.jpg
    """
    if prefer(wanted := "torch" if format == "torch" else "tensorflow"):
        tell(f"Keras runs on {wanted}, from which {format} is written.")
    loaded = load_model(model)

    from maskrcnn.exporting.export import export as export_model
    from maskrcnn.images.files import find_images

    chosen = find_images(images) if images else ()
    seen = find_images(calibrate) if calibrate else ()
    export_model(loaded, out, format=format, precision=precision, images=chosen, calibrate=seen, log=tell)
    tell(f"The model is in {out}. Next: maskrcnn predict --model {out} IMAGES --out DIR")
