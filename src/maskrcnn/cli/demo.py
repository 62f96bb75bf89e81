"""`maskrcnn demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskrcnn.cli.console import console
from maskrcnn.cli.models import load_keras
from maskrcnn.cli.training import TrainingDisplay


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Folder for the images, the run and the report.")
    ] = Path("maskrcnn-demo"),
    epochs: Annotated[
        int, typer.Option("--epochs", metavar="N", min=1, help="Epochs of training; more take longer and improve the result.")
    ] = 2,
) -> None:
    """Find nuclei with the included model, train another on drawn shapes, and write a report. Needs no data."""
    load_keras()

    from maskrcnn.reports.tables import print_scores
    from maskrcnn.verbs.demo import demo as run_demo

    with TrainingDisplay() as display:
        scores = run_demo(out, epochs=epochs, log=display.tell, verbose=0, report=display.show)
    print_scores(scores, console)
