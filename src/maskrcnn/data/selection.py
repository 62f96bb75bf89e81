"""Less of a data set: some classes, some sizes, some images; or a small copy in which every class is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np

from maskrcnn.data.dataset import Dataset
from maskrcnn.geometry.rle import rle_area
from maskrcnn.structures import Sample


@dataclass(frozen=True)
class Selection:
    """What is kept of a data set. Crowd regions of classes that are kept stay, whatever their size.

    Attributes:
        classes: names of those that are kept; None: all but `without`.
        without: names of those that are not.
        min_area, max_area: of an object's mask, pixels of the image, both included; None: no limit.
        images: patterns such as `site1_*`, of which a file's name, with or without its folders, matches one; none: all.
        rest_as_crowds: objects that are not kept become crowd regions, of which nothing is learned; else they are background.
        drop_empty_images: leave out images on which nothing is left.
        drop_empty_classes: leave out classes of which no object is left.
    """

    classes: Sequence[str] | None = None
    without: Sequence[str] = ()
    min_area: float | None = None
    max_area: float | None = None
    images: Sequence[str] = ()
    rest_as_crowds: bool = False
    drop_empty_images: bool = False
    drop_empty_classes: bool = False


def select(dataset: Dataset, selection: Selection) -> Dataset:
    """The part of a data set that was asked for.

    Raises:
        ValueError: for a class that the data does not have, and where no image or no class is left.
    """
    names = [category.name for category in dataset.categories]
    strange = [name for name in (*(selection.classes or ()), *selection.without) if name not in names]
    if strange:
        raise ValueError(f"{dataset.name} has no class {', '.join(map(repr, strange))}; it has {', '.join(map(repr, names))}.")
    wanted = [name for name in names if (selection.classes is None or name in selection.classes)]
    wanted = [name for name in wanted if name not in selection.without]
    samples = [_without_rest(sample, names, wanted, selection) for sample in dataset.samples if _matches(sample, selection)]
    if selection.drop_empty_images:
        samples = [sample for sample in samples if (~sample.crowd).any()]
    if selection.drop_empty_classes:
        left = {names[label] for sample in samples for label in np.unique(sample.labels[~sample.crowd])}
        wanted = [name for name in wanted if name in left]
    if not samples or not wanted:
        raise ValueError(f"Nothing of {dataset.name} is left: {len(samples)} images, {len(wanted)} classes.")
    labels = np.array([wanted.index(name) if name in wanted else -1 for name in names], np.int32)
    kept = [sample.with_labels(labels) for sample in samples]
    kept = [sample.replace(labels=np.maximum(sample.labels, 0)) for sample in kept]  # of crowds, whose class is of no account
    categories = tuple(category for category in dataset.categories if category.name in wanted)
    return replace(dataset, samples=kept, categories=categories, faults=[])


def _matches(sample: Sample, selection: Selection) -> bool:
    name = sample.file_name.replace("\\", "/")
    both = (name, name.rpartition("/")[2])
    return not selection.images or any(fnmatchcase(written, pattern) for pattern in selection.images for written in both)


def _without_rest(sample: Sample, names: Sequence[str], wanted: Sequence[str], selection: Selection) -> Sample:
    """The sample with the objects that are kept, the others gone or crowd regions."""
    of_class = np.array([names[label] in wanted for label in sample.labels], bool)
    low, high = selection.min_area or 0.0, np.inf if selection.max_area is None else selection.max_area
    areas = np.array([rle_area(rle) for rle in sample.rles], np.float64)
    kept = of_class & (sample.crowd | ((areas >= low) & (areas <= high)))
    return sample.replace(crowd=sample.crowd | ~kept) if selection.rest_as_crowds else take_objects(sample, kept)


def take_objects(sample: Sample, rows: np.ndarray) -> Sample:
    """The sample with some of its objects: (N,) bool, or their places."""
    places = np.arange(len(sample.labels))[rows]
    return sample.replace(
        boxes=sample.boxes[places],
        labels=sample.labels[places],
        crowd=sample.crowd[places],
        rles=[sample.rles[place] for place in places.tolist()],
        areas=sample.areas[places],
        annotation_ids=sample.annotation_ids[places],
        scores=None if sample.scores is None else sample.scores[places],
        keypoints=sample.keypoints_of(places),
    )


def choose_images(dataset: Dataset, count: int, seed: int) -> Dataset:
    """So many images, drawn at random, with every class on one of them where that is possible.

    The rarest class that is missing comes first, with the image that has most of the missing classes; what room is left is
    filled with any others.

    Args:
        count: of images; all where there are fewer.
        seed: same seed, same images.
    """
    if count < 1:
        raise ValueError(f"A copy has at least one image; received {count}.")
    rng = np.random.default_rng(seed)
    order, turn = rng.permutation(len(dataset)).tolist(), rng.permutation(len(dataset.categories)).tolist()
    classes = {place: set(sample.labels[~sample.crowd].tolist()) for place, sample in enumerate(dataset.samples)}
    images_of = {label: sum(label in own for own in classes.values()) for label in set().union(*classes.values())}
    missing, chosen = set(images_of), list[int]()
    while missing and len(chosen) < count:
        rarest = min(missing, key=lambda label: (images_of[label], turn[label]))
        best = max((place for place in order if rarest in classes[place]), key=lambda place: len(classes[place] & missing))
        chosen.append(best)
        missing -= classes[best]
    taken = set(chosen)
    chosen += [place for place in order if place not in taken][: max(0, count - len(chosen))]
    return replace(dataset, samples=[dataset.samples[place] for place in sorted(chosen)], faults=[])
