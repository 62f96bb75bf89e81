"""What a data set holds, how it looks to a model, and what to set for it: `describe`, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskrcnn.config.model import ModelConfig
from maskrcnn.data.dataset import Dataset
from maskrcnn.data.imbalance import count_images, count_objects
from maskrcnn.doctor.object_sizes import Coverage, cover, measure_objects
from maskrcnn.doctor.suggest import Suggestion, suggest

PERCENTILES = (5, 10, 50, 90, 95)
SMALL, MEDIUM = 32**2, 96**2  # square pixels of the original image; COCO's evaluation, its bounds belong to medium


@dataclass(frozen=True)
class ClassStats:
    """How much there is of one class; `objects` and `images` count no crowds."""

    name: str
    objects: int
    images: int
    crowds: int


@dataclass(frozen=True)
class DataStats:
    """A data set in numbers. Objects are all but crowds.

    Attributes:
        name: what the file or folder is called.
        images, objects, crowds: how many there are.
        empty_images: those without objects and crowds.
        classes: in the order of the data set's categories.
        heights, widths: of the images: least, median, most; original pixels.
        objects_per_image: "median", "p95" (what 95 % of the images do not exceed) and "max".
        area_shares: parts of the objects that COCO calls "small", "medium" and "large", by annotated area, original pixels.
        short_side, long_side: of the model's input, in whose pixels the next two are.
        sides: percentiles ("p5" … "p95") of the objects' "size" (square root of the box's area), "width", "height" and
            "height / width"; empty without objects.
        coverage: how well the model's anchors fit; None without objects.
        suggestions: what to set otherwise.
    """

    name: str
    images: int
    empty_images: int
    objects: int
    crowds: int
    classes: tuple[ClassStats, ...]
    heights: tuple[float, float, float]
    widths: tuple[float, float, float]
    objects_per_image: dict[str, float]
    area_shares: dict[str, float]
    short_side: int
    long_side: int
    sides: dict[str, dict[str, float]]
    coverage: Coverage | None
    suggestions: tuple[Suggestion, ...]


def describe(dataset: Dataset, model_config: ModelConfig) -> DataStats:
    """Counts and measures a data set; no image is read.

    Example: `describe(load_dataset("train.json", verify_images=False), preset("mobilenet_v2_fpn", dataset.categories))`.

    Args:
        dataset: with at least one image.
        model_config: in whose frame objects are measured, whose anchors are tried, and which the suggestions change.
    """
    samples = dataset.samples
    objects, images = count_objects(dataset), count_images(dataset)
    crowds = np.bincount(np.concatenate([sample.labels[sample.crowd] for sample in samples]), minlength=len(dataset.categories))
    sizes = measure_objects(dataset)
    counts = sizes.per_image()
    areas = np.concatenate([sample.areas[~sample.crowd] for sample in samples])
    shares = {"small": areas < SMALL, "medium": (areas >= SMALL) & (areas <= MEDIUM), "large": areas > MEDIUM}
    in_frame = sizes.in_frame(model_config.image)
    some = len(in_frame) > 0
    width, height = in_frame.T
    measured = {"size": np.sqrt(width * height), "width": width, "height": height, "height / width": height / width}
    return DataStats(
        name=dataset.name,
        images=len(samples),
        empty_images=sum(not len(sample.labels) for sample in samples),
        objects=int(objects.sum()),
        crowds=int(crowds.sum()),
        classes=tuple(
            ClassStats(category.name, *map(int, row)) for category, *row in zip(dataset.categories, objects, images, crowds)
        ),
        heights=_range([sample.size[0] for sample in samples]),
        widths=_range([sample.size[1] for sample in samples]),
        objects_per_image={
            "median": float(np.median(counts)), "p95": float(np.percentile(counts, 95)), "max": float(counts.max())
        },
        area_shares={name: float(share.mean()) if some else 0.0 for name, share in shares.items()},
        short_side=model_config.image.short_side,
        long_side=model_config.image.long_side,
        sides={name: _percentiles(values) for name, values in measured.items()} if some else {},
        coverage=cover(in_frame, model_config.anchors) if some else None,
        suggestions=suggest(dataset, model_config),
    )  # fmt: skip


def _range(values: list[int]) -> tuple[float, float, float]:
    return float(min(values)), float(np.median(values)), float(max(values))


def _percentiles(values: np.ndarray) -> dict[str, float]:
    return {f"p{part}": float(value) for part, value in zip(PERCENTILES, np.percentile(values, PERCENTILES))}
