"""`maskrcnn benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from maskrcnn.backend import prefer
from maskrcnn.cli.console import console, tell
from maskrcnn.cli.models import load_keras


def benchmark(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As in predict, but not an exported model.")],
    images: Annotated[
        list[Path] | None,
        typer.Option("--images", metavar="FILE", exists=True, help="Time with this image instead of nuclei. Repeat for more."),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="Time only this export besides Keras: openvino, onnx, litert or saved-model. Repeat for more. Default: "
            "every format whose runtime is installed.",
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option("--rounds", metavar="N", min=1, help="How often each engine processes the images.")
    ] = 5,
) -> None:
    """Time a model on every installed engine on this machine, and name the fastest.

    maskrcnn benchmark runs/first --images photo.jpg

    Exports are written in float32, checked to give the same answers, and kept in the cache, where predict, track and evaluate
    find them. Half precision and int8, which do change answers, are timed by predict --model EXPORT.
    """
    if prefer("tensorflow"):
        tell("Keras runs on tensorflow, from which exports are written.")
    from maskrcnn.images.files import find_images
    from maskrcnn.verbs.benchmark import RUNTIMES, benchmark
    from maskrcnn.verbs.engine_choice import remember
    from maskrcnn.weights.finding import file_here

    file_here(model)  # before Keras is loaded, which takes seconds
    chosen = find_images(images) if images else ()
    load_keras()
    found = benchmark(model, images=chosen, formats=formats or tuple(RUNTIMES), rounds=rounds, log=tell)
    remember(found)
    keras = next(timing.seconds for timing in found.timings if timing.name == "keras")
    columns = ("", "seconds", "from", "to", "as fast as Keras", "to load")
    table = Table(*(Column(name, justify="right" if name else "left") for name in columns), title_justify="left")
    table.title = f"{max(len(chosen), 1)} images, masks included: medians of {rounds} rounds in turn"
    for timing in found.timings:
        numbers = (timing.seconds, *timing.spread)
        table.add_row(
            timing.name, *(f"{number:.3f}" for number in numbers), f"{keras / timing.seconds:.2f} ×", f"{timing.start:.1f}"
        )
    console.print(table)
    for name, why in found.failures.items():
        tell(f"{name} takes no part: {why}")
    if found.fastest == "keras":
        tell("No engine is clearly faster than Keras here.")
    else:
        tell(f"{found.fastest} is the fastest here: maskrcnn export {model} --format {found.fastest} --out PATH.")
