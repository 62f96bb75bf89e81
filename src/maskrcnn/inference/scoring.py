"""Evaluate: what a model finds in a data set, scored against the truth as COCO does, and as biology does."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from maskrcnn.annotations.objects import are_unnamed
from maskrcnn.atomic import write_json
from maskrcnn.config.model import Category
from maskrcnn.data.dataset import open_dataset
from maskrcnn.inference.batches import WAITING
from maskrcnn.inference.whole import detect
from maskrcnn.metrics.biology import SCORES, BiologyScores
from maskrcnn.metrics.coco import evaluate_coco
from maskrcnn.pipeline import behind
from maskrcnn.structures import Detections, Detector, Finder, Sample

if TYPE_CHECKING:
    from maskrcnn.data.dataset import Dataset


T = TypeVar("T")


def evaluate(
    model: Detector | Finder,
    dataset: str | Path | Dataset,
    *,
    batch_size: int = 1,
    biology: bool | float = False,
    progress: Callable[[int], None] | None = None,
    on_found: Callable[[int, Detections], None] | None = None,
) -> dict[str, Any]:
    """Runs the model over the data set and scores it. Few batches of images are in memory at a time.

    Everything the model lets through counts, from `model.config.detect.score` up; a higher score would cost recall. Where the
    model finds more than COCO's 100 objects in an image, AP is taken over as many as it finds (see `max_detections` in the
    answer), because images that hold more could not be scored otherwise.

    Example:
        ```python
        threshold = best_score_threshold(model, train_data)
        scores = evaluate(model, val_data, biology=threshold)
        scores["biology"]["DSB"]
        ```

    Args:
        model: a `MaskRCNN` or an engine, for which threads read the next images and score the last ones while it works; or
            anything with a `config` and a `detect(images, batch_size=…, score=…)` of its own.
        dataset: images and truth, or their path. Objects that nobody named belong to the class of a model that has just one.
        batch_size: images that go through the model together.
        biology: also score the detections as biology does, those of at least this score; True is 0.5.
        progress: called after each batch with the number of its images.
        on_found: called with each image's id and all that the model finds in it.

    Returns:
        The scores of `metrics.coco.evaluate_coco`: "mask", "box", "per_class" and "max_detections", and "keypoints" where there
        are any. With `biology` also
        "biology", see `metrics.biology.BiologyScores.scores`.

    Raises:
        ValueError: for a model and a data set that have no class in common.
    """
    data: Dataset = open_dataset(dataset)
    categories = shared_categories(model, data)
    of_biology = None if biology is False else BiologyScores(categories, scores=(0.5 if biology is True else biology,))

    def finish(pair: tuple[Sample, Detections]) -> tuple[int, Detections]:
        sample, detections = pair
        detections.rle()  # which they keep: pasting is most of the work
        if of_biology is not None:
            of_biology.add(sample, detections)
        if on_found is not None:
            on_found(sample.image_id, detections)
        return sample.image_id, detections

    most = model.config.detect.max_detections
    limits = (1, 10, 100, most) if most > 100 else (1, 10, 100)
    with closing(_each_with(finish, model, data, batch_size, progress)) as found:  # type: ignore[type-var]
        scores = evaluate_coco(data.samples, categories, found, max_detections=limits)
    return scores if of_biology is None else {**scores, "biology": of_biology.scores()}


def best_score_threshold(
    model: Detector | Finder,
    dataset: str | Path | Dataset,
    *,
    batch_size: int = 1,
    progress: Callable[[int], None] | None = None,
) -> float:
    """The least score of what counts as found that gives the data set the best Data Science Bowl score.

    The model runs once; 0.1, 0.15, … 0.9 are tried on what it finds, and of equally good ones that nearest to 0.5 is taken.
    On the data that is then evaluated, the choice flatters the score: choose on training data, or on images held back for it.

    Args:
        model, dataset, batch_size, progress: as in `evaluate`.

    Raises:
        ValueError: for a model and a data set that have no class in common, and for a data set without images.
    """
    data: Dataset = open_dataset(dataset)
    scores = BiologyScores(shared_categories(model, data), scores=SCORES)
    for _ in _each_with(lambda pair: scores.add(*pair), model, data, batch_size, progress):
        pass
    return scores.best_threshold()


def _each_with(
    finish: Callable[[tuple[Sample, Detections]], T],
    model: Detector | Finder,
    dataset: Dataset,
    batch_size: int,
    progress: Callable[[int], None] | None,
) -> Iterator[T]:
    """`finish` of every image with all that the model finds in it; a thread does it while the model works on."""
    with closing(_detect(model, dataset, batch_size, progress)) as pairs:  # type: ignore[type-var]
        yield from behind(finish, pairs, WAITING if len(dataset.samples) > batch_size else 0)


def _detect(
    model: Detector | Finder, dataset: Dataset, batch_size: int, progress: Callable[[int], None] | None
) -> Iterator[tuple[Sample, Detections]]:
    samples, score = dataset.samples, model.config.detect.score
    images = images_of(dataset)
    found: Iterator[Detections]
    if isinstance(model, Detector):
        found = detect(model, images, batch_size=batch_size, score=score)
    else:
        starts = range(0, len(samples), batch_size)
        parts = (images[start : start + batch_size] for start in starts)
        found = (each for part in parts for each in model.detect(part, batch_size=batch_size, score=score))
    with closing(found):  # type: ignore[type-var]
        for number, pair in enumerate(zip(samples, found, strict=True), start=1):
            yield pair
            if progress is not None and (number % batch_size == 0 or number == len(samples)):
                progress((number - 1) % batch_size + 1)


def images_of(dataset: Dataset) -> list[Any]:
    """A data set's images as models take them: paths, and arrays of those that it holds."""
    return [sample.path if sample.image is None else sample.image for sample in dataset.samples]


def shared_categories(model: Detector | Finder, dataset: Dataset) -> tuple[Category, ...]:
    """What the data's labels mean to the model, compared by name."""
    if not isinstance(model, (Detector, Finder)):
        raise ValueError(f"evaluate needs a model, not {model!r:.100}; open a file with maskrcnn.load_model(path).")
    known = model.config.class_names
    if len(known) == 1 and are_unnamed(dataset.categories):
        return (replace(dataset.categories[0], name=known[0]),)
    _compare_classes(known, [category.name for category in dataset.categories])
    return dataset.categories


def _compare_classes(known: list[str], wanted: list[str]) -> None:
    missing = [name for name in wanted if name not in known]
    if wanted and len(missing) == len(wanted):
        raise ValueError(
            f"Model and data have no class in common: the model knows {_listed(known)}, the data has {_listed(wanted)}. "
            "Classes are matched by name."
        )
    if missing:
        warnings.warn(f"The model doesn't know {_listed(missing)}: all of their objects count as missed.", stacklevel=4)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def write_scores(path: str | os.PathLike[str], scores: Mapping[str, Any]) -> None:
    """Writes `evaluate`'s scores as JSON, None as null; whole or not at all."""
    write_json(path, scores)
