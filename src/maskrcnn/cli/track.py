"""`maskrcnn track`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from maskrcnn.cli.console import progress, tell
from maskrcnn.cli.models import model_to_run
from maskrcnn.cli.options import (
    MODEL_OPTION,
    BatchOption,
    EngineOption,
    parse_score,
)

LEAST_SCORE = 0.01  # a track begins with something


def track(
    source: Annotated[
        str,
        typer.Argument(
            metavar="VIDEO|FOLDER|GLOB|CAMERA", help="A video, images in a folder or glob, or the number of a camera."
        ),
    ],
    model: Annotated[Path | None, MODEL_OPTION] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Folder for the results.")] = Path(
        "tracked"
    ),
    tracker: Annotated[
        Literal["mask", "bytetrack", "botsort", "ocsort", "sort"],
        typer.Option("--tracker", metavar="mask|bytetrack|botsort|ocsort|sort", help="By masks (default) or by boxes."),
    ] = "mask",
    every: Annotated[int, typer.Option("--every", metavar="N", min=1, help="Process only every N-th frame.")] = 1,
    score: Annotated[
        str,
        typer.Option(
            "--score",
            metavar="X|auto",
            help="Lowest score that starts a track; auto: each class's best threshold, which evaluate --save-scores stored "
            "in the model.",
        ),
    ] = "0.5",
    lost: Annotated[
        int, typer.Option("--lost", metavar="N", min=0, help="Frames for which an object that is not seen is remembered.")
    ] = 30,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="X", min=0.001, help="Frame rate of images, per second. Default: 10.")
    ] = None,
    save: Annotated[
        list[str] | None,
        typer.Option(
            "--save",
            metavar="FORMAT",
            help="Output: overlay, mot, mots, json, csv (all by default), ctc. Repeat for more.",
        ),
    ] = None,
    codec: Annotated[
        Literal["av1", "vp9", "h264", "mpeg4"] | None,
        typer.Option(
            "--codec",
            metavar="av1|vp9|h264|mpeg4",
            help="Codec of the overlay video. Default: the first of av1, vp9 and mpeg4 that FFmpeg can write; h264 also plays "
            "on old devices.",
        ),
    ] = None,
    batch_size: BatchOption = 1,
    engine: EngineOption = "auto",
) -> None:
    """Follow the objects of a video: an overlay video, and their tracks as MOT, MOTS, COCO-video JSON and CSV.

    maskrcnn track --model runs/first street.mp4 --out tracked

    Without --model, the included model finds cell nuclei. Ctrl-C stops and keeps the results so far.
    """
    from maskrcnn.verbs.track import check_tracking, track_files
    from maskrcnn.weights.published import SHIPPED

    least = parse_score(score, least=LEAST_SCORE)
    files: dict[str, Any] = {"codec": codec} | ({"save": save} if save else {})
    check_tracking(source, **files)
    if model is None:
        tell("Without --model: cell nuclei, found by the model that comes with the package.")
    done = 0
    options: dict[str, Any] = {"tracker": tracker, "every": every, "score": least, "lost": lost, "rate": rate}
    options |= files | {"batch_size": batch_size, "log": tell}
    with model_to_run(model or SHIPPED["nuclei"], engine) as loaded, ExitStack() as bar:
        advance: Callable[..., Any] = bool  # until the bar is there

        def on_start(total: int | None) -> None:
            nonlocal advance
            advance = bar.enter_context(progress("Tracking", total))

        def on_frame(*_: Any) -> None:
            nonlocal done
            done += 1
            advance()

        try:
            track_files(loaded, source, out, on_start=on_start, on_frame=on_frame, **options)
        except ValueError:
            if done:
                tell(f"Stopped after {done} frames; the results up to there are in {out}")
            raise
        bar.close()
        tell(f"{done} frames done; the results are in {out}")
