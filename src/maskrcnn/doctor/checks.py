"""The checks of a data set: each takes data and gives findings. Pixels are known by their fingerprints alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from maskrcnn.annotations.repeats import twins
from maskrcnn.data.dataset import Dataset
from maskrcnn.data.imbalance import count_objects
from maskrcnn.data.merging import similar_names
from maskrcnn.doctor.findings import REPAIRED, Checkup, Finding, Where
from maskrcnn.doctor.fingerprints import Fingerprint
from maskrcnn.doctor.leaks import Prints, alike, joined, same
from maskrcnn.geometry.rle import rle_area

ON_TOP = 0.8  # IoU from where on two masks may be of one object; the readers join those of one class from 0.95 on
WHOLE_IMAGE = 0.95  # of an image: a mask of more may be the background
FEWEST_PIXELS = 4  # of an object that can be learned
LEFT_OUT = "left out"


def check(parts: Mapping[str, Dataset], prints: Mapping[str, Prints]) -> Checkup:
    """Looks at data sets that belong together.

    Args:
        parts: "train", and "val" where there is one.
        prints: of each part, see `take_fingerprints`.
    """
    found: list[Finding] = []
    for part, data in parts.items():
        found += from_faults(part, data)
        found += image_findings(part, data, prints[part])
        found += duplicates(part, data, prints[part])
        found += object_findings(part, data)
    if len(parts) == 2:
        found += leaks(parts, prints)
    found += class_findings(parts)
    for part, data in parts.items():
        found += varieties(part, data, prints[part])
    return Checkup(parts).with_findings(found)


def from_faults(part: str, data: Dataset) -> Iterator[Finding]:
    """What the reader of the annotations told: all that `train` would tell too."""
    places = {sample.image_id: place for place, sample in enumerate(data.samples)}
    for fault in data.faults:
        where: tuple[Where, ...] = ()
        if fault.image_id in places:
            place = places[fault.image_id]
            rows = np.flatnonzero(data.samples[place].annotation_ids == fault.annotation_id).tolist()
            where = (Where(part, place, tuple(rows)),)
        message = fault.message if where or not fault.place else f"{fault.place}: {fault.message}"
        yield Finding(fault.kind, "fault", message, where, REPAIRED if fault.repaired else LEFT_OUT)


def image_findings(part: str, data: Dataset, prints: Prints) -> Iterator[Finding]:
    """Images that cannot be read, have one color, or no object."""
    unread = 0
    for place, (sample, taken) in enumerate(zip(data.samples, prints, strict=True)):
        where = (Where(part, place),)
        if isinstance(taken, ValueError):
            yield Finding("unreadable image", "fault", str(taken), where, LEFT_OUT, where)
        elif taken is None:
            unread += 1
        elif taken.plain:
            count = int((~sample.crowd).sum())
            told = f"all pixels have one color; objects annotated in it: {count}"
            yield Finding("image of one color", "fault", told, where, LEFT_OUT, where)
        if not len(sample.labels):
            yield Finding("image without objects", "note", "nothing is annotated in it: it teaches what is no object", where)
    if unread:
        message = f"{unread} slides and images of 100 million pixels and more were not compared with others"
        yield Finding("not compared", "note", message)


def duplicates(part: str, data: Dataset, prints: Prints) -> Iterator[Finding]:
    """Images that a data set has twice, and sets of images that are nearly the same."""
    twice = same(prints)
    for places in twice:
        counts = [int((~data.samples[place].crowd).sum()) for place in places]
        kept = places[int(np.argmax(counts))]
        where = tuple(Where(part, place) for place in places)
        message = f"{len(places)} files have the same pixels, with {_listed(counts)} objects"
        remedy = f"{data.samples[kept].file_name} is kept, the others are left out"
        others = tuple(each for each in where if each.place != kept)
        yield Finding("same image twice", "fault", message, where, remedy, others)
    first_of = {place: places[0] for places in twice for place in places}
    groups: dict[int, list[int]] = {}
    for place, first in enumerate(joined(len(prints), alike(prints))):
        groups.setdefault(first, []).append(place)
    for places in groups.values():
        several = list(dict.fromkeys(first_of.get(place, place) for place in places))
        if len(several) > 1:
            where = tuple(Where(part, place) for place in several)
            message = f"{len(several)} images look nearly the same; they belong in one part of the data"
            yield Finding("nearly the same images", "warning", message, where)


def leaks(parts: Mapping[str, Dataset], prints: Mapping[str, Prints]) -> Iterator[Finding]:
    """Images to train on that are, nearly or quite, among those to validate: the score is then of what was learned by heart."""
    train, val = prints["train"], prints["val"]
    partners: dict[int, list[int]] = {}
    for place, other in alike(train, val):
        partners.setdefault(place, []).append(other)
    plain = {taken.digest: place for place, taken in enumerate(val) if isinstance(taken, Fingerprint) and taken.plain}
    for place, taken in enumerate(train):
        if isinstance(taken, Fingerprint) and taken.plain and taken.digest in plain:
            partners.setdefault(place, []).append(plain[taken.digest])
    for place, others in sorted(partners.items()):
        here = train[place]
        exact = [other for other in others if _digest(val[other]) == _digest(here)]
        where = (Where("train", place), *(Where("val", other) for other in (exact or others)))
        name = parts["val"].samples[(exact or others)[0]].file_name
        kind = "image in both parts" if exact else "nearly the same image in both parts"
        message = f"{'the same pixels as' if exact else 'looks like'} {name} of the validation data"
        yield Finding(kind, "fault", message, where, "left out of the data to train on", where[:1])


def object_findings(part: str, data: Dataset) -> Iterator[Finding]:
    """Objects that may be drawn twice, objects of the whole image, and those of hardly a pixel."""
    for place, sample in enumerate(data.samples):
        single = np.flatnonzero(~sample.crowd).tolist()
        names = [data.categories[label].name for label in sample.labels]
        for row in single:
            pixels = rle_area(sample.rles[row])
            where = (Where(part, place, (row,)),)
            if pixels >= WHOLE_IMAGE * sample.size[0] * sample.size[1]:
                message = (
                    f"a {names[row]} covers {pixels / (sample.size[0] * sample.size[1]):.0%} of the image: is it background?"
                )
                yield Finding("object of the whole image", "warning", message, where)
            if pixels < FEWEST_PIXELS:
                message = f"a {names[row]} of {pixels} pixel{'s' * (pixels != 1)}: too small to be learned"
                yield Finding("object of hardly a pixel", "warning", message, where)
        boxes = [sample.boxes[row].tolist() for row in single]
        for one, other, iou in twins([sample.rles[row] for row in single], boxes, _always, least=ON_TOP):
            rows = (single[one], single[other])
            alike_names = names[rows[0]] == names[rows[1]]
            kind = "object may be drawn twice" if alike_names else "two classes for one object"
            told = f"two objects of {names[rows[0]]}" if alike_names else f"{names[rows[0]]} and {names[rows[1]]}"
            yield Finding(kind, "warning", f"{told} overlap with IoU {iou:.2f}", (Where(part, place, rows),))


def class_findings(parts: Mapping[str, Dataset]) -> Iterator[Finding]:
    """Classes that only one part has, that none has, and names that may mean one class."""
    counts = {
        part: dict(zip((category.name for category in data.categories), count_objects(data).tolist()))
        for part, data in parts.items()
    }
    categories = {category.name: category for data in parts.values() for category in data.categories}
    empty = [name for name in categories if not any(own.get(name) for own in counts.values())]
    if empty:
        yield Finding("class without objects", "note", f"{len(empty)} of {len(categories)} classes: {_listed(empty)}")
    for name in categories:
        missing = [part for part, own in counts.items() if not own.get(name)]
        if len(missing) == 1 and len(parts) == 2:
            number = sum(own.get(name, 0) for own in counts.values())
            why = "it cannot be learned" if missing == ["train"] else "no score tells how well it is learned"
            yield Finding("class in one part only", "warning", f"{name}: {number} objects, none in {missing[0]}; {why}")
    for names in similar_names(tuple(categories.values())):
        message = f"{_listed(names)}: maskrcnn data merge --rename joins them"
        yield Finding("class names that may mean one", "warning", message)


def varieties(part: str, data: Dataset, prints: Prints) -> Iterator[Finding]:
    """Sizes, channels and depths of images, where they are not all the same."""
    kinds: dict[str, list[int]] = {}
    for place, taken in enumerate(prints):
        if isinstance(taken, Fingerprint):
            kinds.setdefault(f"{taken.channels} channel{'s' * (taken.channels > 1)} ({taken.depth})", []).append(place)
    if len(kinds) > 1:
        ordered = sorted(kinds.items(), key=lambda item: -len(item[1]))
        counted = ", ".join(f"{len(places)} with {kind}" for kind, places in ordered)
        where = tuple(Where(part, place) for _, places in ordered[1:] for place in places)
        yield Finding("channels vary", "note", f"images: {counted}; a model sees all with as many channels", where)
    sizes = Counter(sample.size for sample in data.samples)
    if len(sizes) > 1:
        ordered_sizes = sorted(sizes, key=lambda size: size[0] * size[1])
        (low, high), (common, count) = (ordered_sizes[0], ordered_sizes[-1]), sizes.most_common(1)[0]
        message = f"{len(sizes)} sizes, {_size(low)} to {_size(high)} pixels; {count} images have {_size(common)}"
        yield Finding("sizes vary", "note", message)


def repaired(checkup: Checkup) -> dict[str, Dataset]:
    """The data sets without the images that findings say to leave out; objects are as their readers repaired them."""
    gone = {(where.part, where.place) for finding in checkup.findings for where in finding.leave_out}
    return {
        part: Dataset(
            [sample for place, sample in enumerate(data.samples) if (part, place) not in gone], data.categories, name=data.name
        )
        for part, data in checkup.parts.items()
    }


def _always(one: int, other: int) -> bool:
    return True


def _digest(taken: Fingerprint | ValueError | None) -> bytes:
    return taken.digest if isinstance(taken, Fingerprint) else b""


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]}×{size[0]}"


def _listed(values: list[int] | list[str]) -> str:
    return ", ".join(map(str, values[:12])) + ", …" * (len(values) > 12)
