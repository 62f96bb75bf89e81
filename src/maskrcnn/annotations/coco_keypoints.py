"""Keypoints of COCO's JSON: names and skeleton of the categories, x, y and visibility of the annotations."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.numbers import are_numbers
from maskrcnn.annotations.objects import Annotations
from maskrcnn.config.keypoints import MOST_KEYPOINTS, mirror_of
from maskrcnn.config.model import Category
from maskrcnn.geometry.keypoints import POSITION_OF_PIXEL, as_coco
from maskrcnn.structures import Sample


class KeypointColumn:
    """The keypoints of annotations, taken part by part as the file is read, by the annotations' ids."""

    def __init__(self) -> None:
        self._flat: dict[int, np.ndarray] = {}  # x1, y1, v1, x2, …
        self._faults: list[Fault] = []

    def add(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """The keypoints of annotations whose ids are whole numbers, each its own."""
        for entry in entries:
            values = entry.get("keypoints")
            if not values:
                continue
            number = entry["id"]
            if not isinstance(values, list) or len(values) % 3 or len(values) > 3 * MOST_KEYPOINTS or not are_numbers(values):
                self._report(number, f"keypoints are a list of x, y, v for each; received {reprlib.repr(values)}")
            elif not all(value in (0, 1, 2) for value in values[2::3]):
                self._report(number, f"visibility is 0, 1 or 2; received {reprlib.repr(values[2::3])}")
            else:
                self._flat[number] = np.array(values, np.float32)

    def _report(self, number: int, message: str) -> None:
        self._faults.append(
            Fault("broken keypoints", f"{message}; the object is used without them", None, number, repaired=True)
        )

    def joined(self, read: Annotations, entries: Sequence[Any]) -> Annotations:
        """The annotations with their keypoints.

        Args:
            read: all else of the file.
            entries: the file's categories, as the JSON lists them.
        """
        categories, faults = _with_names(read.categories, entries)
        names = next((category.keypoints for category in categories if category.keypoints), ())
        if not names:
            return Annotations(read.samples, categories, read.faults + faults)
        samples = [self._with_keypoints(sample, names) for sample in read.samples]
        return Annotations(samples, categories, read.faults + faults + self._faults)

    def _with_keypoints(self, sample: Sample, names: tuple[str, ...]) -> Sample:
        keypoints = np.zeros((len(sample.labels), len(names), 3), np.float32)
        for row, number in enumerate(sample.annotation_ids.tolist()):
            flat = self._flat.get(number)
            if flat is None:
                continue
            if len(flat) != 3 * len(names):
                self._report(number, f"{len(flat) // 3} keypoints, where the class has {len(names)}")
                continue
            own = flat.reshape(-1, 3)
            keypoints[row] = np.where(own[:, 2:] > 0, own + np.array([POSITION_OF_PIXEL, POSITION_OF_PIXEL, 0], np.float32), 0)
        return sample.replace(keypoints=keypoints, mirror=mirror_of(names))


def _with_names(categories: Sequence[Category], entries: Sequence[Any]) -> tuple[tuple[Category, ...], list[Fault]]:
    """The categories with names and skeleton of their keypoints; of lists that differ from the first none is read."""
    given = {
        entry["name"]: entry for entry in reversed(entries) if isinstance(entry, dict) and isinstance(entry.get("name"), str)
    }
    named: list[Category] = []
    faults: list[Fault] = []
    first: Category | None = None
    for category in categories:
        entry = given.get(category.name, {})
        names, skeleton = entry.get("keypoints"), entry.get("skeleton")
        if isinstance(names, list) and names:
            try:
                category = replace(category, keypoints=tuple(names), skeleton=_from_one(skeleton))
            except (TypeError, ValueError) as error:
                faults.append(Fault("broken keypoints", f"category {category.id}: {error}", repaired=True))
            if category.keypoints and first is not None and category.keypoints != first.keypoints:
                message = f"{category.name!r} names other keypoints than {first.name!r}; one list is read"
                faults.append(Fault("keypoints of several kinds", message, repaired=True))
                category = replace(category, keypoints=(), skeleton=())
            first = first or (category if category.keypoints else None)
        named.append(category)
    return tuple(named), faults


def _from_one(skeleton: Any) -> tuple[tuple[int, ...], ...]:
    """COCO's pairs, which count from 1, as places from 0."""
    return tuple(tuple(place - 1 for place in pair) for pair in skeleton) if isinstance(skeleton, list) else ()


def category_entry(category: Category) -> dict[str, Any]:
    """What a COCO file says of a class's keypoints; nothing where it has none."""
    if not category.keypoints:
        return {}
    return {"keypoints": list(category.keypoints), "skeleton": [[place + 1 for place in pair] for pair in category.skeleton]}


def annotation_entry(keypoints: np.ndarray) -> dict[str, Any]:
    """What a COCO file says of one object's keypoints (K, 3)."""
    marked = keypoints[:, 2:] > 0
    flat = np.where(np.repeat(marked, 3, axis=1).ravel(), as_coco(keypoints), 0.0)
    return {"keypoints": flat.tolist(), "num_keypoints": int(marked.sum())}
