"""Detections as rows of Parquet: one an object, and one an image, whether objects were found in it or not."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from maskrcnn import extras
from maskrcnn.structures import Detections

IMAGES, OBJECTS = "images", "objects"  # the folders of the two kinds of files, in the folder of a data set
MANIFEST = "manifest.json"  # beside them: the classes, and what the job was
KINDS = {  # of every column, as pyarrow spells them; none of the names needs quotes in SQL
    IMAGES: {
        "image": "string",  # path or address
        "plane": "int32",  # of a file of several, from 1
        "height": "int32",
        "width": "int32",
        "num_objects": "int32",
        "error": "string",  # null of an image that was read
    },
    OBJECTS: {
        "image": "string",
        "plane": "int32",
        "object": "int32",  # from 1 in each image, best first
        "class": "string",
        "category_id": "int32",
        "score": "float32",  # null of ground truth
        "x1": "float32",
        "y1": "float32",
        "x2": "float32",
        "y2": "float32",
        "area": "int64",  # pixels of the mask
        "height": "int32",  # of the image, which COCO's run lengths are nothing without
        "width": "int32",
        "rle": "string",
        "crowd": "bool",
    },
}


class ImageRow(NamedTuple):
    """One image: its size and how many objects it has, or what was wrong with it."""

    image: str
    plane: int
    height: int | None = None
    width: int | None = None
    num_objects: int | None = None
    error: str | None = None


class ObjectRow(NamedTuple):
    """One object, in pixels of its image; box xyxy."""

    image: str
    plane: int
    object: int
    name: str
    category_id: int
    score: float | None
    box: Sequence[float]
    area: int
    rle: Mapping[str, Any]
    crowd: bool = False


def object_rows(image: str, plane: int, detections: Detections, category_ids: Sequence[int]) -> list[ObjectRow]:
    """What was found in an image, best first.

    Args:
        image: its path or address.
        plane: its number in the file, from 1.
        detections: with class names.
        category_ids: of the detections' labels.
    """
    columns = zip(
        detections.names,
        detections.labels.tolist(),
        detections.scores.tolist(),
        detections.boxes.tolist(),
        detections.areas().tolist(),
        detections.rle(),
    )
    return [
        ObjectRow(image, plane, number, name, category_ids[label], score, box, area, rle)
        for number, (name, label, score, box, area, rle) in enumerate(columns, start=1)
    ]


def encode_images(rows: Iterable[ImageRow]) -> bytes:
    """A Parquet file of images."""
    return _encode(IMAGES, (row._asdict() for row in rows))


def encode_objects(rows: Iterable[ObjectRow]) -> bytes:
    """A Parquet file of objects."""
    return _encode(OBJECTS, map(_columns, rows))


def part_name(number: int) -> str:
    """A file of either kind: those of the same number are of the same images."""
    return f"part-{number:08d}.parquet"


def load_pyarrow(module: str = "pyarrow.parquet") -> Any:
    """The library, or an ImportError of one line."""
    return extras.load(module, extra="ray", why="Parquet needs pyarrow")


def _columns(row: ObjectRow) -> dict[str, Any]:
    columns = row._asdict()
    columns["class"] = columns.pop("name")
    columns |= dict(zip(("x1", "y1", "x2", "y2"), columns.pop("box"), strict=True))
    columns["height"], columns["width"] = row.rle["size"]
    return columns | {"rle": bytes(row.rle["counts"]).decode("ascii")}


def _encode(kind: str, rows: Iterable[dict[str, Any]]) -> bytes:
    parquet, pyarrow = load_pyarrow(), load_pyarrow("pyarrow")
    schema = pyarrow.schema([(name, pyarrow.type_for_alias(alias)) for name, alias in KINDS[kind].items()])
    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema), file, compression="zstd")
    return file.getvalue()
