"""CVAT's own XML, "CVAT for images 1.1": polygons, boxes, ellipses, masks, and groups as objects of several parts.

https://docs.cvat.ai/docs/manual/advanced/formats/format-cvat/. A mask's run lengths go row by row through its own box and begin
with background.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement

import numpy as np

from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.finding import ImageFinder, image_folders
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import (
    MAX_PIXELS,
    Rle,
    Size,
    as_points,
    draw_bitmap,
    draw_box,
    draw_ellipse,
    draw_polygon,
    merged,
)
from maskrcnn.annotations.place import Place, ReadOptions
from maskrcnn.annotations.writing import Annotated, ImagesTo, Losses, Row, placed_images, rows_of
from maskrcnn.atomic import write_whole

NAME = "cvat"
TITLE = "CVAT for images 1.1 (annotations.xml)"
SHAPES = ("polygon", "mask", "box", "ellipse", "polyline", "points", "cuboid", "skeleton")


def recognise(place: Place) -> bool:
    """An XML whose root is `annotations`."""
    return place.xml is not None and place.xml.tag == "annotations"


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every image of the file; classes in the order of the task's labels.

    Raises:
        ValueError: for CVAT's XML of videos, whose shapes are tracks.
    """
    root = place.xml
    assert root is not None
    if root.find("track") is not None and root.find("image") is None:
        raise ValueError(f"{place.path} is CVAT's XML of a video, with tracks; export it as COCO 1.0 or CVAT for images 1.1.")
    names = [label.findtext("name") or "" for label in root.iter("label")]
    finder = ImageFinder(image_folders(place.path, options.images))
    entries = []
    for image in root.iter("image"):
        name = image.get("name") or ""
        subset = image.get("subset")
        if options.split is not None and subset is not None and subset.lower() != options.split:
            continue
        entries.append(Entry(name, finder.find(name), partial(_draw, image=image)))
    return assemble(entries, options, class_names=list(filter(None, names)) or None)


def _draw(size: Size, report: Report, *, image: Element) -> Iterator[Drawn]:
    declared = (image.get("height"), image.get("width"))
    if None not in declared and declared != (str(size[0]), str(size[1])):
        raise ValueError(f"the XML says height × width {declared[0]}×{declared[1]}, the file has {size[0]}×{size[1]}")
    groups: dict[tuple[str, object], list[Rle]] = defaultdict(list)
    for place, shape in enumerate(image):
        if shape.tag not in SHAPES:
            continue  # tags of the whole image
        label = shape.get("label") or ""
        try:
            rle = _draw_shape(shape, size)
        except ValueError as error:
            report("broken mask", f"{shape.tag} {place + 1} ({label!r}): {error}")
            continue
        group = shape.get("group_id")
        groups[label, ("alone", place) if group in (None, "0") else group].append(rle)
    for (label, _), parts in groups.items():
        yield Drawn(label, merged(parts))


def _draw_shape(shape: Element, size: Size) -> Rle:
    if shape.tag == "polygon":
        pairs = [pair.split(",") for pair in (shape.get("points") or "").split(";") if pair]
        return draw_polygon([as_points(pairs)], size)
    if shape.tag == "mask":
        column, row, width, height = (int(value) for value in _numbers(shape, "left", "top", "width", "height"))
        return draw_bitmap(_bitmap(shape.get("rle") or "", height, width), (column, row), size)
    if shape.tag == "box":
        left, top, right, bottom = _numbers(shape, "xtl", "ytl", "xbr", "ybr")
        return _turned_box((left, top, right, bottom), shape, size)
    if shape.tag == "ellipse":
        x, y, radius_x, radius_y = _numbers(shape, "cx", "cy", "rx", "ry")
        return draw_ellipse((x, y), (radius_x, radius_y), _turn(shape), size)
    raise ValueError("it has no area")


def _turned_box(box: tuple[float, float, float, float], shape: Element, size: Size) -> Rle:
    turn = _turn(shape)
    if not turn:
        return draw_box(box, size)
    left, top, right, bottom = box
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    middle = corners.mean(axis=0)
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    return draw_polygon([(corners - middle) @ rotation + middle], size)


def _turn(shape: Element) -> float:
    """Radians from x to y."""
    return math.radians(_numbers(shape, "rotation")[0]) if shape.get("rotation") else 0.0


def _numbers(shape: Element, *names: str) -> list[float]:
    try:
        values = [float(shape.get(name) or "") for name in names]
    except ValueError:
        values = [math.nan]
    if not all(abs(value) < 1e6 for value in values):
        raise ValueError(f"it has the numbers {', '.join(names)}; received {[shape.get(name) for name in names]}")
    return values


def _bitmap(text: str, height: int, width: int) -> np.ndarray:
    """(height, width) bool of run lengths, row by row, background first."""
    if height <= 0 or width <= 0 or height * width > MAX_PIXELS:
        raise ValueError(f"a mask has a height and a width; received {height}×{width}")
    try:
        counts = np.array([int(count) for count in text.split(",")], np.int64)
    except (ValueError, OverflowError):
        raise ValueError(f"run lengths are whole numbers with commas; received {text[:60]!r}") from None
    too_long = ((counts < 0) | (counts > height * width)).any()  # their sum might turn over
    if too_long or counts.sum() != height * width:
        raise ValueError(f"run lengths fill the mask's {height * width} pixels; received {text[:60]!r}")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)


def write(data: Annotated, out: Path, *, images: ImagesTo = "copy") -> list[Fault]:
    """Writes `annotations.xml` and `images/`: polygons, and masks of objects with holes or of several parts.
    The score of an object that a model found is its attribute `score`.

    Returns:
        What the format cannot say: crowd regions.
    """
    losses = Losses()
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    labels = SubElement(SubElement(SubElement(root, "meta"), "task"), "labels")
    for category in data.categories:
        label = SubElement(labels, "label")
        SubElement(label, "name").text = category.name
        if any(sample.scores is not None for sample in data.samples):
            _declare_score(label)
    out.mkdir(parents=True, exist_ok=True)
    for number, (sample, name) in enumerate(placed_images(data, out / "images", images)):
        sides = {"width": str(sample.size[1]), "height": str(sample.size[0])}
        image = SubElement(root, "image", {"id": str(number), "name": name, **sides})
        for row in losses.without_crowds(rows_of(sample, data)):
            _add_shape(image, row)
    write_whole(out / "annotations.xml", lambda file: ElementTree(root).write(file, "utf-8", xml_declaration=True))
    return losses.faults()


def _declare_score(label: Element) -> None:
    attribute = SubElement(SubElement(label, "attributes"), "attribute")
    texts = {"name": "score", "mutable": "False", "input_type": "text", "default_value": "", "values": ""}
    for key, text in texts.items():
        SubElement(attribute, key).text = text


def _add_shape(image: Element, row: Row) -> None:
    element = _shape_in(image, row)
    if row.score is not None:
        SubElement(element, "attribute", {"name": "score"}).text = f"{row.score:.4f}"


def _shape_in(image: Element, row: Row) -> Element:
    source = "file" if row.score is None else "auto"
    shape = {"label": row.name, "source": source, "occluded": "0", "z_order": "0"}
    polygons = row.polygons()
    if len(polygons) == 1 and len(polygons[0]) == 1:
        points = ";".join(f"{x:.2f},{y:.2f}" for x, y in polygons[0][0].tolist())
        return SubElement(image, "polygon", {**shape, "points": points})
    cutout, (left, top) = row.cutout()
    flat = cutout.ravel()
    edges = np.flatnonzero(np.diff(flat, prepend=False, append=not flat[-1]))  # an even run is background
    counts = np.diff(edges, prepend=0)
    box = {"left": left, "top": top, "width": cutout.shape[1], "height": cutout.shape[0]}
    rle = ", ".join(map(str, counts.tolist()))
    return SubElement(image, "mask", {**shape, "rle": rle, **{key: str(value) for key, value in box.items()}})
