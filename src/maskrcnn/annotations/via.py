"""The VGG Image Annotator's JSON and CSV, versions 1 and 2: https://www.robots.ox.ac.uk/~vgg/software/via."""

from __future__ import annotations

import json
import reprlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.annotations.faults import WITHOUT_END, Fault
from maskrcnn.annotations.finding import Found, ImageFinder, image_folders
from maskrcnn.annotations.objects import OBJECT, Annotations, TrueObject, make_sample
from maskrcnn.annotations.outlines import ellipse_points
from maskrcnn.annotations.place import Place, ReadOptions, read_table
from maskrcnn.annotations.repeats import without_repeats
from maskrcnn.config.model import Category
from maskrcnn.geometry.rle import polygons_to_rle, rle_area, rle_to_box
from maskrcnn.images.sizes import RepairedSize, measure_images

IMAGES_OF_PROJECT = "_via_img_metadata"  # where a project keeps what an export consists of
ROUNDING = 1.0  # pixels; a region that reaches out of its image by less was rounded
FARTHEST = 1e6  # pixels; a polygon's outline is walked, so a number without sense would take the memory


COLUMNS = {"filename", "region_shape_attributes", "region_attributes"}  # of a CSV

NAME = "via"
TITLE = "VGG Image Annotator (JSON, project or CSV)"


def recognise(place: Place) -> bool:
    """A project or an export of VIA: JSON of images with regions, or a CSV with the columns of VIA."""
    if place.suffix == ".csv":
        return set(place.columns) >= COLUMNS
    return place.suffix == ".json" and place.head.lstrip().startswith("{") and is_via(place.sketch)


def is_via(content: Any) -> bool:
    """Whether a JSON's content is an annotation file of VIA 1 or 2: a project, or an export, {key: image with regions}."""
    if not isinstance(content, dict):
        return False
    if isinstance(content.get(IMAGES_OF_PROJECT), dict):
        return True
    return bool(content) and all(
        isinstance(entry, dict) and {"filename", "regions"} <= set(entry) for entry in content.values()
    )


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every usable image of a VIA file with its usable regions, and all that was wrong with the rest.

    Regions are polygons, rectangles, circles and ellipses; boxes and areas are those of their masks. VIA gives neither images
    nor regions a number: images get 1, 2, … in the file's order, regions 1, 2, … through all of them.

    Classes are the values of one region attribute, sorted by name. Without `options.class_attribute` it is the one that most
    regions have a value of. Where no region has any, all are of the class "object".

    Raises:
        ValueError: for a class attribute of which no region has a value, and where several attributes could be meant.
    """
    content = _from_table(place) if place.suffix == ".csv" else place.json
    entries, faults = _read_entries(content.get(IMAGES_OF_PROJECT, content))
    images, image_faults = _find_images(entries, ImageFinder(image_folders(place.path, options.images)), options.verify_images)
    regions, region_faults = _number_regions(images)
    attribute = _choose_attribute(regions, options.class_attribute, place.path)
    faults += image_faults + region_faults
    names = sorted({name for region in regions for name in region.values(attribute)}) if attribute else []
    if options.classes is not None:
        names = list(options.classes)
    categories = tuple(Category(number, name) for number, name in enumerate(names, start=1)) or (OBJECT,)
    objects: dict[int, list[TrueObject]] = {image.image_id: [] for image in images}
    for region in regions:
        thing, object_faults = _read_object(region, attribute, names)
        objects[region.image.image_id] += [thing] if thing else []
        faults += object_faults
    samples = []
    for image in images:

        def twice(thing: TrueObject, message: str, image: _Image = image) -> None:
            faults.append(Fault("object drawn twice", message, image.image_id, thing.annotation_id, repaired=True))

        own = without_repeats(objects[image.image_id], twice)
        samples.append(make_sample(image.image_id, image.file_name, image.path, image.size, own))
    return Annotations(samples, categories, faults)


def _from_table(place: Place) -> dict[str, Any]:
    """A CSV as the JSON of the same export: a row for each region, and one without a shape for an image without any."""
    content: dict[str, Any] = {}
    for number, row in enumerate(read_table(place.path), start=2):
        try:
            shape, attributes = (json.loads(row[key] or "{}") for key in ("region_shape_attributes", "region_attributes"))
            size = int(row.get("file_size") or -1)
        except ValueError as error:
            raise ValueError(f"{place.path}, line {number}: its attributes are no JSON: {error}.") from None
        entry = content.setdefault(f"{row['filename']}{size}", {"filename": row["filename"], "size": size, "regions": []})
        if shape:
            entry["regions"].append({"shape_attributes": shape, "region_attributes": attributes})
    return content


@dataclass(frozen=True, eq=False)
class _Image:
    image_id: int
    file_name: str
    path: Path
    size: tuple[int, int]  # height, width
    regions: list[Any]  # as the file has them


@dataclass(frozen=True, eq=False)
class _Region:
    image: _Image
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
    entries: dict[str, list[dict[str, Any]]], finder: ImageFinder, verify_images: bool
) -> tuple[list[_Image], list[Fault]]:
    faults = []
    present: dict[int, tuple[str, Path, list[Any]]] = {}
    for image_id, (name, candidates) in enumerate(entries.items(), start=1):
        num_regions = sum(len(entry["regions"]) for entry in candidates)
        found: Found = finder.find(name)
        if found.path is None:
            kind = "file name outside of its folder" if found.outside else "missing image"
            faults.append(Fault(kind, f"{found.problem} ({num_regions} annotations)", image_id))
            continue
        if found.by_name:
            message = f"{name!r} was found by its last part alone: {found.path}"
            faults.append(Fault("image found by name", message, image_id, repaired=True))
        regions = _choose_regions(candidates, found.path)
        if len(candidates) > 1:
            what = "nobody knows which regions are its own" if regions is None else "the regions that are its own are used"
            message = f"{name} is listed {len(candidates)} times; {what}"
            faults.append(Fault("duplicate image", message, image_id, repaired=regions is not None))
        if regions is not None:
            present[image_id] = name, found.path, regions
    sizes = measure_images([path for _, path, _ in present.values()], decode=verify_images)
    images = []
    for (image_id, (name, path, regions)), size in zip(present.items(), sizes, strict=True):
        if isinstance(size, ValueError):
            faults.append(Fault("unreadable image", f"{size} ({len(regions)} annotations)", image_id))
            continue
        if isinstance(size, RepairedSize):
            faults.append(Fault(WITHOUT_END, size.message, image_id, repaired=True))
        images.append(_Image(image_id, name, path, size, regions))
    return images, faults


def _choose_regions(candidates: list[dict[str, Any]], path: Path) -> list[Any] | None:
    """The regions of an image that is listed once or more; None where it is listed with different ones.

    VIA tells images of one name by their bytes: the entry of this file has its size.
    """
    for chosen in (candidates, [entry for entry in candidates if entry["size"] == path.stat().st_size]):
        if chosen and all(entry["regions"] == chosen[0]["regions"] for entry in chosen):
            return chosen[0]["regions"]
    return None


def _number_regions(images: list[_Image]) -> tuple[list[_Region], list[Fault]]:
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


def _choose_attribute(regions: list[_Region], wanted: str | None, path: Path) -> str | None:
    """The attribute that holds the class, or None where no region has any.

    Raises:
        ValueError: where another one could as well have been meant, and for one without values.
    """
    counts = Counter(name for region in regions for name in region.attributes if region.values(name))
    if wanted is not None:
        if not counts[wanted]:
            known = ", ".join(map(repr, counts)) or "none"
            raise ValueError(f"No region of {path} has a value of the attribute {wanted!r}; attributes with values: {known}.")
        return wanted
    if not counts:
        return None
    chosen, most = counts.most_common(1)[0]
    rivals = [
        name
        for name, count in counts.items()
        if count == most and any(region.values(name) != region.values(chosen) for region in regions)
    ]
    if rivals:
        listed = ", ".join([chosen, *rivals])
        raise ValueError(f"The regions of {path} have the attributes {listed}; name the class with --class-attribute.")
    return chosen


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
    if values and values[0] not in names:
        return None, faults  # a class that was not asked for
    try:
        outline = _outline(region.shape)
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


def _outline(shape: dict[str, Any]) -> np.ndarray:
    """(P, 2) x, y of a shape's corners.

    Raises:
        ValueError: for a shape without an area, an unknown one, and one that lacks its numbers.
    """
    kind = shape.get("name")
    if kind == "polygon":
        xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
        if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys) or not _are_numbers([*xs, *ys]):
            raise ValueError(f"a polygon has as many numbers all_points_x as all_points_y; received {reprlib.repr(shape)}")
        if len(xs) < 3:
            raise ValueError(f"a polygon has at least 3 points; received {len(xs)}")
        return np.array([xs, ys], np.float64).T
    if kind == "rect":
        x, y, width, height = _numbers(shape, "x", "y", "width", "height")
        return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
    if kind == "circle":
        x, y, radius = _numbers(shape, "cx", "cy", "r")
        return ellipse_points((x, y), (radius, radius), 0.0)
    if kind == "ellipse":
        x, y, radius_x, radius_y = _numbers(shape, "cx", "cy", "rx", "ry")
        (turn,) = _numbers({"theta": 0.0, **shape}, "theta")  # radians; versions before 2.0.6 cannot turn it
        return ellipse_points((x, y), (radius_x, radius_y), turn)
    raise ValueError(f"a region with an area is a polygon, rect, circle or ellipse; received {reprlib.repr(kind)}")


def _numbers(shape: dict[str, Any], *names: str) -> list[float]:
    values = [shape.get(name) for name in names]
    if not _are_numbers(values):
        raise ValueError(f"a {shape['name']} has the numbers {', '.join(names)}; received {reprlib.repr(shape)}")
    return [float(value) for value in values]  # type: ignore[arg-type]  # they are numbers


def _are_numbers(values: list[Any]) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < FARTHEST for value in values)
