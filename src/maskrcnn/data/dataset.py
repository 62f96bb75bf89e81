"""A data set: images with their truth, checked before anything is trained on it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any, get_args

import numpy as np

from maskrcnn.annotations.faults import Fault, summarize
from maskrcnn.annotations.formats import read_annotations
from maskrcnn.annotations.objects import are_unnamed
from maskrcnn.annotations.place import SPLITS, MaskKind, ReadOptions
from maskrcnn.config.model import Category
from maskrcnn.data.arrays import samples_of_arrays
from maskrcnn.structures import Sample

CROWDS = "CVAT marks brush masks so; --crowds-are-objects (crowds_are_objects=True) reads them as objects"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with their ground truth; `len(dataset)` is the number of images.

    Attributes:
        samples: one per image, whose pixels are not read yet.
        categories: `categories[k]` is the class of label k.
        faults: all that was repaired or left out.
        name: of the file or folder.
    """

    samples: list[Sample]
    categories: tuple[Category, ...]
    faults: list[Fault] = field(default_factory=list)
    name: str = ""

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        num_objects = sum(len(sample.labels) for sample in self.samples)
        names = ", ".join(category.name for category in self.categories[:5]) + (", …" if len(self.categories) > 5 else "")
        faults = f", {len(self.faults)} faults" if self.faults else ""
        return f"Dataset({self.name or 'unnamed'}: {len(self)} images, {num_objects} objects of {names}{faults})"

    def _repr_html_(self) -> str:
        """The summary and the objects of each class, as a notebook shows them."""
        counts = np.zeros(len(self.categories), np.int64)
        for sample in self.samples:
            counts += np.bincount(sample.labels, minlength=len(counts))
        rows = "".join(f"<tr><td>{escape(c.name)}</td><td>{n}</td></tr>" for c, n in zip(self.categories, counts.tolist()))
        return f"<pre>{escape(self.summary())}</pre><table><tr><th>class</th><th>objects</th></tr>{rows}</table>"

    @classmethod
    def from_arrays(
        cls,
        images: Sequence[np.ndarray],
        masks: Sequence[np.ndarray],
        labels: Sequence[Sequence[str | int]] | None = None,
        *,
        classes: Sequence[str] | None = None,
        name: str = "arrays",
    ) -> Dataset:
        """Creates a data set from arrays in memory.

        Args:
            images: each (H, W) or (H, W, C) uint8; RGB where C is 3.
            masks: for each image (N, H, W), nonzero where an object is; or (H, W) whole numbers, 0 = background, k = an object.
            labels: for each image the classes of its objects, by name or by place in `classes`, in the order of the masks or
                of the numbers; None: all are of one class, "object".
            classes: names of all classes; by default those that occur, sorted.

        Raises:
            ValueError: for shapes that do not match, masks without pixels, and labels without a class.

        Example:
            data = Dataset.from_arrays(images, label_maps)
            maskrcnn.train(data=data, val=data, out="run")
        """
        samples, categories = samples_of_arrays(images, masks, labels, classes)
        return cls(samples, categories, name=name)

    def summary(self) -> str:
        """A few lines to print: counts, and the faults by kind with the first few of each."""
        num_objects = sum(len(sample.labels) for sample in self.samples)
        num_crowds = sum(int(sample.crowd.sum()) for sample in self.samples)
        num_empty = sum(not len(sample.labels) for sample in self.samples)
        lines = [
            f"{self.name}: images {len(self)} ({num_empty} without objects), objects {num_objects} "
            f"({num_crowds} of them crowds), classes {len(self.categories)}"
        ]
        num_repaired = sum(fault.repaired for fault in self.faults)
        if 2 * (num_crowds - self._num_left_out) > num_objects:
            lines.append(f"{num_crowds} of {num_objects} objects are crowd regions, of which nothing is learned: {CROWDS}")
        if self.faults:
            lines += [f"{len(self.faults)} faults, {num_repaired} of them repaired:", summarize(self.faults)]
        return "\n".join(lines)

    @property
    def has_objects(self) -> bool:
        """Whether there is an object to find; crowd regions do not count."""
        return any((~sample.crowd).any() for sample in self.samples)

    def check_trainable(self) -> None:
        """Refuses data from which nothing can be learned.

        Raises:
            ValueError: no image, or no object in any of them, or crowd regions alone; with the faults that may be the reason.
        """
        num_objects = sum(len(sample.labels) for sample in self.samples)
        num_crowds = sum(int(sample.crowd.sum()) for sample in self.samples)
        if num_objects > num_crowds:
            return
        hint = f"; {CROWDS}" if num_crowds > self._num_left_out else ""
        all_crowds = f": all {num_crowds} objects are crowd regions{hint}" if num_crowds else ""
        reasons = f":\n{summarize(self.faults)}" if self.faults else "."
        raise ValueError(
            f"{self.name or 'The data set'} holds no object to train on in {len(self)} images{all_crowds}{reasons}"
        )

    @property
    def _num_left_out(self) -> int:
        """How many crowd regions may stand in the place of objects that were left out: those nobody has marked so."""
        return sum(not fault.repaired and fault.annotation_id is not None for fault in self.faults)

    def with_categories(self, categories: Sequence[Category]) -> Dataset:
        """The same images with labels that count in other categories of the same names: those of a model, say.

        Objects that nobody named, as in label maps, belong to the class where there is just one.

        Raises:
            ValueError: for an object of a class that is not among them.
        """
        if are_unnamed(self.categories) and len(categories) == 1:
            return replace(self, categories=tuple(categories))
        names = [category.name for category in categories]
        used = {int(label) for sample in self.samples for label in np.unique(sample.labels)}
        strange = sorted(self.categories[label].name for label in used if self.categories[label].name not in names)
        if strange:
            raise ValueError(
                f"{self.name} has objects of {', '.join(map(repr, strange))}; possible classes: {', '.join(map(repr, names))}."
            )
        new_labels = np.array(
            [names.index(category.name) if category.name in names else -1 for category in self.categories], np.int32
        )
        samples = [sample.with_labels(new_labels) for sample in self.samples]
        return replace(self, samples=samples, categories=tuple(categories))


def load_dataset(
    path: str | Path,
    *,
    images: str | Path | None = None,
    format: str | None = None,
    masks: MaskKind | None = None,
    classes: Sequence[str] | None = None,
    class_attribute: str | None = None,
    split: str | None = None,
    crowds_are_objects: bool = False,
    strict: bool = False,
    verify_images: bool = True,
) -> Dataset:
    """Reads a data set and finds its faults: `load_dataset("train.json").summary()` describes it.

    Contradictions are repaired if that is safe and left out otherwise; `Dataset.faults` lists both. The region of an object
    that is left out becomes a crowd region if it is known, so that it does not count as background.

    Args:
        path: a file or folder of any format in docs/data.md: COCO, VIA, label maps, YOLO, LabelMe, Pascal VOC, CVAT and more.
            The format is recognized by content.
        images: folder of the images, if they are not beside the annotations.
        format: the format's name, if the path could be of several: "coco", "yolo", … (`maskrcnn.annotations.formats.FORMATS`).
        masks: what values of label maps are: "instances" (numbers of objects), "semantic" (numbers of classes, of which each
            separate piece is an object) or "binary" (zero and nonzero, pieces again).
        classes: names of the classes by their numbers, in formats that only number them; in others the classes to keep, in the
            order of their labels.
        class_attribute: the region attribute of a VIA file that contains the class.
        split: "train", "val" or "test", of data with several parts.
        crowds_are_objects: read crowd regions as single objects; CVAT marks brush masks as crowds.
        strict: any fault is an error.
        verify_images: decode every image to find truncated ones (a few milliseconds each).

    Raises:
        ValueError: for a path without a data set or without a usable image, and with `strict` for all faults at once.
    """
    path = Path(path)
    if images is not None and not Path(images).is_dir():
        raise ValueError(f"There is no folder {images} for the images.")
    if not path.exists():
        raise ValueError(f"There is no data set {path}; wanted is a file or folder of annotations, see docs/data.md.")
    if masks not in (None, *get_args(MaskKind)):
        raise ValueError(f"Masks hold {', '.join(get_args(MaskKind))}; received {masks!r}.")
    if split not in (None, *SPLITS):
        raise ValueError(f"Splits are {', '.join(SPLITS)}; received {split!r}.")
    options = ReadOptions(
        images=None if images is None else Path(images),
        masks=masks,
        classes=None if classes is None else tuple(classes),
        class_attribute=class_attribute,
        split=split,
        crowds_are_objects=crowds_are_objects,
        verify_images=verify_images,
    )
    samples, categories, faults = read_annotations(path, options, format_name=format)
    if strict and faults:
        raise ValueError(f"{path} has {len(faults)} faults and was to have none:\n{summarize(faults, examples=len(faults))}")
    if not samples:
        reasons = f":\n{summarize(faults)}" if faults else "."
        raise ValueError(f"{path} has no usable image{reasons}")
    return Dataset(samples, categories, faults, name=path.name or path.resolve().name)


def open_dataset(data: Any) -> Any:
    """What a verb was given for its data: a path is read, with a warning where it has faults; all else stays as it is."""
    if not isinstance(data, (str, Path)):
        return data
    dataset = load_dataset(data)
    if dataset.faults:
        warnings.warn(dataset.summary(), stacklevel=3)
    return dataset
