"""Cityscapes: `leftImg8bit/SPLIT/CITY/*_leftImg8bit.png` and `gtFine/SPLIT/CITY/*_gtFine_instanceIds.png`.

https://github.com/mcordts/cityscapesScripts. A value of 1000 and more is class × 1000 + number of the object; the bare number
of a class whose objects are told apart is a group of them, which is read as a crowd region. Everything else is no object.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.finding import ImageFinder
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import Size
from maskrcnn.annotations.place import Place, ReadOptions
from maskrcnn.annotations.values import parts_of, read_mask_values

NAME = "cityscapes"
TITLE = "Cityscapes (leftImg8bit/ and gtFine/)"
ENDING = "_instanceIds.png"
CLASSES = {24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle"}


def recognise(place: Place) -> bool:
    """A folder that holds `gtFine/` or `gtCoarse/`, or lies in one, with files of instance ids."""
    return place.is_folder and any(True for _ in _truth_files(place, None))


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every image with a file of instance ids, of the wanted split."""
    folders = [options.images] if options.images is not None else [place.path / "leftImg8bit", place.path]
    finder = ImageFinder([folder for folder in folders if folder.is_dir()])
    entries = []
    for truth in sorted(_truth_files(place, options.split)):
        stem = truth.name.removesuffix(ENDING).rpartition("_")[0]  # without gtFine
        name = f"{stem}_leftImg8bit.png"
        found = finder.find(f"{truth.parent.parent.name}/{truth.parent.name}/{name}")
        entries.append(Entry(name, found.as_usual(), partial(_draw, truth=truth)))
    return assemble(entries, options, class_names=list(CLASSES.values()))


def _truth_files(place: Place, split: str | None) -> Iterator[Path]:
    roots = [folder for folder in (place.subfolder("gtFine"), place.subfolder("gtCoarse")) if folder is not None]
    for root in roots[:1] or [place.path]:
        yield from root.glob(f"{split or '*'}/*/*{ENDING}")


def _draw(size: Size, report: Report, *, truth: Path) -> Iterator[Drawn]:
    values = read_mask_values(truth, size)
    for part in parts_of(values, (0,)):
        number = part.value // 1000 if part.value >= 1000 else part.value
        if number in CLASSES:
            yield Drawn(CLASSES[number], part.rle(size), crowd=part.value < 1000)
