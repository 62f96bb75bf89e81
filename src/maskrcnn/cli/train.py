"""`maskrcnn train`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from maskrcnn.cli.console import tell
from maskrcnn.cli.models import load_keras
from maskrcnn.cli.options import DATA_HELP, parse_class_weights, parse_settings
from maskrcnn.cli.reading import with_reading_options
from maskrcnn.cli.run_options import with_run_options
from maskrcnn.cli.training import TrainingDisplay

MACHINES = "Several machines"


@with_reading_options
@with_run_options
def train(
    data: Annotated[Path, typer.Option("--data", metavar="TRAIN", exists=True, help=f"Training data. {DATA_HELP}")],
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="RUN", file_okay=False, help="Folder of the run: best.keras, last.keras, history, scores, report."
        ),
    ],
    val: Annotated[
        str | None,
        typer.Option(
            "--val",
            metavar="VAL|X",
            help="Validation data, scored after each epoch: annotations, or the fraction of DATA to hold out. Default: 0.2.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the interrupted run in --out. All other options must be the same.")
    ] = False,
    auto: Annotated[
        bool,
        typer.Option(
            "--auto/--no-auto",
            help="Choose unspecified settings from the data: image size, anchors, batch size, epochs, augmentation, numbers "
            "of detections and proposals. With --no-auto: the paper's, and the defaults below.",
        ),
    ] = True,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="A field of maskrcnn.ModelConfig, such as detect.max_detections=400. Repeat for more.",
        ),
    ] = None,
    coordinator: Annotated[
        str | None,
        typer.Option(
            "--coordinator",
            metavar="HOST:PORT|auto",
            help="Train together with processes on other machines, each started with this option: the address of the first "
            "process; this port and the next are used. auto: from the variables of torchrun or SLURM.",
            rich_help_panel=MACHINES,
        ),
    ] = None,
    process: Annotated[
        int | None,
        typer.Option(
            "--process",
            metavar="I",
            min=0,
            help="Rank of this process, from 0; the first one writes. Default: as set by torchrun, SLURM or Kubernetes.",
            rich_help_panel=MACHINES,
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            metavar="N",
            min=1,
            help="Number of processes. Default: as set by torchrun or SLURM.",
            rich_help_panel=MACHINES,
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
    from maskrcnn.distributed.meeting import meeting
    from maskrcnn.distributed.place import find_place
    from maskrcnn.locks import owned
    from maskrcnn.training.plan import chooses, make_plan

    if "class_weights" in settings:
        settings["class_weights"] = parse_class_weights(settings["class_weights"])
    settings |= parse_settings(changes)
    config = RunConfig().with_settings(**settings, reading=reading or {})
    place = find_place(coordinator, process, processes)
    log = place.voice(tell)
    with meeting(place), owned(out, "training", tell) if place.is_first else nullcontext():
        auto = chooses(auto, place.among, log)
        plan = make_plan(
            data,
            FRACTION if val is None else val,
            out,
            config,
            resume=resume,
            log=log,
            auto=auto,
            owns_folder=place.is_first,
        )
        load_keras()

        from maskrcnn.training.tuning import tuned
        from maskrcnn.verbs.train import run_plan

        plan = tuned(plan, settings, tell) if auto else plan

        with TrainingDisplay() as display:
            run_plan(plan, place, log=display.tell, verbose=0, report=display.show)
    if place.is_first:
        tell(f"The run is in {out}. Next: maskrcnn predict --model {out} IMAGES --out DIR")
