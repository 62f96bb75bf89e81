"""COCO panoptic: a JSON of segments, and a PNG for each image whose colors number them (R + 256 G + 65536 B).

https://cocodataset.org/#format-data. Things become objects; stuff (`isthing` 0) is no object and is counted.
"""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.finding import ImageFinder, image_folders
from maskrcnn.annotations.numbers import as_id
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import Size
from maskrcnn.annotations.place import Place, ReadOptions
from maskrcnn.annotations.values import parts_of, read_mask_values
from maskrcnn.config.model import Category

NAME = "coco-panoptic"
TITLE = "COCO panoptic (JSON of segments and a folder of PNGs)"


def recognise(place: Place) -> bool:
    """A JSON like COCO's whose annotations have `segments_info`."""
    if place.suffix != ".json" or ('"images"' not in place.head and '"annotations"' not in place.head):
        return False
    content = place.sketch
    annotations = content.get("annotations") if isinstance(content, dict) else None
    return isinstance(annotations, list) and any(
        isinstance(entry, dict) and "segments_info" in entry for entry in annotations[:3]
    )


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every image with its things.

    Raises:
        ValueError: without categories that have a name and an id.
    """
    content = place.json
    categories = {number: entry for number, entry in _by_id(content.get("categories")).items() if "name" in entry}
    if not categories:
        raise ValueError(f"{place.path} has no categories; wanted is at least one class.")
    things = [
        Category(number, str(entry["name"]))
        for number, entry in categories.items()
        if isinstance(number, int) and entry.get("isthing", 1)
    ]
    names = {category.id: category.name for category in things}
    stuff_ids = categories.keys() - names.keys()
    images = ImageFinder([folder for folder in image_folders(place.path, options.images) if folder.stem != place.path.stem])
    masks = ImageFinder([folder for folder in (place.path.with_suffix(""), place.folder) if folder.is_dir()])
    listed = _by_id(content.get("images"))
    faults: list[Fault] = []
    stuff: Counter[str] = Counter()
    entries = []
    for annotation in content["annotations"]:
        image = listed.get(_key(annotation.get("image_id"))) if isinstance(annotation, dict) else None
        if image is None or not isinstance(image.get("file_name"), str) or not isinstance(annotation.get("file_name"), str):
            faults.append(
                Fault("broken annotation", f"it has a file_name and a known image; received {reprlib.repr(annotation)}")
            )
            continue
        mask = masks.find(annotation["file_name"])
        if mask.path is None:
            faults.append(Fault("missing mask", mask.problem, as_id(annotation["image_id"])))
            continue
        segments = _by_id(annotation.get("segments_info"))
        for segment in segments.values():
            category = _key(segment.get("category_id"))
            if category in categories and category not in names:
                stuff[str(categories[category]["name"])] += 1
        draw = partial(_draw, mask=mask.path, segments=segments, names=names, stuff=stuff_ids)
        entries.append(Entry(image["file_name"], images.find(image["file_name"]), draw, as_id(annotation["image_id"])))
    if stuff:
        message = f"{sum(stuff.values())} segments of {', '.join(sorted(stuff)[:5])} are stuff, no objects"
        faults.append(Fault("stuff", message, repaired=True))
    return assemble(entries, options, class_names=things, faults=faults)


def _key(value: Any) -> int | str | None:
    """An id as a key: a whole number, or the text that converters of other data sets give to images."""
    number = as_id(value)
    return value if number is None and isinstance(value, str) else number


def _by_id(entries: Any) -> dict[int | str | None, dict[str, Any]]:
    """The dicts of a list by their ids; those without one, and what is no list, count for nothing."""
    listed = entries if isinstance(entries, list) else []
    keyed = {_key(entry.get("id")): entry for entry in listed if isinstance(entry, dict)}
    keyed.pop(None, None)
    return keyed


def _draw(
    size: Size,
    report: Report,
    *,
    mask: Path,
    segments: dict[int | str | None, dict[str, Any]],
    names: dict[int, str],
    stuff: set[int | str | None],
) -> Iterator[Drawn]:
    values = read_mask_values(mask, size)  # 65536 R + 256 G + B
    for part in parts_of(values):
        number = (part.value & 255) << 16 | (part.value & 0xFF00) | part.value >> 16
        segment = segments.get(number)
        if segment is None:
            report("unknown segment", f"{mask.name} has pixels of segment {number}, which the JSON does not list")
        elif (category := as_id(segment.get("category_id"))) in names:
            yield Drawn(names[category], part.rle(size), crowd=segment.get("iscrowd") == 1)
        elif category not in stuff:
            message = f"segment {number} has the category {segment.get('category_id')!r:.60}, which the JSON does not list"
            report("unknown category", message)
