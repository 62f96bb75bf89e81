"""A data set: images with their truth, checked before anything is trained on it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.annotations.coco import read_coco
from maskrcnn.annotations.faults import Fault, summarize
from maskrcnn.annotations.label_maps import read_label_maps
from maskrcnn.annotations.objects import are_unnamed, read_json
from maskrcnn.annotations.via import is_via, read_via
from maskrcnn.config.model import Category
from maskrcnn.structures import Sample


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with their truth; `len(dataset)` is the number of images.

    Attributes:
        samples: one an image, images not read.
        categories: `categories[k]` is what label k means.
        faults: all that was repaired or left out.
        name: what the file or folder is called.
    """

    samples: list[Sample]
    categories: tuple[Category, ...]
    faults: list[Fault] = field(default_factory=list)
    name: str = ""

    def __len__(self) -> int:
        return len(self.samples)

    def summary(self) -> str:
        """How much there is, and the faults by kind with the first few of each: a few lines to print."""
        num_objects = sum(len(sample.labels) for sample in self.samples)
        num_crowds = sum(int(sample.crowd.sum()) for sample in self.samples)
        num_empty = sum(not len(sample.labels) for sample in self.samples)
        lines = [
            f"{self.name}: images {len(self)} ({num_empty} without objects), objects {num_objects} "
            f"({num_crowds} of them crowds), classes {len(self.categories)}"
        ]
        num_repaired = sum(fault.repaired for fault in self.faults)
        if self.faults:
            lines += [f"{len(self.faults)} faults, {num_repaired} of them repaired:", summarize(self.faults)]
        return "\n".join(lines)

    def check_trainable(self) -> None:
        """Refuses what nothing can be learnt from.

        Raises:
            ValueError: no image, or no object in any of them; with the faults that may be the reason.
        """
        if not any(len(sample.labels) for sample in self.samples):
            reasons = f":\n{summarize(self.faults)}" if self.faults else "."
            raise ValueError(f"{self.name or 'The data set'} holds no object to train on in {len(self)} images{reasons}")

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
        samples = [sample.replace(labels=new_labels[sample.labels]) for sample in self.samples]
        return replace(self, samples=samples, categories=tuple(categories))


def load_dataset(
    path: str | Path,
    *,
    images: str | Path | None = None,
    class_attribute: str | None = None,
    strict: bool = False,
    verify_images: bool = True,
) -> Dataset:
    """Reads a data set and finds its faults: `load_dataset("train.json").summary()` says what there is.

    What contradicts itself is repaired where that is safe and left out where it is not, and both are in `Dataset.faults`. The
    image of an object that was left out stays: where it is trained on, that object counts as background.

    Args:
        path: a COCO JSON; a JSON of the VGG Image Annotator (VIA 1 or 2, an export or a project); a folder with `images/` and
            `masks/` (label maps); or a folder with one of those JSONs. What a JSON is, its content says.
        images: folder of a JSON's images; by default beside it, see `read_coco`.
        class_attribute: the region attribute of a VIA file that holds the class, see `read_via`.
        strict: any fault is an error.
        verify_images: decode every image to find those that are cut off (a few milliseconds each).

    Raises:
        ValueError: for a path without a data set or without a usable image, and with `strict` for all faults at once.
    """
    path = Path(path)
    if images is not None and not Path(images).is_dir():
        raise ValueError(f"There is no folder {images} for the images.")
    if not path.exists():
        raise ValueError(f"There is no data set {path}; wanted is a COCO or VIA JSON, or a folder with images/ and masks/.")
    file = _annotation_file(path)
    content: Any = None if file is None else read_json(file)
    if class_attribute is not None and not is_via(content):
        raise ValueError(f"Only VIA files have region attributes; received class_attribute={class_attribute!r} for {path}.")
    if file is None:
        if images is not None:
            raise ValueError(f"A folder of label maps has its images in images/; received the folder {images} as well.")
        samples, categories, faults = read_label_maps(path, verify_images=verify_images)
    else:
        where: dict[str, Any] = {"images": None if images is None else Path(images), "verify_images": verify_images}
        if is_via(content):
            samples, categories, faults = read_via(content, file, class_attribute=class_attribute, **where)
        else:
            samples, categories, faults = read_coco(content, file, **where)
    if strict and faults:
        raise ValueError(f"{path} has {len(faults)} faults and was to have none:\n{summarize(faults, examples=len(faults))}")
    if not samples:
        reasons = f":\n{summarize(faults)}" if faults else "."
        raise ValueError(f"{path} has no usable image{reasons}")
    return Dataset(samples, categories, faults, name=path.name)


def open_dataset(data: Any) -> Any:
    """What a verb was given for its data: a path is read, with a warning where it has faults; all else stays as it is."""
    if not isinstance(data, (str, Path)):
        return data
    dataset = load_dataset(data)
    if dataset.faults:
        warnings.warn(dataset.summary(), stacklevel=3)
    return dataset


def _annotation_file(path: Path) -> Path | None:
    """The JSON that a path means: itself, or the folder's only one; None for folders of label maps and others without."""
    if not path.is_dir():
        return path
    if (path / "images").is_dir() and (path / "masks").is_dir():
        return None
    files = sorted(path.glob("*.json"))
    if len(files) > 1:
        raise ValueError(
            f"{path} holds several JSON files, {', '.join(file.name for file in files[:5])}; name the one to read."
        )
    return files[0] if files else None
