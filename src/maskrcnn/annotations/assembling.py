"""From what a format lists to samples: images measured, objects drawn and numbered, classes named, faults collected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from maskrcnn.annotations.faults import WITHOUT_END, Fault
from maskrcnn.annotations.finding import Found
from maskrcnn.annotations.objects import OBJECT, Annotations, TrueObject, make_sample
from maskrcnn.annotations.outlines import Rle, Size
from maskrcnn.annotations.place import ReadOptions
from maskrcnn.annotations.repeats import without_repeats
from maskrcnn.config.model import Category
from maskrcnn.geometry.rle import rle_area, rle_to_box
from maskrcnn.images.sizes import RepairedSize, measure_images


class Drawn(NamedTuple):
    """One object as a format gives it.

    Attributes:
        class_name: "" where nobody named it.
        rle: its mask in the image's own pixels.
        crowd: a region that says "some of these are here", of which nothing is learned.
        score: of an object that a model found; None of ground truth.
    """

    class_name: str
    rle: Rle
    crowd: bool = False
    score: float | None = None


class Report:
    """Collects the faults of one image and its annotations, and the places of objects that had to be left out."""

    def __init__(self, faults: list[Fault], image_id: int) -> None:
        self._faults = faults
        self._image_id = image_id
        self.annotation_id: int | None = None

    def __call__(self, kind: str, message: str, *, repaired: bool = False) -> None:
        self._faults.append(Fault(kind, message, self._image_id, self.annotation_id, repaired))

    def twice(self, thing: TrueObject, message: str) -> None:
        """An object that was drawn twice."""
        self._faults.append(Fault("object drawn twice", message, self._image_id, thing.annotation_id, repaired=True))


Draw = Callable[[Size, Report], Iterable[Drawn]]


@dataclass(frozen=True, eq=False)
class Entry:
    """One image as annotations list it.

    Attributes:
        file_name: as they write it.
        found: its file, or why there is none.
        draw: gives its objects, once its size (height, width) is known. What it raises as ValueError is a fault that leaves
            the whole image out; single objects that cannot be used are reported and passed over.
        trouble: what its faults are called where `draw` raises.
        image_id: the number that the annotations give it, where all images have one; else they are numbered from 1.
    """

    file_name: str
    found: Found
    draw: Draw
    image_id: int | None = None
    trouble: str = "broken annotations"


def assemble(
    entries: Sequence[Entry],
    options: ReadOptions,
    *,
    class_names: Sequence[str | Category] | None = None,
    faults: Iterable[Fault] = (),
) -> Annotations:
    """Samples of the entries whose images can be read. Images are numbered from 1, and annotations through all of them.

    Args:
        entries: the images, in the order of their numbers.
        class_names: the format's own list in its own order, with ids where it has some; None for one that has no list: then
            the names that are met, sorted.
        faults: what was found wrong before.
    """
    told = list(faults)
    sizes = iter(measure_images([entry.found.path for entry in entries if entry.found.path], decode=options.verify_images))
    classes = _Classes(class_names, options.classes)
    drawn: list[tuple[int, Entry, Size, list[TrueObject]]] = []
    next_id = 1
    for image_id, entry in zip(_image_ids(entries), entries):
        report = Report(told, image_id)
        if entry.found.path is None:
            kind = "file name outside of its folder" if entry.found.outside else "missing image"
            report(kind, entry.found.problem)
            continue
        size = next(sizes)
        if isinstance(size, ValueError):
            report("unreadable image", str(size))
            continue
        if isinstance(size, RepairedSize):
            report(WITHOUT_END, size.message, repaired=True)
        if entry.found.by_name:
            message = f"{entry.file_name!r} was found by its last part alone: {entry.found.path}"
            report("image found by name", message, repaired=True)
        objects: list[TrueObject] = []
        try:
            for thing in entry.draw(size, report):
                report.annotation_id = next_id
                next_id += 1
                objects += _make_object(thing, report, classes, options)
            report.annotation_id = None
        except ValueError as error:
            report.annotation_id = None
            report(entry.trouble, f"{error} (the whole image is left out)")
            continue
        drawn.append((image_id, entry, size, without_repeats(objects, report.twice)))
    new_labels, categories = classes.settle()
    told += classes.faults()
    samples = [
        make_sample(image_id, entry.file_name, entry.found.path, size, objects)  # type: ignore[arg-type]  # it was found
        for image_id, entry, size, objects in drawn
    ]
    return Annotations([sample.replace(labels=new_labels[sample.labels]) for sample in samples], categories, told)


def _make_object(thing: Drawn, report: Report, classes: _Classes, options: ReadOptions) -> list[TrueObject]:
    label = classes.label(thing.class_name)
    if label is None:
        return []
    area = rle_area(thing.rle)
    if not area:
        report("empty mask", "no pixel of the image is in its mask")
        return []
    crowd = thing.crowd and not options.crowds_are_objects
    assert report.annotation_id is not None
    return [TrueObject(rle_to_box(thing.rle), label, crowd, thing.rle, float(area), report.annotation_id, thing.score)]


def _image_ids(entries: Sequence[Entry]) -> list[int]:
    ids = [entry.image_id for entry in entries if entry.image_id is not None]
    return ids if len(set(ids)) == len(entries) else list(range(1, len(entries) + 1))


class _Classes:
    """The classes of a data set while it is read: labels in the order in which names are met, put in order at the end."""

    def __init__(self, listed: Sequence[str | Category] | None, wanted: Sequence[str] | None) -> None:
        self._ids = {entry.name: entry.id for entry in listed or () if isinstance(entry, Category)}
        names = None if listed is None else [entry.name if isinstance(entry, Category) else entry for entry in listed]
        self._order = wanted if wanted is not None else names
        self._is_choice = wanted is not None
        self._labels: dict[str, int] = {}
        self._unwanted: Counter[str] = Counter()

    def label(self, name: str) -> int | None:
        name = name.strip() or OBJECT.name
        if self._is_choice and self._order is not None and name not in self._order:
            self._unwanted[name] += 1
            return None
        return self._labels.setdefault(name, len(self._labels))

    def settle(self) -> tuple[np.ndarray, tuple[Category, ...]]:
        """For each label so far the one that it gets, (K,) int32, and the categories."""
        met = list(self._labels)
        order = sorted(met) if self._order is None else list(dict.fromkeys([*self._order, *met]))
        ids = self._ids if all(name in self._ids for name in order) else {name: k for k, name in enumerate(order, start=1)}
        categories = tuple(Category(ids[name], name) for name in order) or (OBJECT,)
        return np.array([order.index(name) for name in met], np.int32), categories

    def faults(self) -> list[Fault]:
        return [
            Fault("class not asked for", f"{count} objects of {name!r} are left out", repaired=True)
            for name, count in self._unwanted.items()
        ]
