"""Several data sets as one: classes joined by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from maskrcnn.config.model import Category
from maskrcnn.data.dataset import Dataset
from maskrcnn.structures import Sample


def merge(datasets: Sequence[Dataset], rename: Mapping[str, str] | None = None) -> Dataset:
    """All images of several data sets, with the classes of all of them: those of the same name are one.

    Ids of images and annotations stay where no two are the same, and those of classes where the sets agree on them; else they
    are numbered anew.

    Args:
        datasets: one or more; with one, classes are renamed or joined alone.
        rename: old names to new ones; several old ones may have the same new one, which joins them.

    Raises:
        ValueError: for no data set, and for an old name that none of them has.
    """
    if not datasets:
        raise ValueError("Merging takes one data set or more; received none.")
    new = dict(rename or {})
    known = {category.name for data in datasets for category in data.categories}
    strange = sorted(set(new) - known)
    if strange:
        listed = ", ".join(map(repr, sorted(known)))
        raise ValueError(f"No data set has a class {', '.join(map(repr, strange))}; they have {listed}.")
    categories = _joined_categories(datasets, new)
    labels = {category.name: label for label, category in enumerate(categories)}
    samples: list[Sample] = []
    for data in datasets:
        own = np.array([labels[new.get(category.name, category.name)] for category in data.categories], np.int32)
        samples += [sample.with_labels(own) for sample in data.samples]
    return Dataset(_with_own_ids(samples), categories, name=" + ".join(data.name or "unnamed" for data in datasets))


def similar_names(categories: Sequence[Category]) -> list[list[str]]:
    """Names that differ in capitals, spaces, dashes and underscores alone, and so may mean one class."""
    by_core: dict[str, list[str]] = {}
    for category in categories:
        core = "".join(letter for letter in category.name.casefold() if letter not in " -_")
        by_core.setdefault(core, []).append(category.name)
    return [names for names in by_core.values() if len(names) > 1]


def _joined_categories(datasets: Sequence[Dataset], new: Mapping[str, str]) -> tuple[Category, ...]:
    ids: dict[str, set[int]] = {}
    first: dict[str, Category] = {}
    for data in datasets:
        for category in data.categories:
            name = new.get(category.name, category.name)
            ids.setdefault(name, set()).add(category.id)
            first.setdefault(name, category)
    agreed = [min(own) for own in ids.values()]
    agree = all(len(own) == 1 for own in ids.values()) and len(set(agreed)) == len(agreed)
    return tuple(replace(first[name], id=agreed[k] if agree else k + 1, name=name) for k, name in enumerate(ids))


def _with_own_ids(samples: list[Sample]) -> list[Sample]:
    if len({sample.image_id for sample in samples}) < len(samples):
        samples = [sample.replace(image_id=number) for number, sample in enumerate(samples, start=1)]
    ids = np.concatenate([np.zeros(0, np.int64), *(sample.annotation_ids for sample in samples)])
    if len(np.unique(ids)) == len(ids):
        return samples
    ends = np.cumsum([len(sample.labels) for sample in samples])
    return [
        sample.replace(annotation_ids=np.arange(end - len(sample.labels), end, dtype=np.int64) + 1)
        for sample, end in zip(samples, ends.tolist())
    ]
