"""`maskrcnn train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from maskrcnn.cli.console import tell
from maskrcnn.cli.models import load_keras
from maskrcnn.cli.options import DATA_HELP, parse_class_weights, parse_settings
from maskrcnn.cli.reading import with_reading_options
from maskrcnn.cli.run_options import with_run_options
from maskrcnn.cli.training import TrainingDisplay


@with_reading_options
@with_run_options
def train(
    data: Annotated[Path, typer.Option("--data", metavar="TRAIN", exists=True, help=f"What to learn from. {DATA_HELP}")],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="RUN", file_okay=False, help="Folder for best.keras, last.keras, history and scores."),
    ],
    val: Annotated[
        str | None,
        typer.Option(
            "--val",
            metavar="VAL|X",
            help="What to score each epoch on: annotations as of --data, or the part of DATA to keep for it. Default: 0.2.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the run in --out was cut short. The other options must be the same.")
    ] = False,
    auto: Annotated[
        bool,
        typer.Option(
            "--auto/--no-auto",
            help="Choose from the data what isn't given: image size, anchors, batch, epochs, augmentation, numbers of "
            "detections and proposals. Without: the paper's, and the defaults below.",
        ),
    ] = True,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="A setting of the model, by its place in maskrcnn.ModelConfig: detect.max_detections=400. Repeat for more.",
        ),
    ] = None,
    reading: dict[str, Any] | None = None,
    **settings: Any,
) -> None:
    """Train a model on your images.

    maskrcnn train --data train.json --val val.json --out runs/first --epochs 20
    """
    from maskrcnn.config.run import RunConfig
    from maskrcnn.data.parts import FRACTION
    from maskrcnn.locks import owned
    from maskrcnn.training.plan import make_plan

    if "class_weights" in settings:
        settings["class_weights"] = parse_class_weights(settings["class_weights"])
    settings |= parse_settings(changes)
    config = RunConfig().with_settings(**settings, reading=reading or {})
    with owned(out, "training", tell):
        plan = make_plan(data, FRACTION if val is None else val, out, config, resume=resume, log=tell, auto=auto)
        load_keras()

        from maskrcnn.training.tuning import tuned
        from maskrcnn.verbs.train import run_plan

        plan = tuned(plan, settings, tell) if auto else plan

        with TrainingDisplay() as display:
            run_plan(plan, log=display.tell, verbose=0, report=display.show)
    tell(f"The run is in {out}. Next: maskrcnn predict --model {out} IMAGES --out DIR")
