"""Writes Pascal VOC's folders: images, boxes in XML, palette images of objects and of classes."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement

import numpy as np
from PIL import Image

from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.writing import Annotated, ImagesTo, Losses, Row, placed_images, rows_of
from maskrcnn.atomic import write_text, write_whole
from maskrcnn.structures import Sample

BORDER = 255  # the value of what belongs to no class: crowd regions
MOST = 254  # objects that a palette image tells apart


def write(data: Annotated, out: Path, *, images: ImagesTo = "copy") -> list[Fault]:
    """Writes `JPEGImages/`, `Annotations/`, `SegmentationObject/`, `SegmentationClass/`, a list, and `labelmap.txt`.

    Where objects overlap, the later one wins. Crowd regions are painted with 255, which VOC does not score.

    Returns:
        What the format cannot say: scores, what lies under other objects.

    Raises:
        ValueError: for more than 254 objects in an image, or more than 254 classes, which palette images cannot number.
    """
    if len(data.categories) > MOST:
        raise ValueError(f"Pascal VOC numbers up to {MOST} classes; received {len(data.categories)}.")
    losses = Losses()
    for name in ("Annotations", "SegmentationObject", "SegmentationClass", "ImageSets/Segmentation"):
        (out / name).mkdir(parents=True, exist_ok=True)
    stems = []
    for sample, name in placed_images(data, out / "JPEGImages", images):
        stem = Path(name).stem
        rows = rows_of(sample, data)
        if len(rows) > MOST:
            raise ValueError(f"Pascal VOC numbers up to {MOST} objects in an image; {name} has {len(rows)}.")
        losses.count_scores(rows)
        numbers, classes = _painted(sample, rows, losses)
        _write_palette(out / "SegmentationObject" / f"{stem}.png", numbers)
        _write_palette(out / "SegmentationClass" / f"{stem}.png", classes)
        _write_xml(out / "Annotations" / f"{stem}.xml", sample, name, [row for row in rows if not row.crowd])
        stems.append(stem)
    write_text(out / "ImageSets" / "Segmentation" / "train.txt", "".join(f"{stem}\n" for stem in stems))
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::"]
    lines += [
        f"{category.name}:{','.join(map(str, palette()[number]))}::" for number, category in enumerate(data.categories, start=1)
    ]
    write_text(out / "labelmap.txt", "".join(f"{line}\n" for line in lines))
    return losses.faults()


def palette() -> np.ndarray:
    """(256, 3) uint8, VOC's colors: the bits of a number, three by three, from the highest bit of each color down."""
    colours = np.zeros((256, 3), np.uint8)
    numbers = np.arange(256)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((numbers >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def _painted(sample: Sample, rows: list[Row], losses: Losses) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) uint8 numbers of objects, and of classes, both from 1."""
    numbers, classes = np.zeros(sample.size, np.uint8), np.zeros(sample.size, np.uint8)
    covered = 0
    for row in sorted(rows, key=lambda row: not row.crowd):  # crowd regions under all others
        cutout, (left, top) = row.cutout()
        region = slice(top, top + cutout.shape[0]), slice(left, left + cutout.shape[1])
        covered += bool(((numbers[region] > 0) & (numbers[region] != BORDER) & cutout).any())
        numbers[region][cutout] = BORDER if row.crowd else row.number + 1
        classes[region][cutout] = BORDER if row.crowd else row.label + 1
    if covered:
        losses.add("overlap", "{} objects lie over others, which lose those pixels", covered)
    return numbers, classes


def _write_palette(path: Path, values: np.ndarray) -> None:
    image = Image.fromarray(values).convert("P")
    image.putdata(values.ravel())
    image.putpalette(palette().ravel().tolist())
    write_whole(path, lambda file: image.save(file, format="PNG"))


def _write_xml(path: Path, sample: Sample, name: str, rows: list[Row]) -> None:
    root = Element("annotation")
    SubElement(root, "filename").text = name
    sides = SubElement(root, "size")
    for key, value in (("width", sample.size[1]), ("height", sample.size[0]), ("depth", 3)):
        SubElement(sides, key).text = str(value)
    SubElement(root, "segmented").text = "1"
    for row in rows:
        thing = SubElement(root, "object")
        SubElement(thing, "name").text = row.name
        box = SubElement(thing, "bndbox")
        cutout, (left, top) = row.cutout()
        edges = (left + 1, top + 1, left + cutout.shape[1], top + cutout.shape[0])  # counted from 1, the last ones included
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True):
            SubElement(box, key).text = str(value)
    write_whole(path, lambda file: ElementTree(root).write(file, "utf-8"))
