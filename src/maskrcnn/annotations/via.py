"""Reads the VGG Image Annotator's JSON, versions 1 and 2: https://www.robots.ox.ac.uk/~vgg/software/via."""

from __future__ import annotations

import os
import reprlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.objects import OBJECT, TrueObject, find_folder, is_inside, make_sample
from maskrcnn.annotations.outlines import read_outline
from maskrcnn.config.model import Category
from maskrcnn.geometry.rle import polygons_to_rle, rle_area, rle_to_box
from maskrcnn.images.sizes import measure_images
from maskrcnn.structures import Sample

IMAGES_OF_PROJECT = "_via_img_metadata"  # where a project keeps what an export consists of
ROUNDING = 1.0  # pixels; a region that reaches out of its image by less was rounded


def is_via(content: Any) -> bool:
    """Whether a JSON's content is an annotation file of VIA 1 or 2: a project, or an export, {key: image with regions}."""
    if not isinstance(content, dict):
        return False
    if isinstance(content.get(IMAGES_OF_PROJECT), dict):
        return True
    return bool(content) and all(
        isinstance(entry, dict) and {"filename", "regions"} <= set(entry) for entry in content.values()
    )


def read_via(
    content: dict[str, Any],
    path: Path,
    *,
    images: Path | None = None,
    class_attribute: str | None = None,
    verify_images: bool = True,
) -> tuple[list[Sample], tuple[Category, ...], list[Fault]]:
    """Every usable image of a VIA file with its usable regions, and all that was wrong with the rest.

    Regions are polygons, rectangles, circles and ellipses; boxes and areas are those of their masks. VIA gives neither images
    nor regions a number: images get 1, 2, … in the file's order, regions 1, 2, … through all of them.

    Classes are the values of one region attribute, sorted by name. Without `class_attribute` it is the attribute that most
    regions have a value of, of several the file's first. Where no region has any, all are of the class "object".

    Args:
        content: what the JSON holds, see `is_via`.
        path: where the JSON lies.
        images: folder of the images; without it the folder beside the JSON with the JSON's stem, then `images/` beside it,
            then the JSON's own folder, the first that holds any of the images.
        class_attribute: name of the region attribute that holds the class.
        verify_images: decode every image; otherwise only its header is read.

    Raises:
        ValueError: for a `class_attribute` of which no region has a value.
    """
    entries, faults = _read_entries(content.get(IMAGES_OF_PROJECT, content))
    folder = images or find_folder(path, entries)
    listed_images, image_faults = _find_images(entries, folder, verify_images)
    regions, region_faults = _number_regions(listed_images)
    attribute, attribute_faults = _choose_attribute(regions, class_attribute, path)
    faults += image_faults + attribute_faults + region_faults
    names = sorted({name for region in regions for name in region.values(attribute)}) if attribute else []
    categories = tuple(Category(number, name) for number, name in enumerate(names, start=1)) or (OBJECT,)
    objects: dict[int, list[TrueObject]] = {image.image_id: [] for image in listed_images}
    for region in regions:
        thing, object_faults = _read_object(region, attribute, names)
        objects[region.image.image_id] += [thing] if thing else []
        faults += object_faults
    samples = [
        make_sample(image.image_id, image.file_name, image.path, image.size, objects[image.image_id]) for image in listed_images
    ]
    return samples, categories, faults


@dataclass(frozen=True, eq=False)
class _ListedImage:
    image_id: int
    file_name: str
    path: Path
    size: tuple[int, int]  # height, width
    regions: list[Any]  # as the file has them


@dataclass(frozen=True, eq=False)
class _Region:
    image: _ListedImage
    annotation_id: int
    shape: dict[str, Any]
    attributes: dict[str, Any]

    def values(self, attribute: str) -> list[str]:
        """What an attribute says: a text, a radio button or a choice from a list is one name, check boxes are any number."""
        value = self.attributes.get(attribute)
        if isinstance(value, dict):
            return [name for name, checked in value.items() if checked is True]
        return [value.strip()] if isinstance(value, str) and value.strip() else []


def _read_entries(content: dict[str, Any]) -> tuple[dict[str, list[dict[str, Any]]], list[Fault]]:
    """The file's images by name, their regions as lists; VIA 1 writes {"0": region, …}."""
    entries: dict[str, list[dict[str, Any]]] = {}
    faults = []
    for entry in content.values():
        regions = entry.get("regions") if isinstance(entry, dict) else None
        if not isinstance(regions, (dict, list)) or not isinstance(entry.get("filename"), str):
            message = f"an image has a filename and regions; received {reprlib.repr(entry)}"
            faults.append(Fault("broken image entry", message))
            continue
        regions = list(regions.values()) if isinstance(regions, dict) else regions
        entries.setdefault(entry["filename"], []).append({"size": entry.get("size"), "regions": regions})
    return entries, faults


def _find_images(
    entries: dict[str, list[dict[str, Any]]], folder: Path, verify_images: bool
) -> tuple[list[_ListedImage], list[Fault]]:
    faults = []
    present: dict[int, tuple[str, list[Any]]] = {}
    for image_id, (name, candidates) in enumerate(entries.items(), start=1):
        num_regions = sum(len(entry["regions"]) for entry in candidates)
        if not is_inside(folder / name, folder):
            faults.append(Fault("file name outside of its folder", f"{name!r} leads out of {folder}", image_id))
        elif not os.path.isfile(folder / name):
            faults.append(Fault("missing image", f"there is no file {folder / name} ({num_regions} annotations)", image_id))
        else:
            regions = _choose_regions(candidates, folder / name)
            if len(candidates) > 1:
                what = "nobody knows which regions are its own" if regions is None else "the regions that are its own are used"
                message = f"{name} is listed {len(candidates)} times; {what}"
                faults.append(Fault("duplicate image", message, image_id, repaired=regions is not None))
            if regions is not None:
                present[image_id] = name, regions
    sizes = measure_images([folder / name for name, _ in present.values()], decode=verify_images)
    images = []
    for (image_id, (name, regions)), size in zip(present.items(), sizes, strict=True):
        if isinstance(size, ValueError):
            faults.append(Fault("unreadable image", f"{size} ({len(regions)} annotations)", image_id))
        else:
            images.append(_ListedImage(image_id, name, folder / name, size, regions))
    return images, faults


def _choose_regions(candidates: list[dict[str, Any]], path: Path) -> list[Any] | None:
    """The regions of an image that is listed once or more; None where it is listed with different ones.

    VIA tells images of one name by their bytes: the entry of this file has its size.
    """
    for chosen in (candidates, [entry for entry in candidates if entry["size"] == path.stat().st_size]):
        if chosen and all(entry["regions"] == chosen[0]["regions"] for entry in chosen):
            return chosen[0]["regions"]
    return None


def _number_regions(images: list[_ListedImage]) -> tuple[list[_Region], list[Fault]]:
    """All regions that are what VIA writes, each once."""
    numbered: list[_Region] = []
    faults = []
    annotation_id = 0
    for image in images:
        for place, region in enumerate(image.regions):
            annotation_id += 1
            shape = region.get("shape_attributes") if isinstance(region, dict) else None
            attributes = region.get("region_attributes", {}) if isinstance(region, dict) else None
            if not isinstance(shape, dict) or not isinstance(attributes, dict):
                message = f"a region has shape_attributes and region_attributes; received {reprlib.repr(region)}"
                faults.append(Fault("broken annotation", message, image.image_id, annotation_id))
            elif region in image.regions[:place]:
                message = "the same annotation comes twice"
                faults.append(Fault("duplicate annotation", message, image.image_id, annotation_id))
            else:
                numbered.append(_Region(image, annotation_id, shape, attributes))
    return numbered, faults


def _choose_attribute(regions: list[_Region], wanted: str | None, path: Path) -> tuple[str | None, list[Fault]]:
    """The attribute that holds the class, or None; a fault where another one could as well have been meant."""
    counts = Counter(name for region in regions for name in region.attributes if region.values(name))
    if wanted is not None:
        if not counts[wanted]:
            known = ", ".join(map(repr, counts)) or "none"
            raise ValueError(f"No region of {path} has a value of the attribute {wanted!r}; attributes with values: {known}.")
        return wanted, []
    if not counts:
        return None, []
    chosen, most = counts.most_common(1)[0]  # of equal ones the first met
    rivals = [
        name
        for name, count in counts.items()
        if count == most and any(region.values(name) != region.values(chosen) for region in regions)
    ]
    if not rivals:
        return chosen, []
    message = f"regions have the attributes {chosen}, {', '.join(rivals)}; the classes are those of {chosen} (class_attribute)"
    return chosen, [Fault("several attributes", message, repaired=True)]


def _read_object(region: _Region, attribute: str | None, names: list[str]) -> tuple[TrueObject | None, list[Fault]]:
    faults: list[Fault] = []
    size = region.image.size

    def report(kind: str, message: str, *, repaired: bool = False) -> None:
        faults.append(Fault(kind, message, region.image.image_id, region.annotation_id, repaired))

    values = region.values(attribute) if attribute else []
    if attribute and len(values) != 1:
        report(
            "several classes" if values else "missing class",
            f"an object has one value of {attribute}; received {reprlib.repr(region.attributes.get(attribute))}",
        )
        return None, faults
    try:
        outline = read_outline(region.shape)
    except ValueError as error:
        report("broken mask", str(error))
        return None, faults
    rle = polygons_to_rle([outline], size)
    if not rle_area(rle):
        report("empty mask", "no pixel of the image is in its mask")
        return None, faults
    if outline.min() < -ROUNDING or (outline.max(axis=0) > np.array(size[::-1]) + ROUNDING).any():
        report("region outside of its image", f"it reaches out of an image of {size[0]}×{size[1]}; cut off", repaired=True)
    return TrueObject(
        box=rle_to_box(rle),
        label=names.index(values[0]) if values else 0,
        crowd=False,
        rle=rle,
        area=float(rle_area(rle)),
        annotation_id=region.annotation_id,
    ), faults
