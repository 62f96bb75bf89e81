"""Reads COCO's JSON: https://cocodataset.org/#format-data, object detection."""

from __future__ import annotations

import os
import reprlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.objects import TrueObject, find_folder, is_inside, make_sample
from maskrcnn.config.model import Category
from maskrcnn.geometry.boxes import box_area, clip_boxes
from maskrcnn.geometry.rle import rle_area, rle_from_json, rle_to_box
from maskrcnn.images.sizes import measure_images
from maskrcnn.structures import Sample

ROUNDING = 1.0  # pixels; a box that reaches out of its image by less was rounded, or counts its last pixel differently


def read_coco(
    content: Any, path: Path, *, images: Path | None = None, verify_images: bool = True
) -> tuple[list[Sample], tuple[Category, ...], list[Fault]]:
    """Every usable image of a COCO file with its usable objects, and all that was wrong with the rest.

    Boxes are the annotated ones; where they are missing, without area, outside of the image or contradict the mask, they
    are measured on the mask. Areas are the annotated ones, else the mask's.

    Args:
        content: what the JSON holds.
        path: where the JSON lies.
        images: folder of the images; without it the folder beside the JSON with the JSON's stem, then `images/` beside it,
            then the JSON's own folder, the first that holds any of the images.
        verify_images: decode every image; otherwise only its header is read.

    Raises:
        ValueError: for a file that is not COCO's JSON as a whole.
    """
    _check_whole(content, path)
    labels, categories, faults = _read_categories(content["categories"], path)
    listed, entry_faults = _read_entries(content["images"])
    annotations, annotation_faults = _group_annotations(content["annotations"], listed)
    folder = images or find_folder(path, (entry["file_name"] for entry in listed.values() if entry))
    listed_images, image_faults = _find_images(listed, folder, annotations, verify_images)
    faults += entry_faults + image_faults + annotation_faults
    samples = []
    for image in listed_images:
        own = annotations.get(image.image_id, [])
        if image.listed_size != image.size:
            fault = _size_fault(image, len(own))
            faults.append(fault)
            if not fault.repaired:
                continue
        objects = []
        for annotation in own:
            thing, object_faults = _read_object(annotation, image.size, labels)
            objects += [thing] if thing else []
            faults += object_faults
        samples.append(make_sample(image.image_id, image.file_name, image.path, image.size, objects))
    return samples, categories, faults


@dataclass(frozen=True)
class _ListedImage:
    image_id: int
    file_name: str
    path: Path
    listed_size: tuple[int, int] | None  # height, width by the JSON
    size: tuple[int, int]  # height, width of the file


def _check_whole(content: Any, path: Path) -> None:
    wanted = ("images", "annotations", "categories")
    missing = [key for key in wanted if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if missing:
        raise ValueError(f"{path} is no COCO file: it needs lists named {', '.join(wanted)}; missing: {', '.join(missing)}.")


def _read_categories(entries: list[Any], path: Path) -> tuple[dict[int, int], tuple[Category, ...], list[Fault]]:
    """Label of each category id, the categories by label, and faults: a name that comes twice is one class."""
    labels: dict[int, int] = {}
    categories: list[Category] = []
    faults = []
    for entry in entries:
        if not _has(entry, id=int, name=str):
            raise ValueError(f"{path} is no COCO file: a category has a whole number as id and a name; received {entry!r}.")
        known = [category.name for category in categories]
        if entry["id"] in labels and categories[labels[entry["id"]]].name != entry["name"]:
            earlier = categories[labels[entry["id"]]].name
            raise ValueError(f"{path} gives category id {entry['id']} to both {earlier!r} and {entry['name']!r}.")
        if entry["name"] in known:
            message = f"category {entry['id']} repeats the name {entry['name']!r}; both are one class"
            faults.append(Fault("duplicate category", message, repaired=True))
            labels.setdefault(entry["id"], known.index(entry["name"]))
        else:
            labels[entry["id"]] = len(categories)
            categories.append(Category(entry["id"], entry["name"]))
    if not categories:
        raise ValueError(f"{path} has no categories; wanted is at least one class.")
    return labels, tuple(categories), faults


def _read_entries(entries: list[Any]) -> tuple[dict[int, dict[str, Any] | None], list[Fault]]:
    """The JSON's images by id; None for an id that two files share, so that nobody knows whose annotations are whose."""
    listed: dict[int, dict[str, Any] | None] = {}
    faults = []
    for entry in entries:
        if not _has(entry, id=int, file_name=str):
            message = f"an image has a whole number as id and a file_name; received {reprlib.repr(entry)}"
            faults.append(Fault("broken image entry", message))
            continue
        image_id = entry["id"]
        earlier = listed.setdefault(image_id, entry)
        if earlier is entry:
            continue
        if earlier and earlier["file_name"] == entry["file_name"]:
            faults.append(
                Fault("duplicate image", f"{entry['file_name']} is listed twice; once is enough", image_id, repaired=True)
            )
        else:
            others = f"{earlier['file_name']} and " if earlier else ""
            faults.append(Fault("duplicate image id", f"{others}{entry['file_name']} have one id; none is used", image_id))
            listed[image_id] = None
    return listed, faults


def _find_images(
    listed: dict[int, dict[str, Any] | None], folder: Path, annotations: dict[int, list[Any]], verify_images: bool
) -> tuple[list[_ListedImage], list[Fault]]:
    faults = []

    def leave_out(kind: str, message: str, image_id: int) -> None:
        num_annotations = len(annotations.get(image_id, []))
        faults.append(Fault(kind, f"{message} ({num_annotations} annotations)" if num_annotations else message, image_id))

    present: dict[int, tuple[dict[str, Any], Path]] = {}
    for image_id, entry in listed.items():
        if entry is None:
            continue
        path = folder / entry["file_name"]
        if not is_inside(path, folder):
            leave_out("file name outside of its folder", f"{entry['file_name']!r} leads out of {folder}", image_id)
        elif not os.path.isfile(path):  # unlike `path.is_file()` it also says no to names that no system takes
            leave_out("missing image", f"there is no file {path}", image_id)
        else:
            present[image_id] = entry, path
    sizes = measure_images([path for _, path in present.values()], decode=verify_images)
    images = []
    for (image_id, (entry, path)), size in zip(present.items(), sizes, strict=True):
        if isinstance(size, ValueError):
            leave_out("unreadable image", str(size), image_id)
            continue
        height, width = _whole(entry.get("height")), _whole(entry.get("width"))
        listed_size = None if height is None or width is None else (height, width)
        images.append(_ListedImage(image_id, entry["file_name"], path, listed_size, size))
    return images, faults


def _size_fault(image: _ListedImage, num_annotations: int) -> Fault:
    """A size that is missing, or contradicts the file, which matters where something is drawn on the image."""
    height, width = image.size
    if image.listed_size is None:
        message = f"{image.file_name} has no height and width in the JSON; the file has {height}×{width}"
        return Fault("missing size", message, image.image_id, repaired=True)
    told = "the JSON says height × width {}×{}".format(*image.listed_size)
    message = f"{told}, the file {image.file_name} has {height}×{width}"
    if num_annotations:
        message += f"; nobody knows where its {num_annotations} annotations belong"
        if image.listed_size == (width, height):
            message += " (height and width are swapped: was it annotated without its EXIF rotation?)"
    return Fault("wrong size", message, image.image_id, repaired=not num_annotations)


def _group_annotations(
    entries: list[Any], listed: dict[int, dict[str, Any] | None]
) -> tuple[dict[int, list[dict[str, Any]]], list[Fault]]:
    """Annotations by image id, every one with an id of its own."""
    grouped: dict[int, list[dict[str, Any]]] = defaultdict(list)
    first: dict[int, dict[str, Any]] = {}
    faults = []
    free_id = 1 + max((entry["id"] for entry in entries if _has(entry, id=int)), default=0)
    for entry in entries:
        if not _has(entry, id=int, image_id=int, category_id=int):
            message = f"an annotation has whole numbers as id, image_id and category_id; received {reprlib.repr(entry)}"
            faults.append(Fault("broken annotation", message))
            continue
        image_id, annotation_id = entry["image_id"], entry["id"]
        if image_id not in listed:
            faults.append(Fault("unknown image", f"no image has the id {image_id}", image_id, annotation_id))
        elif first.setdefault(annotation_id, entry) is entry:
            grouped[image_id].append(entry)
        elif first[annotation_id] == entry:
            faults.append(Fault("duplicate annotation", "the same annotation comes twice", image_id, annotation_id))
        else:
            message = f"the id comes twice; this annotation is numbered {free_id} instead"
            faults.append(Fault("duplicate annotation id", message, image_id, annotation_id, repaired=True))
            grouped[image_id].append({**entry, "id": free_id})
            free_id += 1
    return grouped, faults


def _read_object(
    annotation: dict[str, Any], size: tuple[int, int], labels: dict[int, int]
) -> tuple[TrueObject | None, list[Fault]]:
    faults: list[Fault] = []

    def report(kind: str, message: str, *, repaired: bool = False) -> None:
        faults.append(Fault(kind, message, annotation["image_id"], annotation["id"], repaired))

    if annotation["category_id"] not in labels:
        report("unknown category", f"no category has the id {annotation['category_id']}")
        return None, faults
    segmentation = annotation.get("segmentation")
    if not segmentation:
        report("missing mask", "it has no segmentation")
        return None, faults
    if isinstance(segmentation, list):
        usable = [part for part in segmentation if not _is_short(part)]
        if len(usable) < len(segmentation):
            num_bad = len(segmentation) - len(usable)
            report("polygon under three points", f"{num_bad} of {len(segmentation)} polygons", repaired=bool(usable))
        if not usable:
            return None, faults
        segmentation = usable
    try:
        rle = rle_from_json(segmentation, size)
    except ValueError as error:
        report("broken mask", str(error))
        return None, faults
    if not rle_area(rle):
        report("empty mask", "no pixel of the image is in its mask")
        return None, faults
    box, box_fault = _choose_box(annotation.get("bbox"), rle_to_box(rle), size)
    if box_fault:
        report(*box_fault, repaired=True)
    crowd = annotation.get("iscrowd") or 0
    if crowd not in (0, 1):
        report("broken iscrowd", f"iscrowd is 0 or 1; received {reprlib.repr(crowd)}, which is no crowd", repaired=True)
    area = annotation.get("area")
    return TrueObject(
        box=box,
        label=labels[annotation["category_id"]],
        crowd=crowd == 1,
        rle=rle,
        area=float(area if area is not None and _are_numbers([area]) and area > 0 else rle_area(rle)),
        annotation_id=annotation["id"],
    ), faults


def _is_short(polygon: Any) -> bool:
    """Whether a flat list has under three points; a list of points is the mask reader's to judge."""
    return isinstance(polygon, list) and len(polygon) < 6 and not any(isinstance(point, list) for point in polygon)


def _choose_box(bbox: Any, mask_box: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, tuple[str, str] | None]:
    """The annotated box [x, y, width, height] as (4,) xyxy in its image, or its mask's; with a fault's kind and message."""
    if bbox is None:
        return mask_box, ("missing box", "it has no bbox; measured on its mask")
    if not isinstance(bbox, list) or len(bbox) != 4 or not _are_numbers(bbox) or bbox[2] <= 0 or bbox[3] <= 0:
        message = f"a bbox is [x, y, width, height] with an area; received {reprlib.repr(bbox)}, measured on its mask instead"
        return mask_box, ("degenerate box", message)
    x, y, width, height = bbox
    box = np.array([x, y, x + width, y + height], np.float32)
    clipped = clip_boxes(box[None], size)[0]
    if _contradict(clipped, mask_box):
        kind = "box outside of its image" if not box_area(clipped[None])[0] else "box contradicts its mask"
        return mask_box, (kind, f"bbox {reprlib.repr(bbox)} in an image of {size[0]}×{size[1]}; measured on its mask instead")
    if np.abs(box - clipped).max() > ROUNDING:
        return clipped, (
            "box outside of its image",
            f"bbox {reprlib.repr(bbox)} in an image of {size[0]}×{size[1]}; clipped",
        )
    return clipped, None


def _contradict(box: np.ndarray, mask_box: np.ndarray) -> bool:
    """Whether a box and its mask's box cannot mean one thing: IoU under 1/2, by more than rounding does to small objects.

    Annotated boxes follow the polygons, masks the pixels: in COCO the edges differ by up to 6 pixels, the IoU is over 0.8 for
    all but objects of 2 pixels.
    """
    both = np.concatenate([np.maximum(box[:2], mask_box[:2]), np.minimum(box[2:], mask_box[2:])])
    shared, one, other = box_area(np.stack([both, box, mask_box]))
    return bool(shared < 0.5 * (one + other - shared) and np.abs(box - mask_box).max() > 2.0) or one == 0


def _has(entry: Any, **kinds: type) -> bool:
    """Whether a JSON object has these fields with values of these kinds; true and 1e20 are no whole numbers."""
    return isinstance(entry, dict) and all(
        type(entry.get(name)) is kind and (kind is not int or abs(entry[name]) < 2**62) for name, kind in kinds.items()
    )


def _whole(value: Any) -> int | None:
    """A whole number, also where JSON has it with a point."""
    return int(value) if _are_numbers([value]) and value == int(value) else None


def _are_numbers(values: Iterable[Any]) -> bool:
    """Whether all are finite numbers of a size that an image can have."""
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9 for value in values)
