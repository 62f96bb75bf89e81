"""One annotation of a COCO file as an object: its mask, its box, its area, and what is wrong with them."""

from __future__ import annotations

import json
import reprlib
from contextlib import suppress
from typing import Any

import numpy as np

from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.numbers import are_numbers
from maskrcnn.annotations.objects import TrueObject
from maskrcnn.annotations.outlines import Rle, Size, draw_box
from maskrcnn.geometry.boxes import clip_boxes
from maskrcnn.geometry.rle import rle_area, rle_from_json, rle_to_box

ROUNDING = 1.0  # pixels; a box that reaches out of its image by less was rounded, or counts its last pixel differently
AGREE = 0.8  # IoU of an annotated box and its mask's; COCO's own agree by more, but for objects of a few pixels
NEAR = 2.0  # pixels that the edges of a box may be off whatever the IoU: small objects
AREA_FACTOR = 2.0  # by which an annotated area may differ from the mask's


class ObjectReader:
    """Reads annotations and collects their faults.

    Args:
        labels: label of each category id; -1 of a class that is not wanted.
        faults: where faults are appended.
        crowds_are_objects: takes crowd regions for single objects.
    """

    def __init__(self, labels: dict[int, int], faults: list[Fault], *, crowds_are_objects: bool = False) -> None:
        self._labels = labels
        self._faults = faults
        self._crowds_are_objects = crowds_are_objects

    def read(self, annotation: dict[str, Any], size: Size) -> list[TrueObject]:
        """The object of an annotation; a crowd region in its place where it cannot be used; nothing where nobody knows where.

        Args:
            annotation: with whole numbers as ids.
            size: (height, width) of its image.
        """
        label = self._labels.get(annotation["category_id"])
        if label == -1:
            return []
        segmentation, bbox = self._in_pixels(annotation, size)
        rle = self._read_mask(annotation, segmentation, size)
        if rle is None and not segmentation and annotation.get("keypoints"):
            rle = _draw_bbox(bbox, size)
        if label is None:
            message = f"no category has the id {annotation['category_id']}"
            return self._ignored(annotation, "unknown category", message, rle or _draw_bbox(bbox, size))
        if rle is None:
            return self._ignored(annotation, "", "", _draw_bbox(bbox, size), label)
        area = rle_area(rle)
        if not area:
            self._report(annotation, "empty mask", "no pixel of the image is in its mask")
            return []
        box, box_fault = _choose_box(bbox, rle_to_box(rle), size)
        if box_fault:
            self._report(annotation, *box_fault, repaired=True)
        crowd = annotation.get("iscrowd") or 0
        if crowd not in (0, 1):
            message = f"iscrowd is 0 or 1; received {reprlib.repr(crowd)}, which is no crowd"
            self._report(annotation, "broken iscrowd", message, repaired=True)
        is_crowd = crowd == 1 and not self._crowds_are_objects
        return [TrueObject(box, label, is_crowd, rle, self._area(annotation, area), annotation["id"])]

    def _report(self, annotation: dict[str, Any], kind: str, message: str, *, repaired: bool = False) -> None:
        self._faults.append(Fault(kind, message, annotation["image_id"], annotation["id"], repaired))

    def _ignored(
        self, annotation: dict[str, Any], kind: str, message: str, rle: Rle | None, label: int = 0
    ) -> list[TrueObject]:
        """A crowd region in the place of an object that is left out; its fault is told already where `kind` is empty."""
        if kind:
            self._report(annotation, kind, message)
        if rle is None or not rle_area(rle):
            return []
        return [TrueObject(rle_to_box(rle), label, True, rle, float(rle_area(rle)), annotation["id"])]

    def _area(self, annotation: dict[str, Any], measured: int) -> float:
        area = annotation.get("area")
        if area is None or not are_numbers([area]) or area <= 0:
            return float(measured)
        if max(area, measured) > AREA_FACTOR * min(area, measured) and abs(area - measured) > 16:
            message = f"area {area:g} for a mask of {measured} pixels; the mask's is used"
            self._report(annotation, "area contradicts its mask", message, repaired=True)
            return float(measured)
        return float(area)

    def _in_pixels(self, annotation: dict[str, Any], size: Size) -> tuple[Any, Any]:
        """Segmentation and bbox in pixels: coordinates that all lie between 0 and 1 are fractions of the image's sides."""
        segmentation, bbox = annotation.get("segmentation"), annotation.get("bbox")
        if isinstance(segmentation, str) and segmentation[:1] in ("[", "{"):
            with suppress(ValueError):  # reported as what it is
                segmentation = json.loads(segmentation)
        if isinstance(bbox, list) and len(bbox) == 4 and are_numbers(bbox) and max(bbox) > 1:
            return segmentation, bbox  # pixels, as nearly always: nobody needs to look at the polygons
        values = _flat(segmentation) or _flat([bbox])
        if not values or not all(0 <= value <= 1 for value in values) or all(value == int(value) for value in values):
            return segmentation, bbox
        self._report(
            annotation,
            "fractions",
            "all coordinates lie between 0 and 1: taken as fractions of the image's sides",
            repaired=True,
        )
        height, width = size
        if isinstance(segmentation, list) and _flat(segmentation):
            polygons = [segmentation] if are_numbers(segmentation) else segmentation
            segmentation = [[value * (height if k % 2 else width) for k, value in enumerate(polygon)] for polygon in polygons]
        if isinstance(bbox, list) and len(bbox) == 4 and are_numbers(bbox) and max(bbox) <= 1:
            bbox = (np.array(bbox) * (width, height, width, height)).tolist()
        return segmentation, bbox

    def _read_mask(self, annotation: dict[str, Any], segmentation: Any, size: Size) -> Rle | None:
        """The mask of an annotation; None with a fault where there is none."""
        if not segmentation:
            if annotation.get("keypoints"):
                self._report(
                    annotation, "missing mask", "it has keypoints and no segmentation; its box is its mask", repaired=True
                )
            else:
                self._report(annotation, "missing mask", "it has no segmentation; its box is an ignored region")
            return None
        if isinstance(segmentation, list):
            polygons = self._polygons(annotation, segmentation)
            if polygons is None:
                return None
            segmentation = polygons
        elif isinstance(segmentation, dict):
            segmentation = _with_whole_counts(segmentation)
        try:
            return rle_from_json(segmentation, size)
        except ValueError as error:
            self._report(annotation, "broken mask", str(error))
            return None

    def _polygons(self, annotation: dict[str, Any], segmentation: list[Any]) -> list[Any] | None:
        """The usable polygons of a segmentation; flat lists and lists of points are one polygon each."""
        if are_numbers(segmentation):
            message = "its segmentation is one flat list of numbers; wanted is a list of such lists"
            self._report(annotation, "flat polygon", message, repaired=True)
            segmentation = [segmentation]
        elif len(segmentation) > 2 and all(
            isinstance(part, list) and len(part) == 2 and are_numbers(part) for part in segmentation
        ):
            message = "its segmentation is one list of points; wanted is a list of polygons"
            self._report(annotation, "flat polygon", message, repaired=True)
            segmentation = [segmentation]
        usable = [part for part in segmentation if not _is_short(part)]
        if len(usable) < len(segmentation):
            message = f"{len(segmentation) - len(usable)} of {len(segmentation)} polygons"
            self._report(annotation, "polygon under three points", message, repaired=bool(usable))
        return usable or None


def _draw_bbox(bbox: Any, size: Size) -> Rle | None:
    if not isinstance(bbox, list) or len(bbox) != 4 or not are_numbers(bbox) or bbox[2] <= 0 or bbox[3] <= 0:
        return None
    x, y, width, height = bbox
    (box,) = clip_boxes(np.array([[x, y, x + width, y + height]], np.float32), size)
    return draw_box(box, size)


def _flat(segmentation: Any) -> list[float]:
    """All numbers of polygons; empty for anything else."""
    if not isinstance(segmentation, list) or not segmentation:
        return []
    if are_numbers(segmentation):
        return segmentation
    values: list[float] = []
    for part in segmentation:
        if not isinstance(part, list) or not are_numbers(part):
            return []
        values += part
        if values[0] > 1 or values[-1] > 1:
            return []  # pixels: nobody needs the rest
    return values


def _with_whole_counts(segmentation: dict[str, Any]) -> dict[str, Any]:
    """Sizes and counts with a point, as pandas and MATLAB write them, as whole numbers."""
    whole = dict(segmentation)
    for key in ("size", "counts"):
        values = segmentation.get(key)
        if not isinstance(values, list) or all(type(value) is int for value in values) or not are_numbers(values):
            continue
        if all(value == int(value) for value in values):
            whole[key] = [int(value) for value in values]
    return whole


def _is_short(polygon: Any) -> bool:
    """Whether a flat list has under three points; a list of points is the mask reader's to judge."""
    return isinstance(polygon, list) and len(polygon) < 6 and not any(isinstance(point, list) for point in polygon)


def _choose_box(bbox: Any, mask_box: np.ndarray, size: Size) -> tuple[np.ndarray, tuple[str, str] | None]:
    """The annotated box [x, y, width, height] as (4,) xyxy in its image, or its mask's; with a fault's kind and message."""
    if bbox is None:
        return mask_box, ("missing box", "it has no bbox; measured on its mask")
    if not isinstance(bbox, list) or len(bbox) != 4 or not are_numbers(bbox) or bbox[2] <= 0 or bbox[3] <= 0:
        message = f"a bbox is [x, y, width, height] with an area; received {reprlib.repr(bbox)}, measured on its mask instead"
        return mask_box, ("degenerate box", message)
    x, y, width, height = bbox
    box = (x, y, x + width, y + height)
    edges = [min(max(float(edge), 0.0), limit) for edge, limit in zip(box, (size[1], size[0]) * 2)]
    clipped = np.array(edges, np.float32)
    inside = np.array([edges])
    if contradict(inside, mask_box[None].astype(np.float64))[0]:
        kind = "box outside of its image" if not _area(inside)[0] else "box contradicts its mask"
        return mask_box, (kind, f"bbox {reprlib.repr(bbox)} in an image of {size[0]}×{size[1]}; measured on its mask instead")
    if max(abs(edge - inside) for edge, inside in zip(box, edges)) > ROUNDING:
        return clipped, (
            "box outside of its image",
            f"bbox {reprlib.repr(bbox)} in an image of {size[0]}×{size[1]}; clipped",
        )
    return clipped, None


def contradict(boxes: np.ndarray, mask_boxes: np.ndarray) -> np.ndarray:
    """Whether boxes and their masks' boxes cannot mean one thing: IoU under `AGREE`, by more than rounding of small objects.

    Annotated boxes follow the polygons, masks the pixels: in COCO the edges differ by up to 6 pixels, the IoU is over 0.8 for
    all but objects of 2 pixels.

    Args:
        boxes, mask_boxes: (N, 4) xyxy.

    Returns:
        (N,) bool.
    """
    one, other = _area(boxes), _area(mask_boxes)
    shared = _area(
        np.concatenate([np.maximum(boxes[:, :2], mask_boxes[:, :2]), np.minimum(boxes[:, 2:], mask_boxes[:, 2:])], axis=1)
    )
    farthest = np.abs(boxes - mask_boxes).max(axis=1)
    return ((shared < AGREE * (one + other - shared)) & (farthest > NEAR)) | (one == 0)


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1)
