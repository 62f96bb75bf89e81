"""This package's own Parquet, as `maskrcnn predict --ray` writes it: `images/*.parquet`, a row an image, and
`objects/*.parquet`, a row an object. What the columns are: `results.parquet.KINDS`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.categories import read_categories, write_categories
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.finding import ImageFinder
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import Size
from maskrcnn.annotations.place import Place, ReadOptions
from maskrcnn.annotations.writing import Annotated, ImagesTo, placed_images, rows_of
from maskrcnn.atomic import write_bytes
from maskrcnn.geometry.rle import rle_area, rle_from_json, rle_to_box
from maskrcnn.results.parquet import (
    IMAGES,
    KINDS,
    MANIFEST,
    OBJECTS,
    ImageRow,
    ObjectRow,
    encode_images,
    encode_objects,
    load_pyarrow,
    part_name,
)

NAME = "parquet"
TITLE = "Parquet of this package (images/*.parquet and objects/*.parquet)"
FILES = "files"  # the folder of the images themselves, where they are written too
PART = 10_000  # images in a file that is written


def recognise(place: Place) -> bool:
    """A folder of the two kinds of files."""
    return place.is_folder and all(any((place.path / kind).glob("*.parquet")) for kind in (IMAGES, OBJECTS))


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every image that was read when objects were looked for in it, with its objects, and their scores where all have one.

    Raises:
        ImportError: pyarrow is not installed.
        ValueError: a file that cannot be read, or lacks a column.
    """
    objects: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in _rows(place.path, OBJECTS):
        if row["plane"] == 1:
            objects[str(row["image"])].append(row)
    faults: list[Fault] = []
    entries: list[Entry] = []
    finder = ImageFinder([options.images] if options.images else [place.path, *_folder_of(place.path)])
    for row in _rows(place.path, IMAGES):
        name = str(row["image"])
        if row["error"] is not None:
            faults.append(Fault("unreadable image", f"{name}: {row['error']}"))
        elif row["plane"] != 1:
            faults.append(Fault("plane of a stack", f"{name}: plane {row['plane']} is no image of its own in a data set"))
        else:
            draw = partial(_draw, row=row, objects=objects.pop(name, []))
            entries.append(Entry(name, finder.find(name).as_usual(), draw))
    for name in objects:
        faults.append(Fault("objects without an image", f"{name}: no row of {IMAGES}/ is of this image"))
    return assemble(entries, options, class_names=read_categories(place.path / MANIFEST), faults=faults)


def write(data: Annotated, out: Path, *, images: ImagesTo = "copy") -> list[Fault]:
    """Writes the two kinds of files, and the images in `files/`."""
    for kind in (IMAGES, OBJECTS):
        (out / kind).mkdir(parents=True, exist_ok=True)
    rows: list[ImageRow] = []
    objects: list[ObjectRow] = []
    number = 0
    for sample, name in placed_images(data, out / FILES, images):
        name = name if images == "none" else f"{FILES}/{name}"
        own = rows_of(sample, data)
        rows.append(ImageRow(name, 1, *sample.size, len(own)))
        for k, row in enumerate(own, start=1):
            category_id, box = data.categories[row.label].id, rle_to_box(row.rle).tolist()
            objects.append(ObjectRow(name, 1, k, row.name, category_id, row.score, box, rle_area(row.rle), row.rle, row.crowd))
        if len(rows) == PART:
            _write_part(out, number, rows, objects)
            rows, objects, number = [], [], number + 1
    if rows or not number:
        _write_part(out, number, rows, objects)
    write_categories(out / MANIFEST, data.categories)
    return []


def _write_part(out: Path, number: int, rows: list[ImageRow], objects: list[ObjectRow]) -> None:
    write_bytes(out / OBJECTS / part_name(number), encode_objects(objects))
    write_bytes(out / IMAGES / part_name(number), encode_images(rows))


def _rows(folder: Path, kind: str) -> Iterator[dict[str, Any]]:
    """The rows of all files of a kind, some thousand in memory at a time."""
    parquet, pyarrow = load_pyarrow(), load_pyarrow("pyarrow")
    schema = pyarrow.schema([(name, pyarrow.type_for_alias(alias)) for name, alias in KINDS[kind].items()])
    for path in sorted((folder / kind).glob("*.parquet")):
        try:
            with parquet.ParquetFile(path) as file:
                missing = [name for name in schema.names if name not in file.schema_arrow.names]
                if missing:
                    raise ValueError(f"it has no column {', '.join(missing)}")
                for batch in file.iter_batches(columns=schema.names):
                    yield from pyarrow.Table.from_batches([batch]).select(schema.names).cast(schema).to_pylist()
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise ValueError(f"Cannot read {path}: {' '.join(str(error).split()):.200}.") from error


def _draw(size: Size, report: Report, *, row: dict[str, Any], objects: list[dict[str, Any]]) -> Iterator[Drawn]:
    if size != (row["height"], row["width"]):
        raise ValueError(f"the rows say height × width {row['height']}×{row['width']}, the file has {size[0]}×{size[1]}")
    for each in objects:
        try:
            rle = rle_from_json({"size": list(size), "counts": each["rle"]}, size)
        except ValueError as error:
            report("broken mask", f"object {each['object']}: {error}")
            continue
        yield Drawn(str(each["class"] or ""), rle, bool(each["crowd"]), each["score"])


def _folder_of(folder: Path) -> list[Path]:
    """The folder that all images lie in whose absolute paths the rows hold."""
    parents = {Path(str(row["image"])).parent for row in _rows(folder, IMAGES) if Path(str(row["image"])).is_absolute()}
    if not parents:
        return []
    common = min(parents, key=lambda path: len(path.parts))
    while not all(path.is_relative_to(common) for path in parents):
        common = common.parent
    return [common]
