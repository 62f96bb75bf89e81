"""`maskrcnn data check` and `view`: all that is wrong or odd with a data set, and its images to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from maskrcnn.cli.console import console, progress, tell
from maskrcnn.cli.models import load_to_run
from maskrcnn.cli.options import DataArgument, ImagesOption, check_not_data
from maskrcnn.cli.reading import with_reading_options

if TYPE_CHECKING:
    from maskrcnn.data.dataset import Dataset


@with_reading_options
def check_data(
    data: DataArgument,
    *,
    reading: dict[str, Any],
    val: Annotated[
        str | None,
        typer.Option(
            "--val",
            metavar="VAL|X",
            help="Validation data, to find images that are in both; or the fraction of DATA that train would hold out.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="RUN|FILE|NAME", help="Find annotations that this model confidently contradicts."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", dir_okay=False, help="Write an HTML page: every finding with its image and a check box."
        ),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all findings to this file.")] = None,
    fix: Annotated[
        Path | None,
        typer.Option(
            "--fix", metavar="DIR", file_okay=False, help="Write a repaired copy to a new folder; DATA is not changed."
        ),
    ] = None,
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="The format of the repaired copy.")] = "coco",
    place: Annotated[
        Literal["copy", "link", "none"],
        typer.Option("--place-images", metavar="copy|link|none", help="How images get into the repaired copy."),
    ] = "copy",
    images: ImagesOption = None,
    val_images: Annotated[
        Path | None,
        typer.Option("--val-images", metavar="DIR", exists=True, file_okay=False, help="Like --images, for VAL."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 1 if there is a fault; warnings and notes are allowed.")
    ] = False,
) -> None:
    """Check all images and annotations for problems that harm training or scores.

    maskrcnn data check train.json --val val.json --out check.html

    maskrcnn data check train.json --fix repaired --strict
    """
    from maskrcnn.annotations.formats import check_writable
    from maskrcnn.atomic import write_json
    from maskrcnn.data.dataset import load_dataset
    from maskrcnn.data.parts import read_parts
    from maskrcnn.reports.tables import print_checkup
    from maskrcnn.verbs import check_data as verb

    check_writable(to)
    for file in (out, json_file):
        check_not_data(file, data, val, images, val_images)
    parts: tuple[Dataset, ...]
    if val is None:
        parts = (load_dataset(data, images=images, verify_images=False, **reading),)
    else:
        options = {"images": images, "val_images": val_images, "verify_images": False, **reading}
        parts = read_parts(data, val, seed=0, log=tell, **options)
    detector = None if model is None else load_to_run(model, None)
    total = sum(len(part) for part in parts) * (1 if detector is None else 2)
    with progress("Looking at images", total, at_once=False) as advance:
        checkup = verb.check_data(*parts, model=detector, progress=advance)
    print_checkup(checkup, console)
    if json_file is not None:
        write_json(json_file, checkup.as_json())
        tell(f"All findings are in {json_file}")
    if out is not None:
        tell(f"The page is {verb.write_page(checkup, out)}")
    if fix is not None:
        tell(verb.write_repaired(checkup, fix, to=to, images=place).summary())
        tell(f"The repaired copy is in {fix}")
    if strict and checkup.of_level("fault"):
        raise typer.Exit(1)


@with_reading_options
def view_data(
    data: DataArgument,
    *,
    reading: dict[str, Any],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", dir_okay=False, help="The HTML page to write.")] = Path(
        "view.html"
    ),
    num_images: Annotated[
        int,
        typer.Option("--num-images", metavar="N", min=1, help="Maximum number of images, drawn at random, with every class."),
    ] = 200,
    only_faulty: Annotated[bool, typer.Option("--only-faulty", help="Only images with a fault or a warning.")] = False,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Same seed, same images.")] = 0,
    images: ImagesOption = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Write a page of images with their ground truth, with filters by class, size and fault.

    maskrcnn data view train.json --out view.html --open
    """
    from maskrcnn.data.dataset import load_dataset
    from maskrcnn.verbs import view_data as verb

    check_not_data(out, data, images)
    dataset = load_dataset(data, images=images, verify_images=False, **reading)
    page = verb.view_data(dataset, out, num_images=num_images, only_faulty=only_faulty, seed=seed)
    tell(f"The page is {page}")
    if show:
        typer.launch(str(page.resolve()))
