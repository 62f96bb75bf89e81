"""COCO's JSON for object detection, https://cocodataset.org/#format-data; LVIS too; and what tools make of it.

CVAT, Label Studio, Roboflow, FiftyOne, VIA, labelme2coco, pandas and MATLAB write ids as text or with a point, sizes of -1,
flat polygons, names with backslashes. What is meant without doubt is read, and each such repair is a `Fault`.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from maskrcnn.annotations.coco_columns import Columns, ImagePlace, UnusualError
from maskrcnn.annotations.coco_images import (
    Image,
    ImageList,
    Located,
    group_annotations,
    locate_images,
    read_images,
    usable_images,
)
from maskrcnn.annotations.coco_keypoints import KeypointColumn
from maskrcnn.annotations.coco_objects import ObjectReader
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.finding import image_folders
from maskrcnn.annotations.json_parts import read_parts
from maskrcnn.annotations.lvis_marks import ClassMarks
from maskrcnn.annotations.numbers import as_id
from maskrcnn.annotations.objects import Annotations, TrueObject, make_sample
from maskrcnn.annotations.place import Place, ReadOptions, read_json
from maskrcnn.annotations.repeats import images_with_twins, without_repeats
from maskrcnn.config.model import Category
from maskrcnn.structures import Sample

NAME = "coco"
TITLE = "COCO JSON (images, annotations, categories)"
WANTED = ("images", "annotations", "categories")
BACKGROUND = {"_background_", "background", "__background__", "__ignore__", "_ignore_", "ignore", "bg"}


def recognise(place: Place) -> bool:
    """A JSON with lists of images, annotations and categories, whose annotations are no segments.

    In a large file the categories may come too late to be waited for; without them it is refused when it is read.
    """
    if place.suffix != ".json" or not place.head.lstrip().startswith("{"):
        return False
    content = place.sketch
    wanted = WANTED[:2] if place.is_large_object else WANTED
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in wanted):
        return False
    return not any(isinstance(entry, dict) and "segments_info" in entry for entry in content["annotations"][:3])


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every usable image of a COCO file with its usable objects, and all that was wrong with the rest; see `read_coco`."""
    if place.is_large_object:
        return _read_parts(partial(read_parts, place.path), place.path, options, lambda: read_json(place.path))
    return read_coco(place.json, place.path, options)


def read_coco(content: Any, path: Path, options: ReadOptions | None = None) -> Annotations:
    """Every usable image of a COCO file with its usable objects, and all that was wrong with the rest.

    Boxes are the annotated ones; where they are missing, without area, outside of the image or contradict the mask, they
    are measured on the mask. Areas are the annotated ones, else the mask's. The place of an object that cannot be used is
    kept as a crowd region, so that training does not take it for background.

    Args:
        content: what the JSON holds.
        path: where the JSON lies; images are looked for beside it, see `image_folders`.
        options: how it is to be read.

    Raises:
        ValueError: for a file that is not COCO's JSON as a whole.
    """
    _check_whole(content, path)
    return _read_parts(lambda: iter(content.items()), path, options or ReadOptions(), lambda: content)


def _read_parts(
    parts: Callable[[], Iterable[tuple[str, Any]]], path: Path, options: ReadOptions, whole: Callable[[], Any]
) -> Annotations:
    """Reads the file in columns, part by part; or the slower way, all of it, where its ids are not as they should be.

    Args:
        parts: goes through the file: its keys, and their values or parts of those.
        whole: what the file holds.
    """
    with _garbage_collection(on=False):
        try:
            return _read_in_columns(parts, path, options)
        except UnusualError:
            return _read_one_by_one(whole(), path, options)


def _read_in_columns(parts: Callable[[], Iterable[tuple[str, Any]]], path: Path, options: ReadOptions) -> Annotations:
    """Draws annotations as they come, so that few are held as JSON has them; twice through a file whose images come last."""
    found: dict[str, list[Any]] = {}
    table: _Table | None = None
    is_late = False
    for key, value in parts():
        if key not in WANTED or not isinstance(value, list):
            continue
        if key != "annotations":
            found.setdefault(key, []).extend(value)
            continue
        found[key] = []
        if table is None and "images" in found:
            table = _Table(found.pop("images"), path, options)
        if table is not None:
            table.add(value)
        is_late |= table is None
    if table is None:
        _check_whole(found, path)
        table = _Table(found["images"], path, options)
        for key, value in parts() if is_late else ():
            if key == "annotations":
                table.add(value)
    _check_whole({**found, "images": []}, path)
    return table.annotations(found["categories"])


class _Table:
    """What is known of a file once its images are: where each annotation belongs.

    Args:
        images: as the JSON lists them.
        path: of the JSON.
        options: how it is to be read.
    """

    def __init__(self, images: list[Any], path: Path, options: ReadOptions) -> None:
        self._path, self._options = path, options
        self._listed = read_images(images)
        self._marks = ClassMarks(images, self._listed.number)
        self._located = _locate(self._listed, path, options)
        places: dict[int, ImagePlace | None] = dict.fromkeys(self._listed.entries)
        for row, image in enumerate(usable_images(self._listed, self._located)[0]):
            if image.listed_size in (None, image.size):
                places |= {number: ImagePlace(row, image.size, k) for k, number in enumerate(image.ids)}
        self.columns = Columns(places)
        self.keypoints = KeypointColumn()

    def add(self, entries: list[Any]) -> None:
        """The next annotations of the file."""
        self.columns.add(entries)
        self.keypoints.add(entries)

    def annotations(self, categories: list[Any]) -> Annotations:
        """Everything, once all annotations are in the columns.

        Raises:
            UnusualError: for ids that come twice.
        """
        self.columns.check_ids()
        counts = self.columns.counts()
        options = self._options
        labels, classes, faults = _read_categories(categories, self._path, self.columns.used_categories, options.classes)
        images, image_faults = usable_images(self._listed, self._located, lambda number: counts.get(number, 0))
        faults += self._listed.faults + image_faults + self.columns.strangers + self._marks.faults()
        objects, told = self.columns.objects(images, labels, crowds_are_objects=options.crowds_are_objects)
        told_of: dict[int, list[Fault]] = defaultdict(list)
        for row, theirs in told:
            told_of[row] += theirs
        alike = images_with_twins(objects)
        samples = []
        for row, image in enumerate(images):
            if image.listed_size != image.size:
                fault = _size_fault(image, sum(counts.get(number, 0) for number in image.ids))
                faults.append(fault)
                if not fault.repaired:
                    continue
            faults += told_of.get(row, ())
            sample = objects.sample(row, image)
            if alike[row]:
                sample = _without_twins(sample, image, faults)
            samples.append(sample)
        return self.keypoints.joined(Annotations(self._marks.joined(samples, labels), classes, faults), categories)


def _without_twins(sample: Sample, image: Image, faults: list[Fault]) -> Sample:
    things = [
        TrueObject(*values)
        for values in zip(
            sample.boxes,
            sample.labels.tolist(),
            sample.crowd.tolist(),
            sample.rles,
            sample.areas.tolist(),
            sample.annotation_ids.tolist(),
            strict=True,
        )
    ]
    kept = without_repeats(things, _twice(image, faults))
    return sample if len(kept) == len(things) else make_sample(image.ids[0], image.file_name, image.path, image.size, kept)


def _read_one_by_one(content: Any, path: Path, options: ReadOptions) -> Annotations:
    """As `_read_in_columns`, of a file with ids that are text, have a point, are missing or come twice."""
    listed = read_images(content["images"])
    marks = ClassMarks(content["images"], listed.number)
    annotations, annotation_faults = group_annotations(content["annotations"], listed)
    used = {entry["category_id"] for own in annotations.values() for entry in own}
    labels, categories, faults = _read_categories(content["categories"], path, used, options.classes)
    located = _locate(listed, path, options)
    images, image_faults = usable_images(listed, located, lambda number: len(annotations.get(number, ())))
    faults += listed.faults + image_faults + annotation_faults + marks.faults()
    reader = ObjectReader(labels, faults, crowds_are_objects=options.crowds_are_objects)
    samples, keypoints = [], KeypointColumn()
    for image in images:
        own = [entry for number in image.ids for entry in annotations.get(number, [])]
        if image.listed_size != image.size:
            fault = _size_fault(image, len(own))
            faults.append(fault)
            if not fault.repaired:
                continue
        keypoints.add(own)
        objects = without_repeats([thing for entry in own for thing in reader.read(entry, image.size)], _twice(image, faults))
        samples.append(make_sample(image.ids[0], image.file_name, image.path, image.size, objects))
    return keypoints.joined(Annotations(marks.joined(samples, labels), categories, faults), content["categories"])


def _locate(listed: ImageList, path: Path, options: ReadOptions) -> Located:
    with _garbage_collection(on=True):  # decoders may leave circles behind, with whole images in them
        return locate_images(listed, image_folders(path, options.images), options.verify_images)


@contextmanager
def _garbage_collection(*, on: bool) -> Iterator[None]:
    """Python's search for circles: among millions of objects it takes a third of the time, and annotations have none."""
    was_on = gc.isenabled()
    (gc.enable if on else gc.disable)()
    try:
        yield
    finally:
        (gc.enable if was_on else gc.disable)()


def _twice(image: Image, faults: list[Fault]) -> Any:
    def report(thing: TrueObject, message: str) -> None:
        faults.append(Fault("object drawn twice", message, image.ids[0], thing.annotation_id, repaired=True))

    return report


def _check_whole(content: Any, path: Path) -> None:
    missing = [key for key in WANTED if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if missing:
        raise ValueError(f"{path} is no COCO file: it needs lists named {', '.join(WANTED)}; missing: {', '.join(missing)}.")


def _read_categories(
    entries: list[Any], path: Path, used: set[Any], wanted: Sequence[str] | None
) -> tuple[dict[int, int], tuple[Category, ...], list[Fault]]:
    """Label of each category id, the categories by label, and faults: a name that comes twice is one class.

    Classes that are none are left out: those without objects that are only what others belong to, and the background.
    A category that was not asked for has the label -1.
    """
    faults: list[Fault] = []
    names: dict[int, str] = {}
    for entry in entries:
        number = as_id(entry.get("id")) if isinstance(entry, dict) else None
        if number is None or not isinstance(entry.get("name"), str):
            raise ValueError(f"{path} is no COCO file: a category has a whole number as id and a name; received {entry!r}.")
        if names.setdefault(number, entry["name"]) != entry["name"]:
            raise ValueError(f"{path} gives category id {number} to both {names[number]!r} and {entry['name']!r}.")
    if not names:
        raise ValueError(f"{path} has no categories; wanted is at least one class.")
    for number, why in _no_classes(entries, names, used).items():
        faults.append(Fault("class without objects", f"category {number}, {names[number]!r}, {why}", repaired=True))
        del names[number]
    labels: dict[int, int] = {}
    categories: list[Category] = []
    label_of: dict[str, int] = {}
    for number, name in names.items():
        if name in label_of:
            message = f"category {number} repeats the name {name!r}; both are one class"
            faults.append(Fault("duplicate category", message, repaired=True))
        else:
            label_of[name] = len(categories)
            categories.append(Category(number, name))
        labels[number] = label_of[name]
    return (labels, tuple(categories), faults) if wanted is None else _chosen(labels, categories, faults, wanted, path)


def _chosen(
    labels: dict[int, int], categories: list[Category], faults: list[Fault], wanted: Sequence[str], path: Path
) -> tuple[dict[int, int], tuple[Category, ...], list[Fault]]:
    by_name = {category.name: category for category in categories}
    strange = [name for name in wanted if name not in by_name]
    if strange:
        known = ", ".join(map(repr, by_name))
        raise ValueError(f"{path} has no class {', '.join(map(repr, strange))}; its classes are {known}.")
    label_of = {name: label for label, name in reversed(list(enumerate(wanted)))}  # the first, where one comes twice
    chosen = {number: label_of.get(categories[label].name, -1) for number, label in labels.items()}
    return chosen, tuple(by_name[name] for name in wanted), faults


def _no_classes(entries: Iterable[Any], names: dict[int, str], used: set[Any]) -> dict[int, str]:
    """Categories without objects that are no classes, and why."""
    unused = {number: name for number, name in names.items() if number not in used}
    above = {entry.get("supercategory") for entry in entries if entry.get("supercategory") != entry["name"]}
    none = {number: "is only what others belong to" for number, name in unused.items() if name in above}
    none |= {number: "is the background" for number, name in unused.items() if name.lower() in BACKGROUND}
    return none if len(none) < len(names) else {}


def _size_fault(image: Image, num_annotations: int) -> Fault:
    """A size that is missing, or contradicts the file, which matters where something is drawn on the image."""
    height, width = image.size
    if image.listed_size is None:
        message = f"{image.file_name} has no height and width in the JSON; the file has {height}×{width}"
        return Fault("missing size", message, image.ids[0], repaired=True)
    told = "the JSON says height × width {}×{}".format(*image.listed_size)
    message = f"{told}, the file {image.file_name} has {height}×{width}"
    if num_annotations:
        message += f"; nobody knows where its {num_annotations} annotations belong"
        if image.listed_size == (width, height):
            message += " (height and width are swapped: was it annotated without its EXIF rotation?)"
    return Fault("wrong size", message, image.ids[0], repaired=not num_annotations)


__all__ = ["NAME", "TITLE", "ImageList", "read", "read_coco", "recognise"]
