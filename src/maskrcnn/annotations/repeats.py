"""Objects that were drawn twice: polygon and mask of one object, or two annotators."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hotcoco import mask as coco_mask

from maskrcnn.annotations.objects import TrueObject
from maskrcnn.geometry.rle import rle_area

SAME = 0.95  # IoU from where on two masks of one class are one object
NEAR = 0.1  # of a box's sides: the edges of boxes around one object lie closer


def without_repeats(objects: Sequence[TrueObject], report: Callable[[TrueObject, str], None]) -> list[TrueObject]:
    """One image's objects without those that were drawn twice: of one class, with masks that overlap by `SAME` and more.

    Crowd regions may cover one place twice.

    Masks are compared only where areas and boxes are nearly equal, which few are: sorted by area, each object meets those alone
    that are up to 5 % larger.

    Args:
        report: is given each object that is left out, and a message that names its twin.
    """
    if len(objects) < 2:
        return list(objects)
    areas = [rle_area(thing.rle) for thing in objects]
    boxes = [thing.box.tolist() for thing in objects]
    order = sorted(range(len(objects)), key=areas.__getitem__)
    left_out: set[int] = set()
    for place, one in enumerate(order):
        for other in order[place + 1 :]:
            if areas[one] < SAME * areas[other]:
                break
            if one in left_out or other in left_out or not _alike(objects[one], objects[other]):
                continue
            if not _near(boxes[one], boxes[other]):
                continue
            if coco_mask.iou([objects[one].rle], [objects[other].rle], [False])[0, 0] >= SAME:
                earlier, later = sorted((one, other))
                left_out.add(later)
                twin = objects[earlier].annotation_id
                report(objects[later], f"it has the class and the mask of annotation {twin}; one of them is used")
    return [thing for place, thing in enumerate(objects) if place not in left_out]


def _alike(one: TrueObject, other: TrueObject) -> bool:
    return one.label == other.label and not one.crowd and not other.crowd


def _near(one: list[float], other: list[float]) -> bool:
    """Whether no edge of two boxes (4,) xyxy is farther from the other's than `NEAR` of the longer side."""
    reach = NEAR * max(one[2] - one[0], one[3] - one[1]) + 1.0
    return all(abs(a - b) <= reach for a, b in zip(one, other, strict=True))
