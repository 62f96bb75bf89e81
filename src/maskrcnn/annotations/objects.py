"""From single annotated objects to the `Sample` of their image; what the readers of all formats share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from maskrcnn.annotations.faults import Fault
from maskrcnn.config.model import Category
from maskrcnn.structures import Sample

OBJECT = Category(1, "object")  # the class of objects that nobody named, as in label maps


def are_unnamed(categories: Sequence[Category]) -> bool:
    """Whether these are the categories of objects that nobody named."""
    return [category.name for category in categories] == [OBJECT.name]


@dataclass(frozen=True, eq=False)
class TrueObject:
    """One annotated object: `box` (4,) xyxy, `rle` and `area` in original pixels, `label` an index into the categories.

    An object that a model found has a score.
    """

    box: np.ndarray
    label: int
    crowd: bool
    rle: dict[str, Any]
    area: float
    annotation_id: int
    score: float | None = None


def make_sample(image_id: int, file_name: str, path: Path, size: tuple[int, int], objects: Sequence[TrueObject]) -> Sample:
    """The sample of one image, its image not read yet; with scores where all of its objects have one."""
    scores = [thing.score for thing in objects if thing.score is not None]
    return Sample(
        image_id=image_id,
        file_name=file_name,
        path=str(path),
        size=size,
        boxes=np.array([thing.box for thing in objects], np.float32).reshape(-1, 4),
        labels=np.array([thing.label for thing in objects], np.int32),
        crowd=np.array([thing.crowd for thing in objects], bool),
        rles=[thing.rle for thing in objects],
        areas=np.array([thing.area for thing in objects], np.float32),
        annotation_ids=np.array([thing.annotation_id for thing in objects], np.int64),
        scores=np.array(scores, np.float32) if scores and len(scores) == len(objects) else None,
    )


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of all images in columns, those of an image side by side: of image k the rows `starts[k]` to `starts[k + 1]`.

    Attributes:
        starts: (K + 1,) int64.
        boxes, labels, crowd, areas, ids, rles: as `Sample` has them, (N, …).
        measured: (N,) int64 pixels of each mask.
    """

    starts: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    ids: np.ndarray
    rles: list[dict[str, Any]]
    measured: np.ndarray

    def sample(self, row: int, image: Any) -> Sample:
        """The sample of one image; its arrays are parts of the columns."""
        own = slice(int(self.starts[row]), int(self.starts[row + 1]))
        return Sample(
            image_id=image.ids[0],
            file_name=image.file_name,
            path=str(image.path),
            size=image.size,
            boxes=self.boxes[own],
            labels=self.labels[own],
            crowd=self.crowd[own],
            rles=self.rles[own],
            areas=self.areas[own],
            annotation_ids=self.ids[own],
        )


class Annotations(NamedTuple):
    """What a file or folder of annotations holds.

    Attributes:
        samples: one an image, pixels not read.
        categories: `categories[k]` is what label k means.
        faults: all that was repaired or left out.
    """

    samples: list[Sample]
    categories: tuple[Category, ...]
    faults: list[Fault]
