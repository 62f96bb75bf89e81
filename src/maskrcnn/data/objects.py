"""From single annotated objects to the `Sample` of their picture; what the readers of all formats share."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.config import Category, ImageConfig
from maskrcnn.data.images import decoded_size, read_image, read_size
from maskrcnn.data.tiles import is_large, picture_size
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
    """The sample of one picture, its image not read yet."""
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
    """Where the pictures of an annotation file lie: in the folder with its stem, in `images/` beside it, or beside it."""
    candidates = [folder for folder in (path.with_suffix(""), path.parent / "images", path.parent) if folder.is_dir()]
    names = list(file_names)
    return next((folder for folder in candidates if any(os.path.isfile(folder / name) for name in names)), candidates[0])


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path stays in its folder as it is written; links that a person made there are theirs."""
    return Path(os.path.normpath(path)).is_relative_to(os.path.normpath(folder))


def measure_pictures(paths: Sequence[Path], *, decode: bool) -> list[tuple[int, int] | ValueError]:
    """For each picture its (height, width), or the error that reading it gives.

    With `decode` every picture is read to its last pixel, a few at a time: the one way to find those that are cut off. Large
    ones, of which training reads parts, are taken at their header's word.
    """

    def measure(path: Path) -> tuple[int, int] | ValueError:
        try:
            if is_large(path):
                return picture_size(path)
            return decoded_size(path) if decode else read_size(path)
        except ValueError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as threads:  # decoders let go of Python's lock
        return list(threads.map(measure, paths))


def read_sample(sample: Sample, image_config: ImageConfig) -> Sample:
    """The sample with its image read as a model takes it, unless it brings one along.

    Raises:
        ValueError: for a picture that cannot be read, or of other channels than the model's.
    """
    if sample.image is None:
        image = read_image(sample.path, channels=image_config.channels, scaling=image_config.scaling)
        return sample.replace(image=image)
    if sample.image.shape[2:] != (image_config.channels,):
        raise ValueError(
            f"{sample.path} brings an image of shape {sample.image.shape}; the model takes {image_config.channels} channels."
        )
    return sample
