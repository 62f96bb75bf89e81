"""`maskrcnn data`: a data set written anew: in another format, in parts, joined with others, or less of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import maskrcnn
from maskrcnn.cli.console import progress, tell
from maskrcnn.cli.options import DATA_HELP, DataArgument, ImagesOption
from maskrcnn.cli.reading import with_reading_options

_FORMATS = "coco, yolo, labelme, voc, cvat … (docs/data.md lists all)."
OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", file_okay=False, help="A new folder to write to.")]
ToOption = Annotated[str, typer.Option("--to", metavar="FORMAT", help=f"The format to write: {_FORMATS}")]
PlaceOption = Annotated[
    Literal["copy", "link", "none"],
    typer.Option("--place-images", metavar="copy|link|none", help="How images get into the folder."),
]
SeedOption = Annotated[int, typer.Option("--seed", metavar="N", help="Same seed, same images.")]


@with_reading_options
def convert_data(
    data: DataArgument,
    *,
    reading: dict[str, Any],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help=_FORMATS)],
    out: OutOption,
    images: ImagesOption = None,
    place: PlaceOption = "copy",
) -> None:
    """Convert a data set to another tool's format.

    maskrcnn data convert export.json --to yolo --out cells-yolo
    """
    from maskrcnn.verbs import data as verb

    dataset = maskrcnn.load_dataset(data, images=images, verify_images=False, **reading)
    converted = verb.convert_data(dataset, to=to, out=out, images=place)
    tell(converted.summary())
    tell(f"Written to {out} as {to}")


@with_reading_options
def split_data(
    data: DataArgument,
    *,
    reading: dict[str, Any],
    out: OutOption,
    val: Annotated[
        float, typer.Option("--val", metavar="X", min=0.0, max=1.0, help="Fraction of images for validation.")
    ] = 0.2,
    test: Annotated[float, typer.Option("--test", metavar="X", min=0.0, max=1.0, help="Fraction of images for testing.")] = 0.0,
    seed: SeedOption = 0,
    group_by: Annotated[
        str | None,
        typer.Option(
            "--group-by",
            metavar="folder|REGEX",
            help="Keep groups together, such as a patient or a video: images of a folder, or those whose file names have the "
            "same match of a regular expression, such as '^[^_]+' (all before the first _).",
        ),
    ] = None,
    keep_alike: Annotated[
        bool,
        typer.Option("--keep-alike/--ignore-alike", help="Compare all images, and keep near-duplicates in the same part."),
    ] = True,
    to: ToOption = "coco",
    images: ImagesOption = None,
    place: PlaceOption = "copy",
) -> None:
    """Split a data set into training, validation and test parts, with every class distributed evenly.

    maskrcnn data split export.json --out cells --val 0.2

    maskrcnn train --data cells --val cells --out runs/first
    """
    from maskrcnn.verbs import data_sets as verb

    dataset = maskrcnn.load_dataset(data, images=images, verify_images=False, **reading)
    if dataset.faults:
        tell(dataset.summary())
    with progress("Looking at images", len(dataset), at_once=False) as advance:
        written = verb.split_data(
            dataset, out, val=val, test=test, seed=seed, group_by=group_by, keep_alike=keep_alike, to=to, images=place,
            progress=advance,
        )  # fmt: skip
    tell(written.summary())
    tell(f"Written to {', '.join(str(out / name) for name in written.parts)} as {to}")


@with_reading_options
def merge_data(
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", exists=True, help=DATA_HELP)],
    *,
    reading: dict[str, Any],
    out: OutOption,
    rename: Annotated[
        list[str] | None,
        typer.Option("--rename", metavar="OLD=NEW", help="Rename a class, or merge it into another. Repeat for more."),
    ] = None,
    to: ToOption = "coco",
    place: PlaceOption = "copy",
) -> None:
    """Merge data sets; classes of the same name become one. With one data set, rename its classes.

    maskrcnn data merge site1.json site2/ --rename Nucleus=nucleus --out both
    """
    from maskrcnn.verbs import data_sets as verb

    pairs = dict(_old_and_new(text) for text in rename or [])
    sets = [maskrcnn.load_dataset(path, verify_images=False, **reading) for path in data]
    for dataset in sets:
        tell(dataset.summary())
    tell(verb.merge_data(sets, out, rename=pairs, to=to, images=place).summary())
    tell(f"Written to {out} as {to}")


@with_reading_options
def select_data(
    data: DataArgument,
    *,
    reading: dict[str, Any],
    out: OutOption,
    keep: Annotated[
        list[str] | None, typer.Option("--class", metavar="NAME", help="Keep only this class. Repeat for more.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option("--without-class", metavar="NAME", help="Remove this class. Repeat for more.")
    ] = None,
    min_area: Annotated[
        float | None, typer.Option("--min-area", metavar="N", min=0, help="Minimum mask area in pixels.")
    ] = None,
    max_area: Annotated[
        float | None, typer.Option("--max-area", metavar="N", min=0, help="Maximum mask area in pixels.")
    ] = None,
    files: Annotated[
        list[str] | None,
        typer.Option("--files", metavar="GLOB", help="Keep images whose names match, such as 'site1_*'. Repeat for more."),
    ] = None,
    rest_as_crowds: Annotated[
        bool,
        typer.Option(
            "--rest-as-crowds",
            help="Turn objects that are not kept into crowd regions instead of background: nothing is learned there.",
        ),
    ] = False,
    drop_empty_images: Annotated[bool, typer.Option("--drop-empty-images", help="Leave out images without objects.")] = False,
    drop_empty_classes: Annotated[
        bool, typer.Option("--drop-empty-classes", help="Leave out classes without objects.")
    ] = False,
    to: ToOption = "coco",
    images: ImagesOption = None,
    place: PlaceOption = "copy",
) -> None:
    """Select a part of a data set by class, size or image.

    maskrcnn data select export.json --class nucleus --min-area 20 --out large-nuclei
    """
    from maskrcnn.data.selection import Selection
    from maskrcnn.verbs import data_sets as verb

    selection = Selection(
        keep, without or (), min_area, max_area, files or (), rest_as_crowds, drop_empty_images, drop_empty_classes
    )
    dataset = maskrcnn.load_dataset(data, images=images, verify_images=False, **reading)
    tell(dataset.summary())
    tell(verb.select_data(dataset, out, selection, to=to, images=place).summary())
    tell(f"Written to {out} as {to}")


@with_reading_options
def sample_data(
    data: DataArgument,
    *,
    reading: dict[str, Any],
    out: OutOption,
    count: Annotated[int, typer.Option("--num-images", metavar="N", min=1, help="Number of images.")] = 20,
    seed: SeedOption = 0,
    to: ToOption = "coco",
    images: ImagesOption = None,
    place: PlaceOption = "copy",
) -> None:
    """Write a small sample of a data set for experiments, with every class if possible.

    maskrcnn data sample export.json --num-images 20 --out small
    """
    from maskrcnn.verbs import data_sets as verb

    dataset = maskrcnn.load_dataset(data, images=images, verify_images=False, **reading)
    tell(dataset.summary())
    tell(verb.sample_data(dataset, out, count=count, seed=seed, to=to, images=place).summary())
    tell(f"Written to {out} as {to}")


def _old_and_new(text: str) -> tuple[str, str]:
    old, _, new = (part.strip() for part in text.partition("="))
    if not old or not new:
        raise typer.BadParameter(f"--rename takes OLD=NEW, two class names; received {text!r}.")
    return old, new
