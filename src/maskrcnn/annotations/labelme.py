"""LabelMe's JSON, one file an image: polygons, rectangles, circles, ellipses and bitmaps, groups as objects of several parts.

https://github.com/wkentaro/labelme. Coordinates are pixels from the image's corner; a `mask` shape brings its bitmap.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import reprlib
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.finding import Found, ImageFinder
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import (
    Rle,
    Size,
    as_points,
    base64_of,
    bitmap_of,
    draw_bitmap,
    draw_box,
    draw_ellipse,
    draw_polygon,
    merged,
)
from maskrcnn.annotations.place import HEAD, Place, ReadOptions, is_image, read_json
from maskrcnn.annotations.writing import Annotated, ImagesTo, Losses, Row, placed_images, rows_of
from maskrcnn.atomic import write_json, write_whole
from maskrcnn.backend import cache_folder

NAME = "labelme"
MAX_EMBEDDED = 2**29  # characters of an image inside a JSON
TITLE = "LabelMe's JSON files, one an image"


def recognise(place: Place) -> bool:
    """A JSON with shapes of an image, or a folder whose first JSON is one."""
    if place.is_folder:
        files = place.files_ending(".json")
        return any(_looks_like(file) for file in files[:3])
    return place.suffix == ".json" and _is_labelme(place.sketch)


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every image that has a file of shapes; images without one are not part of the data set."""
    files = place.files_ending(".json") if place.is_folder else [place.path]
    finder = ImageFinder([options.images] if options.images else [place.folder])
    faults: list[Fault] = []
    entries = []
    for file in files:
        try:
            content = read_json(file)
        except ValueError as error:
            faults.append(Fault("broken annotations", str(error)))
            continue
        if not _is_labelme(content):
            faults.append(Fault("no LabelMe file", f"{file} has no shapes of an image", repaired=True))
            continue
        name = content.get("imagePath")
        name = name if isinstance(name, str) and name else file.with_suffix("").name
        draw = partial(_draw, shapes=content["shapes"], declared=(content.get("imageHeight"), content.get("imageWidth")))
        found = _find(finder, name, file)
        if found.path is None and isinstance(content.get("imageData"), str):
            found = _unpacked(content["imageData"], name, file, faults)
        entries.append(Entry(name, found, draw))
    return assemble(entries, options, faults=faults)


def _find(finder: ImageFinder, name: str, file: Path) -> Found:
    """The image of a file: by `imagePath`, or by the file's own name where images were renamed or converted."""
    found = finder.find(name)
    if found.path is None or found.by_name:
        own = finder.find(file.stem)
        if own.path is not None:
            return Found(own.path)
    return found


def _unpacked(data: str, name: str, file: Path, faults: list[Fault]) -> Found:
    """The image that a JSON brings along, as a file of the cache: named after its content, so that it is written once.

    The data set's own folder is not written to.
    """
    if len(data) > MAX_EMBEDDED:
        return Found(problem=f"the image inside {file} has {len(data)} characters; up to {MAX_EMBEDDED} are read")
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return Found(problem=f"the image inside {file} is no base64")
    last = PurePosixPath(name.replace("\\", "/"))
    suffix = last.suffix.lower() if is_image(Path(last.name)) else ".png"  # Pillow goes by the content
    path = cache_folder() / "labelme" / f"{hashlib.sha256(content).hexdigest()[:32]}{suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            write_whole(path, lambda opened: opened.write(content))
    except OSError as error:
        return Found(problem=f"the image inside {file} cannot be written to {path.parent}: {error.strerror}")
    message = f"{file.name} has its image inside alone; it was unpacked to {path}"
    faults.append(Fault("image inside its JSON", message, repaired=True))
    return Found(path)


def _looks_like(file: Path) -> bool:
    """By a file's beginning; it may hold a whole image as text, which is not read for that."""
    with open(file, "rb") as opened:
        head = opened.read(HEAD).decode("utf-8", errors="replace")
    return '"shapes"' in head and ('"imagePath"' in head or '"shape_type"' in head or '"version"' in head)


def _is_labelme(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content


def _draw(size: Size, report: Report, *, shapes: list[Any], declared: tuple[Any, Any]) -> Iterator[Drawn]:
    if None not in declared and declared != size:
        swapped = (
            " (height and width are swapped: was it annotated without its EXIF rotation?)" if declared == size[::-1] else ""
        )
        raise ValueError(f"the JSON says height × width {declared[0]}×{declared[1]}, the file has {size[0]}×{size[1]}{swapped}")
    groups: dict[Any, list[tuple[str, Rle]]] = defaultdict(list)
    for place, shape in enumerate(shapes):
        if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
            report("broken annotation", f"a shape has a label and points; received {reprlib.repr(shape)}")
            continue
        try:
            rle = _draw_shape(shape, size)
        except ValueError as error:
            report("broken mask", f"shape {place + 1} ({shape['label']!r}): {error}")
            continue
        group = shape.get("group_id")
        groups[("alone", place) if group is None else (shape["label"], str(group))].append((shape["label"], rle))
    for parts in groups.values():
        yield Drawn(parts[0][0], merged([rle for _, rle in parts]))


def _draw_shape(shape: dict[str, Any], size: Size) -> Rle:
    kind = shape.get("shape_type") or "polygon"
    points = shape.get("points")
    if kind == "polygon":
        return draw_polygon([as_points(points)], size)
    if kind in ("rectangle", "mask", "circle"):
        (x1, y1), (x2, y2) = _two_points(points, kind)
        if kind == "rectangle":
            return draw_box((min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), size)
        if kind == "circle":  # its center, and a point on it
            radius = math.hypot(x2 - x1, y2 - y1)
            return draw_ellipse((x1, y1), (radius, radius), 0.0, size)
        return draw_bitmap(bitmap_of(shape.get("mask")), (round(min(x1, x2)), round(min(y1, y2))), size)
    raise ValueError(f"a {kind} has no area")


def _two_points(points: Any, kind: str) -> np.ndarray:
    """(2, 2) x, y; a rectangle may have all four corners."""
    try:
        array = np.asarray(points, np.float64).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError):
        array = np.zeros((0, 2))
    if len(array) == 4 and kind == "rectangle":
        array = np.stack([array.min(axis=0), array.max(axis=0)])
    if len(array) != 2 or not (np.abs(array) < 1e6).all():
        raise ValueError(f"a {kind} has two points; received {reprlib.repr(points)}")
    return array


def write(data: Annotated, out: Path, *, images: ImagesTo = "copy") -> list[Fault]:
    """Writes each image with a JSON of its name: polygons, and bitmaps of objects with holes or of several parts.

    Returns:
        What the format cannot say: crowd regions.
    """
    losses = Losses()
    out.mkdir(parents=True, exist_ok=True)
    for sample, name in placed_images(data, out, images):
        content: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": [_shape(row) for row in losses.without_crowds(rows_of(sample, data))],
            "imagePath": name,
            "imageData": None,
            "imageHeight": sample.size[0],
            "imageWidth": sample.size[1],
        }
        write_json(out / f"{Path(name).stem}.json", content)
    return losses.faults()


def _shape(row: Row) -> dict[str, Any]:
    shape: dict[str, Any] = {"label": row.name, "group_id": None, "description": "", "flags": {}}
    if row.score is not None:
        shape["score"] = row.score  # X-AnyLabeling shows it; LabelMe keeps what it does not know
    polygons = row.polygons()
    if len(polygons) == 1 and len(polygons[0]) == 1:
        return {**shape, "shape_type": "polygon", "points": polygons[0][0].astype(float).tolist(), "mask": None}
    cutout, (left, top) = row.cutout()
    last = [float(left + cutout.shape[1] - 1), float(top + cutout.shape[0] - 1)]  # its last pixel belongs to the mask
    return {**shape, "shape_type": "mask", "points": [[float(left), float(top)], last], "mask": base64_of(cutout)}
