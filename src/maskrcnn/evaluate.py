"""Evaluate: what a model finds in a data set, scored against the truth as COCO does."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from maskrcnn.metrics.coco import evaluate_coco
from maskrcnn.results.files import write_json
from maskrcnn.structures import Detections

if TYPE_CHECKING:
    from maskrcnn.data.dataset import Dataset


def evaluate(
    model: Any, dataset: Dataset, *, batch_size: int = 1, progress: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Runs the model over the data set and scores it. One batch of pictures is in memory at a time.

    Everything the model lets through counts, from `model.config.detect.score` up; a higher score would cost recall. Where the
    model finds more than COCO's 100 objects in a picture, AP is taken over as many as it finds (see `max_detections` in the
    answer), because pictures that hold more could not be scored otherwise.

    Args:
        model: a `MaskRCNN`, or anything with its `detect(images, batch_size=…, score=…)` and `config`.
        dataset: pictures and truth.
        batch_size: pictures that go through the model together.
        progress: called after each batch with the number of its pictures.

    Returns:
        The scores of `metrics.coco.evaluate_coco`: "mask", "box", "per_class" and "max_detections".

    Raises:
        ValueError: for a model and a data set that have no class in common.
    """
    _compare_classes(model.config.class_names, [category.name for category in dataset.categories])

    def found() -> Iterator[tuple[int, Detections]]:
        for start in range(0, len(dataset.samples), batch_size):
            samples = dataset.samples[start : start + batch_size]
            images = [sample.path if sample.image is None else sample.image for sample in samples]
            detections = model.detect(images, batch_size=batch_size, score=model.config.detect.score)
            yield from ((sample.image_id, each) for sample, each in zip(samples, detections, strict=True))
            if progress is not None:
                progress(len(samples))

    most = model.config.detect.max_detections
    limits = (1, 10, 100, most) if most > 100 else (1, 10, 100)
    return evaluate_coco(dataset.samples, dataset.categories, found(), max_detections=limits)


def _compare_classes(known: list[str], wanted: list[str]) -> None:
    missing = [name for name in wanted if name not in known]
    if wanted and len(missing) == len(wanted):
        raise ValueError(
            f"Model and data have no class in common: the model knows {_listed(known)}, the data has {_listed(wanted)}. "
            "Classes are matched by name."
        )
    if missing:
        warnings.warn(f"The model doesn't know {_listed(missing)}: all of their objects count as missed.", stacklevel=3)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def print_scores(scores: Mapping[str, Any], console: Console) -> None:
    """Prints `evaluate`'s scores as two tables: overall, and a row for each class."""
    overall = Table(title="COCO scores", title_justify="left")
    overall.add_column("")
    overall.add_column("mask", justify="right")
    overall.add_column("box", justify="right")
    for name, value in scores["mask"].items():
        overall.add_row(name.replace("_", " "), _number(value), _number(scores["box"][name]))
    classes = Table(title="Classes", title_justify="left")
    classes.add_column("class", overflow="fold")
    for heading in ("objects", "mask AP", "mask AP50", "box AP", "box AP50"):
        classes.add_column(heading, justify="right")
    for name, row in scores["per_class"].items():
        numbers = (row[column] for column in ("mask_AP", "mask_AP50", "box_AP", "box_AP50"))
        classes.add_row(name, str(row["num_objects"]), *map(_number, numbers))
    console.print(overall)
    if scores["max_detections"][-1] != 100:
        console.print(f"AP looks at {scores['max_detections'][-1]} detections of a picture and class; COCO's standard is 100.")
    console.print(classes)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def write_scores(path: str | os.PathLike[str], scores: Mapping[str, Any]) -> None:
    """Writes `evaluate`'s scores as JSON, None as null; whole or not at all."""
    write_json(path, scores)
