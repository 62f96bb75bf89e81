"""Kaggle's run lengths in CSV files: an image's id and "start length start length …" a row, pixels counted from 1.

Columns are called differently in every competition; most count pixels column by column, some row by row (Sartorius): in the
wrong order masks fall into stripes, which tells the two apart.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.finding import Found, ImageFinder, image_folders
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import Rle, Size
from maskrcnn.annotations.place import Place, ReadOptions, read_table
from maskrcnn.annotations.values import components, num_components, parts_of
from maskrcnn.annotations.writing import Annotated, ImagesTo, Losses, placed_images, rows_of
from maskrcnn.atomic import write_whole
from maskrcnn.geometry.rle import rle_to_mask
from maskrcnn.images.sizes import measure_images

NAME = "rle-csv"
TITLE = "Kaggle's CSV of run lengths"
IMAGE = ("imageid", "image_id", "id", "image", "img_id", "filename", "file_name", "imageid_classid", "image_label")
RUNS = ("encodedpixels", "annotation", "rle", "segmentation", "encoding", "rle_mask", "predicted", "mask", "encoded_pixels")
CLASS = ("classid", "class_id", "class", "cell_type", "label", "category", "classname", "class_name", "categoryid")
LOOKED_AT = 50  # masks that say in which order pixels are counted, …
LONG = 200  # pixels of outline more, below which a few small masks say nothing, …
CLEAR = 2.0  # … where the outlines are so many times longer the other way


class _Row(NamedTuple):
    line: int
    class_name: str
    runs: str


def recognise(place: Place) -> bool:
    """A CSV with a column of images and one of run lengths."""
    return _column(place.columns, IMAGE) is not None and _column(place.columns, RUNS) is not None


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every image of the table; one row is one object, a row without run lengths an image without objects.

    Raises:
        ValueError: where most rows have several separate pieces and `options.masks` does not say whether that is right.
    """
    rows = _read_rows(place)
    finder = ImageFinder(image_folders(place.path, options.images))
    found = {}
    for name in rows:
        found[name] = finder.find(name).as_usual()
    by_column, torn = _order(rows, found)
    if torn and options.masks is None:
        raise ValueError(
            f"{place.path}: most rows have several separate pieces. Say what a row is: --masks semantic (all objects of a "
            "class: pieces become objects) or --masks instances (one object of several parts)."
        )
    split = options.masks in ("semantic", "binary")
    entries = [
        Entry(name, found[name], partial(_draw, rows=own, by_column=by_column, split=split)) for name, own in rows.items()
    ]
    faults = []
    if not by_column:
        message = "pixels are counted row by row: the other way masks fall into stripes"
        faults.append(Fault("order of pixels", message, repaired=True))
    return assemble(entries, options, faults=faults)


def _column(columns: Sequence[str], known: Sequence[str]) -> str | None:
    by_name = {column.strip().lower(): column for column in columns}
    return next((by_name[name] for name in known if name in by_name), None)


def _read_rows(place: Place) -> dict[str, list[_Row]]:
    image, runs = _column(place.columns, IMAGE), _column(place.columns, RUNS)
    named = _column(place.columns, CLASS)
    assert image is not None and runs is not None
    joined = image.strip().lower() in ("imageid_classid", "image_label")  # "NAME.jpg_3": Severstal, clouds
    rows: dict[str, list[_Row]] = defaultdict(list)
    for line, row in enumerate(read_table(place.path), start=2):
        name, class_name = row[image].strip(), row[named].strip() if named is not None else ""
        if joined:
            name, _, class_name = name.rpartition("_")
        if class_name.replace(".", "", 1).isdigit():
            class_name = f"class {class_name}"
        own = rows[name]
        if row[runs].strip() not in ("", "-1", "nan", "NaN"):
            own.append(_Row(line, class_name, row[runs]))
    return dict(rows)


def _order(rows: dict[str, list[_Row]], found: dict[str, Found]) -> tuple[bool, bool]:
    """Whether pixels are counted column by column, and whether most masks have several pieces then."""
    some = [(found[name].path, row) for name, own in rows.items() for row in own][:LOOKED_AT]
    paths = [path for path, _ in some if path is not None]
    edges = {True: 0, False: 0}
    torn = {True: 0, False: 0}
    count = 0
    for (_, row), size in zip([pair for pair in some if pair[0] is not None], measure_images(paths, decode=False)):
        if isinstance(size, ValueError):
            continue
        try:
            for by_column in (True, False):
                mask = _decode(row.runs, size, by_column)
                edges[by_column] += sum(int(np.count_nonzero(np.diff(mask, axis=axis))) for axis in (0, 1))
                torn[by_column] += any(num_components(part) > 1 for part in parts_of(mask.astype(np.int64)))
        except ValueError:
            continue
        count += 1
    by_column = edges[True] <= CLEAR * edges[False] or edges[True] - edges[False] < LONG
    return by_column, torn[by_column] > count / 2


def _draw(size: Size, report: Report, *, rows: list[_Row], by_column: bool, split: bool) -> Iterator[Drawn]:
    for row in rows:
        try:
            mask = _decode(row.runs, size, by_column)
        except ValueError as error:
            report("broken mask", f"line {row.line}: {error}")
            continue
        for part in parts_of(mask.astype(np.int64)):
            for piece in components(part) if split else (part,):
                yield Drawn(row.class_name, piece.rle(size))


def _decode(text: str, size: Size, by_column: bool) -> np.ndarray:
    """(H, W) bool of "start length …", starts counted from 1."""
    try:
        numbers = np.array(text.split(), np.int64)
    except (ValueError, OverflowError):
        raise ValueError(f"run lengths are whole numbers; received {text[:60]!r}") from None
    if len(numbers) % 2:
        raise ValueError(f"run lengths are pairs of start and length; received {len(numbers)} numbers")
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    num_pixels = size[0] * size[1]
    if (starts < 0).any() or (lengths < 0).any() or (starts > num_pixels).any() or (starts + lengths > num_pixels).any():
        raise ValueError(f"run lengths lie in the image's {size[0]}×{size[1]} pixels, counted from 1; these do not")
    steps = np.zeros(num_pixels + 1, np.int32)
    np.add.at(steps, starts, 1)
    np.add.at(steps, starts + lengths, -1)
    flat = np.cumsum(steps[:-1]) > 0
    return flat.reshape(size[::-1]).T if by_column else flat.reshape(size)


def write(data: Annotated, out: Path, *, images: ImagesTo = "copy") -> list[Fault]:
    """Writes `train.csv` (ImageId, ClassName, EncodedPixels) and `images/`: pixels column by column, counted from 1.
    Objects that a model found have a column Score.

    Returns:
        What the format cannot say: crowd regions.
    """
    losses = Losses()
    out.mkdir(parents=True, exist_ok=True)

    def table(file: BinaryIO) -> None:
        text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        rows = csv.writer(text)
        scored = any(sample.scores is not None for sample in data.samples)
        rows.writerow(["ImageId", "ClassName", "EncodedPixels", *(["Score"] if scored else [])])
        for sample, name in placed_images(data, out / "images", images):
            objects = losses.without_crowds(rows_of(sample, data))
            for row in objects:
                rows.writerow([name, row.name, _encode(row.rle), *([row.score] if scored else [])])
            if not objects:
                rows.writerow([name, "", "", *([""] if scored else [])])
        text.detach()

    write_whole(out / "train.csv", table)
    return losses.faults()


def _encode(rle: Rle) -> str:
    """ "start length …" of a mask, column by column, counted from 1."""
    edges = np.flatnonzero(np.diff(rle_to_mask(rle).ravel("F"), prepend=False, append=False))
    return " ".join(f"{first + 1} {last - first}" for first, last in edges.reshape(-1, 2).tolist())
