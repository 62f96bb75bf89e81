"""Reads folders of label maps: `images/` and `masks/`, one PNG or TIFF an image with 0 = background, k = the k-th object."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.objects import OBJECT, TrueObject, make_sample
from maskrcnn.config.model import Category
from maskrcnn.geometry.masks import mask_to_box
from maskrcnn.geometry.rle import mask_to_rle
from maskrcnn.images.files import PLAIN_SUFFIXES
from maskrcnn.images.plain import read_label_map
from maskrcnn.images.sizes import measure_images
from maskrcnn.structures import Sample

LABEL_MAP_SUFFIXES = (".png", ".tif", ".tiff")


def read_label_maps(folder: Path, *, verify_images: bool = True) -> tuple[list[Sample], tuple[Category, ...], list[Fault]]:
    """Every image of `images/` with the objects of the label map of the same stem in `masks/`, and all that was wrong.

    Images are numbered from 1 by their sorted names, and annotations through all of them, by image and value.

    Args:
        folder: holds `images/` and `masks/`.
        verify_images: decode every image; otherwise only its header is read. Label maps are always read.

    Raises:
        ValueError: for a folder without the two.
    """
    if not (folder / "images").is_dir() or not (folder / "masks").is_dir():
        raise ValueError(f"A folder of label maps holds images/ and masks/; {folder} does not.")
    images = _files_by_stem(folder / "images", PLAIN_SUFFIXES)
    label_maps = _files_by_stem(folder / "masks", LABEL_MAP_SUFFIXES)
    faults = [
        Fault("missing image", f"{files[0]} has no image of that name in {folder / 'images'}")
        for stem, files in label_maps.items()
        if stem not in images
    ]
    sizes = measure_images([files[0] for files in images.values()], decode=verify_images)
    samples = []
    next_id = 1
    for image_id, ((stem, files), size) in enumerate(zip(images.items(), sizes, strict=True), start=1):
        maps = label_maps.get(stem, [])
        if len(files) != 1 or len(maps) > 1:
            listed = ", ".join(str(file) for file in files + maps)
            faults.append(Fault("ambiguous name", f"one image and one label map have one name; received {listed}", image_id))
        elif isinstance(size, ValueError):
            faults.append(Fault("unreadable image", str(size), image_id))
        elif not maps:
            message = f"{files[0]} has no label map of that name in {folder / 'masks'}; one of zeros says: no objects"
            faults.append(Fault("missing label map", message, image_id))
        else:
            try:
                objects = _read_objects(maps[0], size, next_id)
            except ValueError as error:
                faults.append(Fault("broken label map", str(error), image_id))
                continue
            next_id += len(objects)
            samples.append(make_sample(image_id, files[0].name, files[0], size, objects))
    return samples, (OBJECT,), faults


def _files_by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in suffixes:
            files[file.stem].append(file)
    return files


def _read_objects(path: Path, size: tuple[int, int], first_id: int) -> list[TrueObject]:
    values = read_label_map(path)
    if values.shape != size:
        told = "{}×{}".format(*values.shape)
        raise ValueError(f"{path} has height × width {told}, its image {size[0]}×{size[1]}.")
    return [
        TrueObject(box, 0, False, rle, float(area), first_id + place) for place, (box, rle, area) in enumerate(_split(values))
    ]


def _split(values: np.ndarray) -> list[tuple[np.ndarray, dict[str, Any], int]]:
    """Box, RLE and area of each value of a label map but 0, ascending.

    Pixels are sorted by value once: comparing the whole map with each of 400 values would read it 400 times.
    """
    places = np.flatnonzero(values)
    order = np.argsort(values.ravel()[places], kind="stable")
    places = places[order]
    starts = np.flatnonzero(np.diff(values.ravel()[places])) + 1
    objects = []
    for pixels in np.split(places, starts) if len(places) else []:
        mask = np.zeros(values.shape, bool)
        mask.ravel()[pixels] = True
        objects.append((mask_to_box(mask), mask_to_rle(mask), len(pixels)))
    return objects
