"""Cityscapes: `leftImg8bit/SPLIT/CITY/*_leftImg8bit.png` and `gtFine/SPLIT/CITY/*_gtFine_instanceIds.png` or `…_polygons.json`.

https://github.com/mcordts/cityscapesScripts. A value of 1000 and more is class × 1000 + number of the object; the bare number
of a class whose objects are told apart is a group of them, which is read as a crowd region. Everything else is no object.
Where an image has polygons alone, they are painted in their order, as Cityscapes' own scripts do: later ones lie above.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.finding import ImageFinder
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import Size, as_points, draw_polygon
from maskrcnn.annotations.place import Place, ReadOptions, read_json
from maskrcnn.annotations.values import parts_of, read_mask_values
from maskrcnn.geometry.rle import rle_to_mask

NAME = "cityscapes"
TITLE = "Cityscapes (leftImg8bit/ and gtFine/)"
ENDING = "_instanceIds.png"
POLYGONS = "_polygons.json"
CLASSES = {24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle"}


def recognise(place: Place) -> bool:
    """A folder that holds `gtFine/` or `gtCoarse/`, or lies in one, with files of instance ids or polygons."""
    return place.is_folder and any(True for _ in _truth_files(place, None))


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every image with a file of instance ids, of the wanted split."""
    folders = [options.images] if options.images is not None else [place.path / "leftImg8bit", place.path]
    finder = ImageFinder([folder for folder in folders if folder.is_dir()])
    entries = []
    for truth in sorted(_truth_files(place, options.split)):
        stem = _stem(truth).rpartition("_")[0]  # without gtFine
        name = f"{stem}_leftImg8bit.png"
        found = finder.find(f"{truth.parent.parent.name}/{truth.parent.name}/{name}")
        draw = partial(_draw_polygons if truth.name.endswith(POLYGONS) else _draw, truth=truth)
        entries.append(Entry(name, found.as_usual(), draw))
    return assemble(entries, options, class_names=list(CLASSES.values()))


def _stem(truth: Path) -> str:
    return truth.name.removesuffix(ENDING).removesuffix(POLYGONS)


def _truth_files(place: Place, split: str | None) -> Iterator[Path]:
    """For each image the file of its instance ids; that of its polygons where there are none."""
    roots = [folder for folder in (place.subfolder("gtFine"), place.subfolder("gtCoarse")) if folder is not None]
    for root in roots[:1] or [place.path]:
        ids = list(root.glob(f"{split or '*'}/*/*{ENDING}"))
        yield from ids
        known = {(file.parent, _stem(file)) for file in ids}
        yield from (file for file in root.glob(f"{split or '*'}/*/*{POLYGONS}") if (file.parent, _stem(file)) not in known)


def _draw(size: Size, report: Report, *, truth: Path) -> Iterator[Drawn]:
    values = read_mask_values(truth, size)
    for part in parts_of(values, (0,)):
        number = part.value // 1000 if part.value >= 1000 else part.value
        if number in CLASSES:
            yield Drawn(CLASSES[number], part.rle(size), crowd=part.value < 1000)


def _draw_polygons(size: Size, report: Report, *, truth: Path) -> Iterator[Drawn]:
    content = read_json(truth)
    objects = content.get("objects") if isinstance(content, dict) else None
    if not isinstance(objects, list):
        raise ValueError(f"{truth} has a list of objects; received {reprlib.repr(content)}")
    declared = (content.get("imgHeight"), content.get("imgWidth"))
    if None not in declared and declared != size:
        raise ValueError(f"{truth} says height × width {declared[0]}×{declared[1]}, the image has {size[0]}×{size[1]}")
    values = np.zeros(size, np.int64)
    names: dict[int, str] = {}
    for number, entry in enumerate(objects, start=1):
        name = entry.get("label") if isinstance(entry, dict) else None
        if not isinstance(name, str) or entry.get("deleted"):
            continue
        try:
            values[rle_to_mask(draw_polygon([as_points(entry.get("polygon"))], size))] = number
        except ValueError as error:
            report("broken mask", f"{truth.name}, object {number} ({name!r}): {error}")
        names[number] = name
    for part in parts_of(values):
        name = names[part.value]
        single = name.removesuffix("group")
        if single in CLASSES.values():
            yield Drawn(single, part.rle(size), crowd=single != name)
