"""Writes COCO's JSON of a data set: images, annotations with polygons or run lengths, categories."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from maskrcnn.annotations.coco_keypoints import annotation_entry, category_entry
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.writing import Annotated, ImagesTo, Row, placed_images, rows_of
from maskrcnn.atomic import write_whole
from maskrcnn.geometry.rle import rle_to_json
from maskrcnn.structures import Sample

FILE = "annotations.json"


def write(data: Annotated, out: Path, *, images: ImagesTo = "copy") -> list[Fault]:
    """Writes `annotations.json` and `images/`. Objects without holes are polygons, others and crowd regions run lengths.
    Objects that a model found have a `score` too.

    The ids of images, annotations and categories are the data set's own where they are its own alone.

    Returns:
        What the format cannot say: nothing.
    """
    out.mkdir(parents=True, exist_ok=True)
    placed = list(placed_images(data, out / "images", images))
    ids = _unique([sample.image_id for sample in data.samples])
    numbers = _unique([int(number) for sample in data.samples for number in sample.annotation_ids])

    def listed() -> Iterator[dict[str, Any]]:
        for image_id, (sample, name) in zip(ids, placed, strict=True):
            yield {"id": image_id, "file_name": name, "height": sample.size[0], "width": sample.size[1]}

    def annotations() -> Iterator[dict[str, Any]]:
        first = 0
        for image_id, sample in zip(ids, data.samples, strict=True):
            for row in rows_of(sample, data):
                yield _annotation(sample, row, numbers[first + row.number], image_id, data.categories[row.label].id)
            first += len(sample.labels)

    categories = [
        {"id": category.id, "name": category.name, "supercategory": "", **category_entry(category)}
        for category in data.categories
    ]
    write_whole(out / FILE, lambda file: _write_lists(file, images=listed(), annotations=annotations(), categories=categories))
    return []


def _annotation(sample: Sample, row: Row, annotation_id: int, image_id: int, category_id: int) -> dict[str, Any]:
    left, top, right, bottom = sample.boxes[row.number].tolist()
    polygons = row.polygons()
    plain = not row.crowd and all(len(rings) == 1 for rings in polygons)
    score = {} if row.score is None else {"score": row.score}
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [left, top, right - left, bottom - top],
        "area": float(sample.areas[row.number]),
        "iscrowd": int(row.crowd),
        "segmentation": [rings[0].ravel().tolist() for rings in polygons] if plain else rle_to_json(row.rle),
        **({} if sample.keypoints is None else annotation_entry(sample.keypoints[row.number])),
        **score,
    }


def _unique(numbers: list[int]) -> list[int]:
    return numbers if len(set(numbers)) == len(numbers) else list(range(1, len(numbers) + 1))


def _write_lists(file: BinaryIO, **lists: Iterable[dict[str, Any]]) -> None:
    """A JSON object of lists, an entry a line, so that none of them has to be in memory."""
    for place, (key, entries) in enumerate(lists.items()):
        file.write(f"{', ' if place else '{'}{json.dumps(key)}: [".encode())
        for number, entry in enumerate(entries):
            file.write((",\n" if number else "\n").encode() + json.dumps(entry, ensure_ascii=False, allow_nan=False).encode())
        file.write(b"\n]")
    file.write(b"}\n")
