"""Samples made of arrays in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maskrcnn.annotations.objects import OBJECT, TrueObject, make_sample
from maskrcnn.config.model import Category
from maskrcnn.geometry.masks import mask_to_box
from maskrcnn.geometry.rle import mask_to_rle
from maskrcnn.structures import Sample


def samples_of_arrays(
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    labels: Sequence[Sequence[str | int]] | None,
    classes: Sequence[str] | None,
) -> tuple[list[Sample], tuple[Category, ...]]:
    """Samples that bring their images along, and their categories; see `Dataset.from_arrays`."""
    if len(images) != len(masks) or (labels is not None and len(labels) != len(images)):
        told = f"{len(images)} images, {len(masks)} masks" + ("" if labels is None else f", {len(labels)} lists of labels")
        raise ValueError(f"Each image has its masks and its labels; received {told}.")
    names = _class_names(labels, classes)
    samples = []
    next_id = 1
    for number, (image, given) in enumerate(zip(images, masks), start=1):
        image = _as_image(np.asarray(image), number)
        own = _as_masks(np.asarray(given), image.shape[:2], number)
        kinds = [0] * len(own) if labels is None else [_label(value, names, number) for value in labels[number - 1]]
        if len(kinds) != len(own):
            raise ValueError(f"Each object has a label; image {number} has {len(own)} objects and {len(kinds)} labels.")
        objects = [
            TrueObject(mask_to_box(mask), kind, False, mask_to_rle(mask), float(mask.sum()), next_id + place)
            for place, (mask, kind) in enumerate(zip(own, kinds))
        ]
        next_id += len(objects)
        sample = make_sample(number, f"{number}.png", Path(), image.shape[:2], objects)
        samples.append(sample.replace(path="", image=image))
    return samples, tuple(Category(number, name) for number, name in enumerate(names, start=1))


def _class_names(labels: Sequence[Sequence[str | int]] | None, classes: Sequence[str] | None) -> list[str]:
    if classes is not None:
        return list(classes)
    met = {value for own in labels or () for value in own}
    if any(not isinstance(value, str) for value in met):
        raise ValueError("Labels are names, or places in `classes`, which are to be given then; received numbers alone.")
    return sorted(map(str, met)) or [OBJECT.name]


def _label(value: str | int, names: list[str], number: int) -> int:
    if isinstance(value, str) and value in names:
        return names.index(value)
    if not isinstance(value, str) and 0 <= int(value) < len(names):
        return int(value)
    raise ValueError(f"Image {number} has the label {value!r}; classes are {', '.join(names)}.")


def _as_image(image: np.ndarray, number: int) -> np.ndarray:
    """(H, W, C) uint8."""
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    if image.ndim != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"An image is (H, W) or (H, W, C) uint8; received {image.dtype} {image.shape} for image {number}.")
    return image


def _as_masks(given: np.ndarray, size: tuple[int, int], number: int) -> list[np.ndarray]:
    """The masks of one image, each (H, W) bool with pixels."""
    if given.ndim not in (2, 3) or given.shape[-2:] != size:
        wanted = f"(N, {size[0]}, {size[1]}) or ({size[0]}, {size[1]})"
        raise ValueError(f"Masks are {wanted}, as image {number} is; received {given.shape}.")
    if given.ndim == 3:
        masks = [mask != 0 for mask in given]
    else:
        if given.dtype.kind not in "ui":
            raise ValueError(f"A label map holds whole numbers, 0 = background; received {given.dtype} for image {number}.")
        masks = [given == value for value in np.unique(given) if value]
    without = [place for place, mask in enumerate(masks) if not mask.any()]
    if without:
        raise ValueError(f"Each mask has pixels; those of image {number} at {without[:5]} have none.")
    return masks
