"""Datumaro's JSON, one file a subset: polygons, masks as run lengths, ellipses; groups as objects of several parts.

https://openvinotoolkit.github.io/datumaro/stable/docs/data-formats/formats/datumaro.html. Images lie in `images/SUBSET/` beside
`annotations/SUBSET.json`. What has no area, boxes among it, is reported; a box alone becomes a crowd region.
"""

from __future__ import annotations

import reprlib
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any

from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.finding import ImageFinder, image_folders
from maskrcnn.annotations.numbers import are_numbers, as_id
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import Rle, Size, as_points, draw_box, draw_ellipse, draw_polygon, merged
from maskrcnn.annotations.place import Place, ReadOptions
from maskrcnn.geometry.rle import rle_from_json

NAME = "datumaro"
TITLE = "Datumaro's JSON (annotations/SUBSET.json and images/)"
NO_OBJECTS = ("label", "caption", "points", "polyline")  # of the whole image, or without an area


def recognise(place: Place) -> bool:
    """A JSON with categories and items, which no other tool has."""
    if place.suffix != ".json" or not place.head.lstrip().startswith("{"):
        return False
    content = place.sketch
    return isinstance(content, dict) and isinstance(content.get("categories"), dict) and isinstance(content.get("items"), list)


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every item that has an image."""
    content = place.json
    names = _names(content["categories"])
    finder = ImageFinder(image_folders(place.path, options.images))
    faults: list[Fault] = []
    entries = []
    for item in content["items"]:
        name = _image_name(item)
        if name is None:
            faults.append(Fault("broken image entry", f"an item has an image with a path; received {reprlib.repr(item)}"))
            continue
        annotations = item["annotations"] if isinstance(item.get("annotations"), list) else []
        entries.append(
            Entry(name, finder.find(name).as_usual(), partial(_draw, annotations=annotations, names=names, item=item))
        )
    return assemble(entries, options, class_names=names, faults=faults)


def _names(categories: dict[str, Any]) -> list[str]:
    labels = categories.get("label")
    listed = labels.get("labels") if isinstance(labels, dict) else None
    return [str(entry.get("name")) for entry in listed or [] if isinstance(entry, dict)]


def _image_name(item: Any) -> str | None:
    if not isinstance(item, dict):
        return None
    image = item.get("image") or item.get("media")
    path = image.get("path") if isinstance(image, dict) else None
    name = path or item.get("id")
    return name if isinstance(name, str) and name else None


def _draw(size: Size, report: Report, *, annotations: list[Any], names: list[str], item: dict[str, Any]) -> Iterator[Drawn]:
    image = item.get("image") or item.get("media")
    declared = image.get("size") if isinstance(image, dict) else None
    if isinstance(declared, list) and len(declared) == 2 and all(declared) and tuple(declared) != size:
        raise ValueError(f"the JSON says height × width {declared[0]}×{declared[1]}, the file has {size[0]}×{size[1]}")
    groups: dict[Any, list[tuple[str, Rle, bool, str]]] = defaultdict(list)
    for place, entry in enumerate(annotations):
        if not isinstance(entry, dict) or entry.get("type") in NO_OBJECTS:
            continue
        number, kind = entry.get("label_id"), entry.get("type")
        name = names[number] if type(number) is int and 0 <= number < len(names) else ""
        try:
            rle = _draw_shape(entry, size)
        except ValueError as error:
            report("broken mask", f"annotation {place + 1} ({name!r}): {error}")
            continue
        attributes = entry["attributes"] if isinstance(entry.get("attributes"), dict) else {}
        crowd = kind == "bbox" or bool(attributes.get("is_crowd"))
        group = as_id(entry.get("group"))
        groups[("alone", place) if group in (None, 0) else (name, group)].append((name, rle, crowd, str(kind)))
    for parts in groups.values():
        masks = [part for part in parts if not part[2]] or parts  # a box that goes with a mask adds nothing to it
        if all(kind == "bbox" for _, _, _, kind in parts):
            report("missing mask", f"an object of {parts[0][0]!r} has no mask; its place is ignored in training")
        yield Drawn(masks[0][0], merged([part[1] for part in masks]), crowd=masks[0][2])


def _draw_shape(entry: dict[str, Any], size: Size) -> Rle:
    kind = entry.get("type")
    if kind == "polygon":
        return draw_polygon([as_points(entry.get("points"))], size)
    if kind == "mask":
        return rle_from_json(entry.get("rle"), size)
    if kind == "bbox":
        x, y, width, height = _four(entry.get("bbox"))
        return draw_box((x, y, x + width, y + height), size)
    if kind == "ellipse":
        left, top, right, bottom = _four(entry.get("points"))
        return draw_ellipse(((left + right) / 2, (top + bottom) / 2), ((right - left) / 2, (bottom - top) / 2), 0.0, size)
    raise ValueError(f"a {kind} has no area")


def _four(values: Any) -> tuple[float, float, float, float]:
    if not isinstance(values, list) or len(values) != 4 or not are_numbers(values):
        raise ValueError(f"it has four numbers; received {reprlib.repr(values)}")
    first, second, third, fourth = map(float, values)
    return first, second, third, fourth
