"""One small scene as annotation tools would draw it, for the tests of every format: a box, a ring with a hole, two parts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from small_data import write_image

from maskrcnn.data.dataset import Dataset
from maskrcnn.geometry.rle import rle_to_mask

SIZE = (40, 60)  # height, width
CAT = [[4, 5], [20, 5], [20, 15], [4, 15]]  # corners x, y along the pixels' edges
TREE = [[30, 4], [50, 4], [50, 24], [30, 24]]
TREE_HOLE = [[36, 10], [44, 10], [44, 18], [36, 18]]
DOG = [[[5, 25], [15, 25], [15, 35], [5, 35]], [[22, 28], [28, 28], [28, 36], [22, 36]]]


def filled(*corners: list[list[int]]) -> np.ndarray:
    """(H, W) bool of boxes given by their corners."""
    mask = np.zeros(SIZE, bool)
    for (left, top), _, (right, bottom), _ in corners:
        mask[top:bottom, left:right] = True
    return mask


MASKS = {"cat": filled(CAT), "tree": filled(TREE) & ~filled(TREE_HOLE), "dog": filled(*DOG)}


def numbers(order: tuple[str, ...] = ("cat", "tree", "dog")) -> np.ndarray:
    """(H, W) uint16 label map: k for the k-th of these objects."""
    return sum((MASKS[name] * np.uint16(k) for k, name in enumerate(order, start=1)), np.zeros(SIZE, np.uint16))


def write_images(folder: Path, *names: str) -> None:
    for name in names:
        write_image(folder / name, SIZE)


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def found(data: Dataset, image: int = 0) -> dict[str, np.ndarray]:
    """Masks of one image's single objects by the names of their classes; objects of one class side by side: name, name 2, …"""
    sample = data.samples[image]
    masks: dict[str, np.ndarray] = {}
    counts: Counter[str] = Counter()
    for label, rle, crowd in zip(sample.labels, sample.rles, sample.crowd, strict=True):
        if not crowd:
            name = data.categories[label].name
            counts[name] += 1
            masks[name if counts[name] == 1 else f"{name} {counts[name]}"] = rle_to_mask(rle)
    return masks


def assert_scene(data: Dataset, image: int = 0, *, holes: bool = True, parts: bool = True, named: bool = True) -> None:
    """The scene, as far as a format can say it: without holes they are filled, without parts the dog is two of them."""
    wanted = dict(MASKS)
    if not holes:
        wanted["tree"] = filled(TREE)
    if not parts:
        wanted |= {"dog": filled(DOG[0]), "dog 2": filled(DOG[1])}
    masks = found(data, image)
    if not named:
        assert {name.split(" ")[0] for name in masks} == {"object"}
        pairs = list(zip(sorted(masks.values(), key=np.ndarray.tobytes), sorted(wanted.values(), key=np.ndarray.tobytes)))
        assert len(masks) == len(wanted)
    else:
        assert set(masks) == set(wanted)
        pairs = [(masks[name], wanted[name]) for name in wanted]
    for mask, right in pairs:
        np.testing.assert_array_equal(mask, right)
