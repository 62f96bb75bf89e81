"""`maskrcnn inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import maskrcnn
from maskrcnn.cli.console import tell
from maskrcnn.cli.models import load_model
from maskrcnn.cli.options import DATA_HELP, MODEL_OPTION, ImagesOption, check_not_data
from maskrcnn.cli.reading import with_reading_options


@with_reading_options
def inspect(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", exists=True, dir_okay=False, help="The image to inspect.")],
    *,
    reading: dict[str, Any],
    model: Annotated[Path | None, MODEL_OPTION] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth",
            metavar="DATA",
            exists=True,
            help=f"Ground truth that contains the image, to explain missed objects. {DATA_HELP}",
        ),
    ] = None,
    images: ImagesOption = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", dir_okay=False, help="The HTML page to write.")] = Path(
        "inspection.html"
    ),
) -> None:
    """Write a page with every stage of the network for one image; with ground truth, why objects were missed.

    maskrcnn inspect cells.png --model runs/first --truth val.json --out page.html

    Without --model, the included model finds cell nuclei.
    """
    from maskrcnn.weights.published import SHIPPED

    check_not_data(out, image, truth, images)
    dataset = None if truth is None else maskrcnn.load_dataset(truth, images=images, verify_images=False, **reading)
    loaded = load_model(model or SHIPPED["nuclei"])

    from maskrcnn.verbs.inspect import inspect_image

    inspected = inspect_image(loaded, image, out, truth=dataset)
    inspection, missed = inspected.inspection, inspected.missed
    tell(f"{len(inspection.proposals)} proposals, {len(inspection.detections)} detections")
    if dataset is not None:
        tell(f"{len(missed)} of {len(inspected.explanations)} objects were missed")
    for explanation in missed:
        stage = explanation.stages[-1]
        tell(f"Object {explanation.object} ({explanation.class_name}), lost at {stage.name}: {stage.text}")
    tell(f"The page is {out}")
