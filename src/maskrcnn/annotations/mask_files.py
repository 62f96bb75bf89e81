"""One mask file for each object: Kaggle's Data Science Bowl 2018, `masks/ID/*.png`, and masks that begin with the image's name.

The class is what stands before the last number of a mask's name, `cat_3.png`; names of digits and letters alone say none.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import Size
from maskrcnn.annotations.pairing import MaskFiles, class_in_name, find_files_of_objects
from maskrcnn.annotations.place import Place, ReadOptions
from maskrcnn.annotations.values import read_mask_values
from maskrcnn.annotations.writing import Annotated, ImagesTo, Losses, placed_images, rows_of, safe_name
from maskrcnn.atomic import write_png
from maskrcnn.geometry.rle import mask_to_rle, rle_to_mask

NAME = "mask-files"
TITLE = "one mask file for each object (masks/ID/*.png, or Kaggle's Data Science Bowl)"


def recognise(place: Place) -> bool:
    """A folder whose images have folders of masks, or several masks by their names."""
    return bool(find_files_of_objects(place))


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every image with an object for each of its mask files: whatever is not 0 in it."""
    entries = [Entry(files.file_name, files.image, partial(_draw, files=files)) for files in find_files_of_objects(place)]
    return assemble(entries, options)


def _draw(size: Size, report: Report, *, files: MaskFiles) -> Iterator[Drawn]:
    stem = files.image.path.stem if files.image.path else ""
    for mask in files.masks:
        try:
            values = read_mask_values(mask, size)
        except ValueError as error:
            report("broken mask", str(error))
            continue
        yield Drawn(class_in_name(mask.stem, stem), mask_to_rle(values != 0))


def write(data: Annotated, out: Path, *, images: ImagesTo = "copy") -> list[Fault]:
    """Writes `images/`, and `masks/IMAGE/CLASS_K.png` of 0 and 255 for each object.

    Returns:
        What the format cannot say: scores, crowd regions.
    """
    losses = Losses()
    for sample, name in placed_images(data, out / "images", images):
        folder = out / "masks" / Path(name).stem
        folder.mkdir(parents=True, exist_ok=True)
        for row in losses.without_scores(rows_of(sample, data)):
            mask = rle_to_mask(row.rle).astype(np.uint8) * 255
            write_png(folder / f"{safe_name(row.name)}_{row.number}.png", mask)
    return losses.faults()
