"""Pascal VOC's folders: `JPEGImages/`, `Annotations/*.xml`, and masks in `SegmentationObject/` and `SegmentationClass/`.

http://host.robots.ox.ac.uk/pascal/VOC/voc2012/. Both masks are palette images, or colors as CVAT exports them with a table in
`labelmap.txt`; 255 (the color 224, 224, 192) is the border that belongs to nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.finding import ImageFinder
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import Size, draw_box
from maskrcnn.annotations.place import Place, ReadOptions, read_xml
from maskrcnn.annotations.values import parts_of, read_mask_values

NAME = "voc"
TITLE = "Pascal VOC (JPEGImages/, Annotations/, SegmentationObject/)"
BORDER = 255  # as palette index …
BORDER_COLOUR = 224 << 16 | 224 << 8 | 192  # … and as color
CLASSES = (  # of the challenge, whose masks number them from 1
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
    "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


_OF_A_CLASS = re.compile(r"\s+-?[01]$")  # behind names in lists of one class


class _Box(NamedTuple):
    name: str
    edges: tuple[float, float, float, float]  # left, top, right, bottom in pixels from the image's corner
    difficult: bool


def recognise(place: Place) -> bool:
    """A folder with `SegmentationObject/`, or with `Annotations/` of VOC's XML; one such XML too."""
    if not place.is_folder:
        return place.xml is not None and place.xml.tag == "annotation"
    place = _inner(place)
    if place.subfolder("SegmentationObject") is not None:
        return True
    return any(_is_voc(file) for file in _xml_files(place)[:3])


def read(place: Place, options: ReadOptions) -> Annotations:
    """The images that have masks of objects or boxes; with a list of the split in `ImageSets/Segmentation/`, those alone."""
    place = _inner(place if place.is_folder else Place(place.path.parent.parent))
    objects, classes = place.subfolder("SegmentationObject"), place.subfolder("SegmentationClass")
    xmls = {file.stem: file for file in _xml_files(place)}
    masks = {} if objects is None else {file.stem: file for file in sorted(objects.iterdir()) if file.suffix.lower() == ".png"}
    by_class = (
        {} if classes is None else {file.stem: file for file in sorted(classes.iterdir()) if file.suffix.lower() == ".png"}
    )
    stems = _listed(place, options.split, known={*masks, *xmls}) or sorted(masks or xmls)
    folders = [options.images] if options.images else [place.subfolder("JPEGImages", "images"), *_beside(place)]
    finder = ImageFinder([folder for folder in folders if folder is not None])
    table = _class_table(place)
    faults: list[Fault] = []
    entries = []
    for stem in stems:
        boxes, name = _read_boxes(xmls.get(stem), faults)
        found = finder.find(name or stem)
        if found.path is None:
            found = finder.find(stem)
        if masks and stem not in masks:
            faults.append(Fault("missing mask", f"{stem} has no PNG in SegmentationObject/; its boxes are ignored regions"))
        draw = partial(_draw, mask=masks.get(stem), classes=by_class.get(stem), boxes=boxes, table=table)
        entries.append(Entry(name or stem, found.as_usual(), draw))
    return assemble(entries, options, class_names=None, faults=faults)


def _draw(
    size: Size, report: Report, *, mask: Path | None, classes: Path | None, boxes: Sequence[_Box], table: dict[int, str]
) -> Iterator[Drawn]:
    if mask is None:
        for box in boxes:
            yield Drawn(box.name, draw_box(box.edges, size), crowd=True)
        return
    values = read_mask_values(mask, size)
    class_values = None if classes is None else read_mask_values(classes, size)
    for part in parts_of(values, (0, BORDER, BORDER_COLOUR)):
        left, top = part.corner
        height, width = part.cutout.shape
        name = None
        if class_values is not None:
            inside = class_values[top : top + height, left : left + width][part.cutout]
            numbers, counts = np.unique(inside[~np.isin(inside, (0, BORDER, BORDER_COLOUR))], return_counts=True)
            if len(numbers):
                number = int(numbers[counts.argmax()])
                name = table.get(number)
        name = _name_by_box(part.corner, part.cutout.shape, boxes, name)
        if name is None and class_values is not None and len(numbers):
            name = CLASSES[number - 1] if 0 < number <= len(CLASSES) and not boxes else f"class {number}"
        yield Drawn(name or "", part.rle(size))


def _name_by_box(corner: tuple[int, int], shape: tuple[int, ...], boxes: Sequence[_Box], known: str | None) -> str | None:
    """The class of the box that fits a mask's box best, by IoU from 0.5 on; `known` where a table says it already."""
    if known is not None or not boxes:
        return known
    left, top, right, bottom = corner[0], corner[1], corner[0] + shape[1], corner[1] + shape[0]
    best, name = 0.5, None
    for box in boxes:
        x1, y1, x2, y2 = box.edges
        shared = max(min(right, x2) - max(left, x1), 0) * max(min(bottom, y2) - max(top, y1), 0)
        union = (right - left) * (bottom - top) + (x2 - x1) * (y2 - y1) - shared
        if union > 0 and shared / union >= best:
            best, name = shared / union, box.name
    return name


def _inner(place: Place) -> Place:
    """VOC's own archives keep everything in `VOCdevkit/VOC2012/`."""
    inner = [*place.path.glob("VOC20??"), *place.path.glob("VOCdevkit/VOC20??")]
    return Place(inner[0]) if len(inner) == 1 else place


def _xml_files(place: Place) -> list[Path]:
    folder = place.subfolder("Annotations")
    return sorted((folder or place.path).glob("*.xml"))


def _is_voc(file: Path) -> bool:
    try:
        return read_xml(file).tag == "annotation"
    except ValueError:
        return False


def _beside(place: Place) -> list[Path | None]:
    return [place.path]


def _listed(place: Place, split: str | None, known: set[str]) -> list[str]:
    """The names in `ImageSets/Segmentation/`: of the split, or of all lists together where none is asked for."""
    sets = place.subfolder("ImageSets")
    for folder in () if sets is None else (sets / "Segmentation", sets / "Main", sets):
        names = [f"{split}.txt"] if split else ["trainval.txt", "train.txt", "val.txt", "default.txt", "test.txt"]
        lists = [folder / name for name in names if (folder / name).is_file()]
        if lists:
            lines = [line.strip() for file in lists for line in file.read_text("utf-8", errors="replace").splitlines()]
            return list(dict.fromkeys(line if line in known else _OF_A_CLASS.sub("", line) for line in lines if line))
    if split is not None:
        raise ValueError(f"{place.path} has no list ImageSets/Segmentation/{split}.txt.")
    return []


def _class_table(place: Place) -> dict[int, str]:
    """Names by values of `SegmentationClass/`: CVAT's and Datumaro's `labelmap.txt`, `name:r,g,b::` a line."""
    file = place.path / "labelmap.txt"
    table = {}
    for number, line in enumerate(_lines(file)):
        fields = line.split(":")
        try:
            red, green, blue = (int(value) for value in fields[1].split(","))
        except (IndexError, ValueError):
            continue
        if fields[0].lower() != "background":
            table[red << 16 | green << 8 | blue] = fields[0]
            table.setdefault(number, fields[0])
    return table


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        return []
    return [line for line in file.read_text("utf-8", errors="replace").splitlines() if line and not line.startswith("#")]


def _read_boxes(file: Path | None, faults: list[Fault]) -> tuple[list[_Box], str]:
    """The boxes of an XML and the name of its image; VOC's pixels are counted from 1, and the last one belongs to the box."""
    if file is None:
        return [], ""
    try:
        root = read_xml(file)
    except ValueError as error:
        faults.append(Fault("broken annotations", str(error)))
        return [], ""
    boxes = []
    for thing in root.iter("object"):
        try:
            left, top, right, bottom = (float(_text(thing, f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax"))
        except ValueError:
            faults.append(Fault("broken annotation", f"{file}: an object has a bndbox of four numbers"))
            continue
        boxes.append(_Box(_text(thing, "name"), (left - 1, top - 1, right, bottom), _text(thing, "difficult") == "1"))
    return boxes, _text(root, "filename")


def _text(element: ElementTree.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()
