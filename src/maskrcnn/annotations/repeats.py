"""Objects that were drawn twice: polygon and mask of one object, or two annotators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from hotcoco import mask as coco_mask

from maskrcnn.annotations.objects import Objects, TrueObject
from maskrcnn.annotations.outlines import Rle
from maskrcnn.geometry.rle import rle_area

FEW = 100  # objects up to which plain loops are the quickest
SAME = 0.95  # IoU from where on two masks of one class are one object


def without_repeats(objects: Sequence[TrueObject], report: Callable[[TrueObject, str], None]) -> list[TrueObject]:
    """One image's objects without those that were drawn twice: of one class, with masks that overlap by `SAME` and more.

    Crowd regions may cover one place twice.

    Args:
        report: is given each object that is left out, and a message that names its twin.
    """
    if len(objects) < 2:
        return list(objects)
    left_out: set[int] = set()

    def may_be_one(one: int, other: int) -> bool:
        return one not in left_out and other not in left_out and _alike(objects[one], objects[other])

    boxes = [thing.box.tolist() for thing in objects]
    for earlier, later, _ in twins([thing.rle for thing in objects], boxes, may_be_one, least=SAME):
        left_out.add(later)
        twin = objects[earlier].annotation_id
        report(objects[later], f"it has the class and the mask of annotation {twin}; one of them is used")
    return [thing for place, thing in enumerate(objects) if place not in left_out]


def twins(
    rles: Sequence[Rle], boxes: Sequence[list[float]], may_be_one: Callable[[int, int], bool], *, least: float
) -> Iterator[tuple[int, int, float]]:
    """Pairs of masks in one image that overlap by an IoU of `least` or more.

    Masks are compared only where areas and boxes are nearly equal, which few are: sorted by area, each object meets those alone
    that are not much larger.

    Args:
        rles: the masks.
        boxes: theirs, xyxy.
        may_be_one: asked before two are compared.
        least: above 0.5.

    Yields:
        The places of the two, the earlier one first, and their IoU.
    """
    areas = [rle_area(rle) for rle in rles]
    order = sorted(range(len(rles)), key=areas.__getitem__)
    near = _near_boxes if len(rles) > FEW else _near_few
    for one, other in near(order, areas, boxes, least):
        if may_be_one(one, other):
            iou = float(coco_mask.iou([rles[one]], [rles[other]], [False])[0, 0])
            if iou >= least:
                yield min(one, other), max(one, other), iou


def _near_few(
    order: Sequence[int], areas: Sequence[int], boxes: Sequence[list[float]], least: float
) -> Iterator[tuple[int, int]]:
    """Pairs with areas and boxes that are nearly equal; in plain numbers, for arrays of a few rows would take longer."""
    for place, one in enumerate(order):
        reach = _reach(boxes[one], least)
        for other in order[place + 1 :]:
            if areas[one] < least * areas[other]:
                break
            if all(abs(a - b) <= reach for a, b in zip(boxes[one], boxes[other])):
                yield one, other


def _near_boxes(
    order: Sequence[int], areas: Sequence[int], boxes: Sequence[list[float]], least: float
) -> Iterator[tuple[int, int]]:
    """The same for thousands of objects."""
    in_order, edges = np.array(areas)[order], np.array(boxes)[order]  # (N,) from small to large, (N, 4)
    stops = np.searchsorted(least * in_order, in_order, side="right")
    for place, one in enumerate(order):
        differing = np.abs(edges[place + 1 : stops[place]] - edges[place]).max(axis=1, initial=0.0)
        for behind in np.flatnonzero(differing <= _reach(boxes[one], least)).tolist():
            yield one, order[place + 1 + behind]


def _reach(box: list[float], least: float) -> float:
    """Pixels that the edges of a box around the same object may be off: a part of the longer side, and rounding."""
    return 2 * (1 - least) * max(box[2] - box[0], box[3] - box[1]) + 1.0


def images_with_twins(objects: Objects) -> np.ndarray:
    """(K,) bool: the images in which objects may be drawn twice: of one class, alike in area and box, and no crowd regions.

    Objects stand in the order of their areas; each is compared with the next, the one behind it and so on, all of them at once,
    until nobody's is near enough.
    """
    num_images = len(objects.starts) - 1
    image = np.repeat(np.arange(num_images), np.diff(objects.starts))
    flagged = np.zeros(num_images, bool)
    order = np.lexsort((objects.measured, objects.labels, image))
    order = order[~objects.crowd[order]]
    left, step = np.arange(len(order)), 0
    while len(left):
        step += 1
        left = left[left + step < len(order)]
        one, other = order[left], order[left + step]
        same = (image[one] == image[other]) & (objects.labels[one] == objects.labels[other])
        same &= objects.measured[one] >= SAME * objects.measured[other]
        left, one, other = left[same], one[same], other[same]
        boxes = objects.boxes[one]
        reach = 2 * (1 - SAME) * (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0.0) + 1.0
        near = (np.abs(boxes - objects.boxes[other]) <= reach[:, None]).all(axis=1)
        flagged[image[one[near]]] = True
    return flagged


def _alike(one: TrueObject, other: TrueObject) -> bool:
    return one.label == other.label and not one.crowd and not other.crowd
