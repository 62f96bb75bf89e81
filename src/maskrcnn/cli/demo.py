"""`maskrcnn demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskrcnn.cli.console import console, verbosity
from maskrcnn.cli.models import load_keras


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Folder for the images, the run and the report.")
    ] = Path("maskrcnn-demo"),
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", min=1, help="Fewer end sooner and find less.")] = 12,
) -> None:
    """Draw a small data set of shapes, train on it for a few minutes, evaluate, and write a report. Needs no data."""
    load_keras()

    from maskrcnn.verbs.demo import demo as run_demo

    run_demo(out, epochs=epochs, console=console, verbose=verbosity())
