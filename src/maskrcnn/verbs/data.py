"""What can be done with a data set, and with what a model found: written in another tool's format."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.formats import check_writable, write_annotations
from maskrcnn.annotations.predicted import write_found
from maskrcnn.annotations.writing import ImagesTo
from maskrcnn.atomic import new_folder
from maskrcnn.data.dataset import Dataset, load_dataset
from maskrcnn.structures import Detections


class Converted(NamedTuple):
    """What `convert_data` did.

    Attributes:
        data: what was read, with all that was wrong with it in `data.faults`.
        lost: what the new format cannot say.
    """

    data: Dataset
    lost: list[Fault]

    def summary(self) -> str:
        """A few lines to print."""
        return "\n".join([self.data.summary(), *(f"not written: {fault.message}" for fault in self.lost)])


def convert_data(data: str | Path | Dataset, *, to: str, out: str | Path, images: ImagesTo = "copy") -> Converted:
    """Writes a data set of any format in another one: `convert_data("export.json", to="yolo", out="yolo")`.

    Args:
        data: a path, or a `Dataset` that was read with more to say about it, see `load_dataset`.
        to: the new format, see docs/data.md.
        out: a folder that is not there or empty. It appears whole or not at all.
        images: "copy" into the folder, "link" to them, which takes no room, or "none".

    Raises:
        ValueError: for an unknown format, a folder with something in it, and what the format cannot hold.
    """
    check_writable(to)
    with new_folder(Path(out)) as folder:
        dataset = load_dataset(data) if isinstance(data, (str, Path)) else data
        return Converted(dataset, write_annotations(dataset, to, folder, images=images))


def save_predictions(found: Iterable[Detections], to: str, out: str | Path, *, images: ImagesTo = "copy") -> list[Fault]:
    """Writes what a model found as a data set: `save_predictions(maskrcnn.predict("folder"), "cvat", "found")`.

    Scores go along where the format has a place for them. In Label Studio's the objects are predictions, in QuPath's
    detections.

    Args:
        found: what was found in each image.
        to: the format, see docs/data.md.
        out: a folder that is not there or empty. It appears whole or not at all.
        images: "copy" into the folder, "link" to them, which takes no room, or "none".

    Returns:
        What the format cannot say, counted.

    Raises:
        ValueError: for an unknown format, a folder with something in it, and what the format cannot hold.
    """
    check_writable(to)
    with new_folder(Path(out)) as folder:
        return write_found(found, to, folder, images=images)
