"""Label maps: an image of numbers for each image, 0 = background, k = the k-th object; or numbers of classes, if asked for.

PNG or TIFF of 8 to 32 bits, palette images, and colors, one for each object. Black and white masks and maps of classes look
the same to a program that expects numbers of objects: where the values look like those, the reader asks instead of guessing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.finding import Found
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import Size
from maskrcnn.annotations.pairing import find_files_of_objects, find_pairs
from maskrcnn.annotations.place import Place, ReadOptions
from maskrcnn.annotations.values import Part, components, parts_of, question, read_mask_values
from maskrcnn.annotations.writing import Annotated, ImagesTo, Losses, placed_images, rows_of
from maskrcnn.atomic import write_png

NAME = "label-maps"
TITLE = "label maps (images/ and masks/: 0 = background, k = the k-th object)"
CLASSES_FILES = ("classes.txt", "labelmap.txt", "class_dict.csv", "label_colors.txt")
_COLOUR = r"(?P<red>\d{1,3})[\s,]+(?P<green>\d{1,3})[\s,]+(?P<blue>\d{1,3})"
_CLASS_LINES = (  # 255,0,0 tree; tree: 255,0,0 (CVAT's labelmap.txt); tree,255,0,0 (class_dict.csv); 3 tree
    re.compile(rf"{_COLOUR}[\s,:]+(?P<name>[^\s\d].*)"),
    re.compile(rf"(?P<name>.*?[^\s,:])[\s,:]+{_COLOUR}:*"),
    re.compile(r"(?P<value>\d+)[\s,:]+(?P<name>\S.*)"),
)


def recognise(place: Place) -> bool:
    """A folder of images and one mask of the same name for each, in folders of their own or told apart by an ending."""
    return find_pairs(place) is not None and not find_files_of_objects(place)


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every image with the objects of its label map.

    A class for all, "object", unless `masks="semantic"`: then values number the classes that `classes` or a table names (one of
    `CLASSES_FILES`: a name a line, the first for value 1; or with values or colors), and objects are the pieces of a class
    that do not touch; as for `"binary"`.

    Raises:
        ValueError: for values that do not look like numbers of objects, where `options.masks` does not say what they are.
    """
    found = find_pairs(place)
    if found is None:
        raise ValueError(f"{place.path} has no folders images/ and masks/ with images of one name.")
    paired = [pair.masks[0] for pair in found.pairs if pair.images and len(pair.masks) == 1]
    if options.masks is None:
        doubt = question(paired)
        if doubt:
            raise ValueError(
                f"{place.path}: {doubt} Say what the values are: --masks binary (0 and the rest), --masks semantic (numbers of "
                "classes) or --masks instances (numbers of objects); pieces that do not touch become objects of the first two."
            )
    names = _class_names(place, options) if options.masks == "semantic" else None
    entries, faults = [], []
    for pair in found.pairs:
        if not pair.images:
            faults.append(Fault("missing image", f"{pair.masks[0]} has no image of that name in {found.images}"))
            continue
        image, problem = pair.images[0], ""
        if len(pair.images) != 1 or len(pair.masks) > 1:
            problem = f"one image and one label map have one name; received {pair.listed}"
            faults.append(Fault("ambiguous name", problem))
        elif not pair.masks:
            problem = f"{image} has no label map of that name in {found.masks}; one of zeros says: no objects"
            faults.append(Fault("missing label map", problem))
        else:
            draw = partial(_draw, path=pair.masks[0], kind=options.masks or "instances", names=names)
            entries.append(Entry(image.name, Found(image), draw, trouble="broken label map"))
    return assemble(entries, options, class_names=None if names is None else list(names.values()), faults=faults)


def _draw(size: Size, report: Report, *, path: Path, kind: str, names: dict[int, str] | None) -> Iterator[Drawn]:
    values = read_mask_values(path, size)
    if kind == "binary":
        values = (values != 0).astype(values.dtype)
    for part in parts_of(values):
        if kind == "instances":
            yield Drawn("", part.rle(size))
            continue
        name = "" if kind == "binary" else _name(part, names)
        for piece in components(part):
            yield Drawn(name, piece.rle(size))


def _name(part: Part, names: dict[int, str] | None) -> str:
    return (names or {}).get(part.value, f"class {part.value}")


def _class_names(place: Place, options: ReadOptions) -> dict[int, str] | None:
    """Names of values: the first of a list is that of value 1; a line may give its value, `3 tree` or `3: tree`."""
    if options.classes is not None:
        return dict(enumerate(options.classes, start=1))
    file = next((place.path / name for name in CLASSES_FILES if (place.path / name).is_file()), None)
    if file is None:
        return None
    lines = [line.strip() for line in file.read_text("utf-8", errors="replace").splitlines()]
    listed = [_class_line(line) for line in lines if line and not line.startswith("#")]
    names = {value: name for value, name in listed if value is not None}
    if not names:
        names = {number: name for number, (_, name) in enumerate(listed, start=1)}
    names.pop(0, None)  # the background
    return names


def _class_line(line: str) -> tuple[int | None, str]:
    """The value of a class, where the line gives one or a color, and its name."""
    for pattern in _CLASS_LINES:
        found = pattern.fullmatch(line)
        if found:
            name = found["name"].strip()
            if "value" in pattern.groupindex:
                return int(found["value"]), name
            red, green, blue = (int(found[colour]) for colour in ("red", "green", "blue"))
            return red << 16 | green << 8 | blue, name
    return None, line


def write(data: Annotated, out: Path, *, images: ImagesTo = "copy") -> list[Fault]:
    """Writes `images/` and `masks/`, 16-bit PNG: 0 = background, k = the k-th object. Where objects overlap, the later one
    wins.

    Returns:
        What the format cannot say: scores, classes, crowd regions and what lies under other objects.

    Raises:
        ValueError: for more than 65535 objects in an image.
    """
    losses = Losses()
    (out / "masks").mkdir(parents=True, exist_ok=True)
    for sample, name in placed_images(data, out / "images", images):
        rows = losses.without_scores(rows_of(sample, data))
        if len(rows) > 65535:
            raise ValueError(f"A label map holds up to 65535 objects; {sample.file_name} has {len(rows)}.")
        values = np.zeros(sample.size, np.uint16)
        covered = 0
        for number, row in enumerate(rows, start=1):
            cutout, (left, top) = row.cutout()
            region = values[top : top + cutout.shape[0], left : left + cutout.shape[1]]
            covered += bool(region[cutout].any())
            region[cutout] = number
        if covered:
            losses.add("overlap", "{} objects lie over others, which lose those pixels", covered)
        write_png(out / "masks" / f"{Path(name).stem}.png", values)
    if len(data.categories) > 1:
        losses.add("classes", "{} classes are not written: all objects are of one", len(data.categories))
    return losses.faults()
