"""From single annotated objects to the `Sample` of their image; what the readers of all formats share."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.config.model import Category
from maskrcnn.structures import Sample

OBJECT = Category(1, "object")  # the class of objects that nobody named, as in label maps


def are_unnamed(categories: Sequence[Category]) -> bool:
    """Whether these are the categories of objects that nobody named."""
    return [category.name for category in categories] == [OBJECT.name]


@dataclass(frozen=True, eq=False)
class TrueObject:
    """One annotated object: `box` (4,) xyxy, `rle` and `area` in original pixels, `label` an index into the categories."""

    box: np.ndarray
    label: int
    crowd: bool
    rle: dict[str, Any]
    area: float
    annotation_id: int


def make_sample(image_id: int, file_name: str, path: Path, size: tuple[int, int], objects: Sequence[TrueObject]) -> Sample:
    """The sample of one image, its image not read yet."""
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
    )


def read_json(path: Path) -> Any:
    """A JSON file's content.

    Raises:
        ValueError: for a file that cannot be read.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"Cannot read {path}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Cannot read {path} as JSON: {error}.") from None


def find_folder(path: Path, file_names: Iterable[str]) -> Path:
    """Where the images of an annotation file lie: in the folder with its stem, in `images/` beside it, or beside it."""
    candidates = [folder for folder in (path.with_suffix(""), path.parent / "images", path.parent) if folder.is_dir()]
    names = list(file_names)
    return next((folder for folder in candidates if any(os.path.isfile(folder / name) for name in names)), candidates[0])


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path stays in its folder as it is written; links that a person made there are theirs."""
    return Path(os.path.normpath(path)).is_relative_to(os.path.normpath(folder))
