"""Supervisely's projects: `meta.json`, and for each data set `img/` with `ann/IMAGE.json`: polygons with holes, bitmaps, boxes.

https://docs.supervisely.com/data-organization/00_ann_format_navi.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.finding import ImageFinder
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import Rle, Size, as_points, bitmap_of, draw_bitmap, draw_box, draw_polygon
from maskrcnn.annotations.place import Place, ReadOptions, read_json

NAME = "supervisely"
TITLE = "Supervisely's project (meta.json, */img/ and */ann/)"


def recognise(place: Place) -> bool:
    """A folder whose `meta.json` lists classes with titles."""
    return place.is_folder and (place.path / "meta.json").is_file() and _titles(read_json(place.path / "meta.json")) is not None


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every image of every data set of the project that has a file in `ann/`."""
    faults: list[Fault] = []
    entries = []
    for folder in sorted(path.parent for path in place.path.glob("*/ann")) + (
        [place.path] if (place.path / "ann").is_dir() else []
    ):
        finder = ImageFinder([options.images or folder / "img"])
        for file in sorted((folder / "ann").glob("*.json")):
            try:
                content = read_json(file)
            except ValueError as error:
                faults.append(Fault("broken annotations", str(error)))
                continue
            name = file.name.removesuffix(".json")
            entries.append(Entry(f"{folder.name}/img/{name}", finder.find(name), partial(_draw, content=content, file=file)))
    return assemble(entries, options, class_names=_titles(read_json(place.path / "meta.json")), faults=faults)


def _titles(meta: Any) -> list[str] | None:
    classes = meta.get("classes") if isinstance(meta, dict) else None
    if not isinstance(classes, list) or not all(isinstance(entry, dict) and "title" in entry for entry in classes):
        return None
    return [str(entry["title"]) for entry in classes]


def _draw(size: Size, report: Report, *, content: Any, file: Path) -> Iterator[Drawn]:
    objects = content.get("objects") if isinstance(content, dict) else None
    if not isinstance(objects, list):
        raise ValueError(f"{file} has a list of objects; received {reprlib.repr(content)}")
    declared = content.get("size")
    if isinstance(declared, dict) and (declared.get("height"), declared.get("width")) != size:
        raise ValueError(
            f"{file} says height × width {declared.get('height')}×{declared.get('width')}, the image has {size[0]}×{size[1]}"
        )
    for place, thing in enumerate(objects):
        if not isinstance(thing, dict) or not isinstance(thing.get("classTitle"), str):
            report("broken annotation", f"an object has a classTitle; received {reprlib.repr(thing)}")
            continue
        try:
            yield Drawn(thing["classTitle"], _draw_object(thing, size))
        except ValueError as error:
            report("broken mask", f"object {place + 1} ({thing['classTitle']!r}): {error}")


def _draw_object(thing: dict[str, Any], size: Size) -> Rle:
    kind = thing.get("geometryType")
    if kind == "bitmap":
        bitmap = thing["bitmap"] if isinstance(thing.get("bitmap"), dict) else {}
        origin = bitmap.get("origin")
        if not isinstance(origin, list) or len(origin) != 2 or not all(type(value) is int for value in origin):
            raise ValueError(f"a bitmap has an origin of two whole numbers; received {reprlib.repr(origin)}")
        return draw_bitmap(bitmap_of(bitmap.get("data")), (origin[0], origin[1]), size)
    points = thing.get("points")
    exterior = points.get("exterior") if isinstance(points, dict) else None
    interior = (points.get("interior") or []) if isinstance(points, dict) else []
    if kind == "polygon":
        return draw_polygon([as_points(exterior), *(as_points(hole, "a hole") for hole in interior)], size)
    if kind == "rectangle":
        corners = np.asarray(exterior, np.float64)
        if corners.shape != (2, 2):
            raise ValueError(f"a rectangle has two corners; received {reprlib.repr(exterior)}")
        low, high = corners.min(axis=0), corners.max(axis=0) + 1  # its last pixels belong to it
        return draw_box((low[0], low[1], high[0], high[1]), size)
    raise ValueError(f"a {kind} has no area")
