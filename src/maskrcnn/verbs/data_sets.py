"""A data set written anew: in parts, joined with others, or less of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from maskrcnn.annotations import yolo
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.formats import check_writable, write_annotations
from maskrcnn.annotations.writing import ImagesTo
from maskrcnn.atomic import new_folder
from maskrcnn.data.dataset import Dataset, open_dataset
from maskrcnn.data.imbalance import count_objects
from maskrcnn.data.merging import merge, similar_names
from maskrcnn.data.selection import Selection, choose_images, select
from maskrcnn.data.split import named_groups, split
from maskrcnn.doctor.fingerprints import take_fingerprints
from maskrcnn.doctor.leaks import alike, joined


class Written(NamedTuple):
    """Data sets that were written.

    Attributes:
        parts: by the names of their folders; "" is the folder itself.
        notes: what there is to know, each in a line.
        lost: what the format cannot say.
    """

    parts: dict[str, Dataset]
    notes: list[str]
    lost: list[Fault]

    def summary(self) -> str:
        """A few lines to print."""
        there = set().union(*(_met(data) for data in self.parts.values()))
        counts = []
        for name, data in self.parts.items():
            told = _without(there - _met(data))
            counts.append(f"{name or 'all'}: {len(data)} images, {int(count_objects(data).sum())} objects{told}")
        return "\n".join([*counts, *self.notes, *(f"not written: {fault.message}" for fault in self.lost)])


def split_data(
    data: str | Path | Dataset,
    out: str | Path,
    *,
    val: float = 0.2,
    test: float = 0.0,
    seed: int = 0,
    group_by: str | None = None,
    keep_alike: bool = True,
    to: str = "coco",
    images: ImagesTo = "copy",
    progress: Callable[[], None] = lambda: None,
) -> Written:
    """Writes a data set in parts, `train` and `val` and, where asked for, `test`, each class shared out evenly.

    Images that are nearly the same stay in one part, else the score on the other part would be that of images learned by heart.

    Args:
        data, to, images: as for `verbs.data.convert_data`.
        out: a folder that is not there or empty, for a folder for each part.
        val, test: fractions of the images; 0 for no test part.
        seed: same seed, same parts.
        group_by: what else stays together: "folder", or a regular expression for file names, see `data.split.named_groups`.
        keep_alike: look at all images, and keep together those that are nearly the same.
        progress: called after each image that was looked at.

    Returns:
        The parts, with what was kept together in its notes.

    Raises:
        ValueError: as `convert_data`, for fractions that are none, and where all is one group.
    """
    check_writable(to)
    if val <= 0.0 or test < 0.0 or not val + test < 1.0:
        raise ValueError(f"val and test are fractions that leave something to train on; received {val} and {test}.")
    with new_folder(Path(out)) as folder:
        whole: Dataset = open_dataset(data)
        notes: list[str] = []
        names = None if group_by is None else named_groups(whole.samples, group_by)
        if names is not None:
            sizes = Counter(name for name in names if name is not None)
            alone = sum(name is None for name in names)
            others = f"; {alone} images match no group and go by themselves" if alone else ""
            notes.append(
                f"{len(sizes)} groups by {group_by} stay together, the largest of {max(sizes.values())} images{others}."
            )
        pairs = list(alike(list(take_fingerprints(whole.samples, progress=progress)))) if keep_alike else []
        if pairs:
            inside = Counter(joined(len(whole), pairs))
            sets = [size for size in inside.values() if size > 1]
            notes.append(f"{sum(sets)} images that are nearly the same, in {len(sets)} sets, stay together.")
        group = joined(len(whole), pairs, names)
        parts = _parts(whole, group, val, test, seed)
        largest = max(Counter(group).values())
        if largest > max(1, min(part for part in (val, test) if part) * len(whole)):
            notes.append(
                f"The largest group has {largest} of {len(whole)} images: the parts cannot have quite the sizes asked for."
            )
        return Written(parts, notes, _write_parts(parts, to, folder, images))


def merge_data(
    data: Sequence[str | Path | Dataset],
    out: str | Path,
    *,
    rename: Mapping[str, str] | None = None,
    to: str = "coco",
    images: ImagesTo = "copy",
) -> Written:
    """Writes several data sets as one. Classes of the same name are one class.

    Args:
        data: paths or data sets.
        rename: old class names to new ones; to the same new one joins them.
        out, to, images: as for `verbs.data.convert_data`.

    Raises:
        ValueError: as `convert_data`, and for an old name that is no class.
    """
    check_writable(to)
    with new_folder(Path(out)) as folder:
        whole = merge([open_dataset(one) for one in data], rename)
        notes = [
            f"Classes that may be one: {', '.join(names)}; joined by renaming one to the other."
            for names in similar_names(whole.categories)
        ]
        return Written({"": whole}, notes, write_annotations(whole, to, folder, images=images))


def select_data(
    data: str | Path | Dataset,
    out: str | Path,
    selection: Selection,
    *,
    to: str = "coco",
    images: ImagesTo = "copy",
) -> Written:
    """Writes a part of a data set: some classes, some sizes, some images.

    Args:
        selection: what is kept.
        data, out, to, images: as for `verbs.data.convert_data`.

    Raises:
        ValueError: as `convert_data`, for a class that is not there, and where nothing is left.
    """
    check_writable(to)
    with new_folder(Path(out)) as folder:
        part = select(open_dataset(data), selection)
        empty = {category.name for category in part.categories} - _met(part)
        notes = (
            [f"{len(part.categories) - len(empty)} of {len(part.categories)} classes have objects{_without(empty)}."]
            if empty
            else []
        )
        return Written({"": part}, notes, write_annotations(part, to, folder, images=images))


def sample_data(
    data: str | Path | Dataset,
    out: str | Path,
    *,
    count: int = 20,
    seed: int = 0,
    to: str = "coco",
    images: ImagesTo = "copy",
) -> Written:
    """Writes a small copy to try things on: so many images, with every class on one of them where that is possible.

    Args:
        count: of images.
        seed: same seed, same images.
        data, out, to, images: as for `verbs.data.convert_data`.

    Raises:
        ValueError: as `convert_data`.
    """
    check_writable(to)
    with new_folder(Path(out)) as folder:
        whole: Dataset = open_dataset(data)
        part = choose_images(whole, count, seed)
        lost = _met(whole) - _met(part)
        notes = [f"{len(part)} images are too few for all classes{_without(lost)}."] if lost else []
        return Written({"": part}, notes, write_annotations(part, to, folder, images=images))


def _parts(whole: Dataset, group: Sequence[int], val: float, test: float, seed: int) -> dict[str, Dataset]:
    places = {id(sample): group[place] for place, sample in enumerate(whole.samples)}
    rest, parts = whole, dict[str, Dataset]()
    for name, fraction in (("test", test), ("val", val / (1.0 - test))):
        if fraction:
            rest, parts[name] = split(rest, fraction, seed, group_of=lambda sample: places[id(sample)])
    named = {"train": rest, "val": parts["val"], **parts}
    return {name: replace(part, name=f"{whole.name} {name}") for name, part in named.items()}


def _write_parts(parts: Mapping[str, Dataset], to: str, folder: Path, images: ImagesTo) -> list[Fault]:
    lost = [fault for name, part in parts.items() for fault in write_annotations(part, to, folder / name, images=images)]
    if to == yolo.NAME:
        yolo.write_parts(folder, parts)
    return lost


def _met(data: Dataset) -> set[str]:
    """Names of the classes that have objects."""
    return {category.name for category, count in zip(data.categories, count_objects(data).tolist()) if count}


def _without(names: Collection[str]) -> str:
    listed = sorted(names)
    return f"; without any {', '.join(listed[:8])}{', …' * (len(listed) > 8)}" if listed else ""
