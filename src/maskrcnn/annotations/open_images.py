"""Open Images' instance segmentation: a CSV of masks, one PNG an object, and names of classes in a second CSV.

https://storage.googleapis.com/openimages/web/download.html. `MaskPath,ImageID,LabelName,…` beside folders of masks and images;
`class-descriptions*.csv` says what `/m/0abc` is called. A mask may be larger or smaller than its image, of the same shape.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.finding import Found, ImageFinder, image_folders
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import Size
from maskrcnn.annotations.place import Place, ReadOptions, read_table
from maskrcnn.annotations.values import read_mask_values
from maskrcnn.geometry.rle import mask_to_rle

NAME = "open-images"
TITLE = "Open Images' CSV of masks"


class _Mask(NamedTuple):
    found: Found
    class_name: str


def recognise(place: Place) -> bool:
    """A CSV with the columns MaskPath, ImageID and LabelName."""
    return {"MaskPath", "ImageID", "LabelName"} <= set(place.columns)


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every image of the table."""
    names = _descriptions(place)
    masks = ImageFinder([folder for folder in (place.folder / "masks", place.folder) if folder.is_dir()])
    images = ImageFinder(image_folders(place.path, options.images))
    rows: dict[str, list[_Mask]] = defaultdict(list)
    for row in read_table(place.path):
        rows[row["ImageID"]].append(_Mask(masks.find(row["MaskPath"]), names.get(row["LabelName"], row["LabelName"])))
    entries = []
    for name, own in rows.items():
        found = images.find(f"{name}.jpg")
        found = found if found.path is not None else images.find(name)
        entries.append(Entry(name, found.as_usual(), partial(_draw, masks=own)))
    return assemble(entries, options)


def _descriptions(place: Place) -> dict[str, str]:
    names: dict[str, str] = {}
    for file in place.folder.glob("class-descriptions*.csv"):
        with open(file, newline="", encoding="utf-8-sig", errors="replace") as opened:
            names |= {row[0]: row[1] for row in csv.reader(opened) if len(row) >= 2}
    return names


def _draw(size: Size, report: Report, *, masks: list[_Mask]) -> Iterator[Drawn]:
    for mask in masks:
        if mask.found.path is None:
            report("missing mask", mask.found.problem)
            continue
        try:
            values = (read_mask_values(mask.found.path) != 0).astype(np.uint8)
        except ValueError as error:
            report("broken mask", str(error))
            continue
        if values.shape != size:
            if abs(values.shape[0] / values.shape[1] - size[0] / size[1]) > 0.02 * size[0] / size[1]:
                report("broken mask", f"{mask.found.path} has the shape {values.shape}, its image {size}")
                continue
            values = cv2.resize(values, size[::-1], interpolation=cv2.INTER_NEAREST)
        yield Drawn(mask.class_name, mask_to_rle(values))
