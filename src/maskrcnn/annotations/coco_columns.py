"""The annotations of a COCO file as columns, drawn part by part: a million of them take the memory of their run lengths.

What is as COCO has it is checked for all annotations of a part at once. Any other annotation is kept for `ObjectReader`, which
repairs and explains; a file whose ids are not as they should be is read anew by the slower way, see `coco`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any, NamedTuple

import numpy as np
from hotcoco import mask as coco_mask

from maskrcnn.annotations.coco_images import Image
from maskrcnn.annotations.coco_objects import AREA_FACTOR, ROUNDING, ObjectReader, contradict
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.numbers import LARGEST_ID
from maskrcnn.annotations.objects import Objects
from maskrcnn.annotations.outlines import Rle, Size
from maskrcnn.geometry.rle import rle_area, rle_from_json, rle_to_box

MOST = 2**40  # annotations of a file; those of an image's second entry come behind those of its first
LARGEST = 1e9  # of a box's numbers, see `numbers.are_numbers`


class UnusualError(Exception):
    """The ids of annotations are no whole numbers, are missing, or come twice: nothing for columns."""


class ImagePlace(NamedTuple):
    """Which image of the data set an id belongs to, and how large that is."""

    row: int
    size: Size
    listing: int = 0  # which of the image's entries has the id, where a file is listed more than once


class _Rows(NamedTuple):
    """Annotations that are as they should be, or objects that were made of others."""

    place: np.ndarray  # (N,) int64, of the annotation in the file, and `MOST` for each entry of its image before its own
    image: np.ndarray  # (N,) int64, row of the image
    category: np.ndarray  # (N,) int64 id; of repaired objects the label
    ids: np.ndarray  # (N,) int64
    boxes: np.ndarray  # (N, 4) float32
    areas: np.ndarray  # (N,) float32
    crowd: np.ndarray  # (N,) bool
    measured: np.ndarray  # (N,) int64


class Columns:
    """Takes annotations part by part.

    Args:
        places: of each image id that is used; None for one that is listed and not used.
    """

    def __init__(self, places: Mapping[int, ImagePlace | None]) -> None:
        self._places = places
        self._rows: list[_Rows] = []
        self._rles: list[Rle] = []
        self._others: list[tuple[int, int, dict[str, Any]]] = []  # place, row of the image, annotation
        self._image_ids: list[np.ndarray] = []  # of all annotations
        self._ids: list[np.ndarray] = []
        self._categories: set[int] = set()
        self._count = 0
        self.strangers: list[Fault] = []  # annotations of no image

    def add(self, entries: Sequence[Any]) -> None:
        """The next annotations of the file.

        Raises:
            UnusualError: for ids that are none.
        """
        self._note_ids(entries)
        kept: list[tuple[int, ImagePlace, dict[str, Any], Rle, float]] = []
        for place, entry in enumerate(entries, start=self._count):
            found = self._places.get(entry["image_id"], _STRANGER)
            if found is _STRANGER:
                message = f"no image has the id {entry['image_id']}"
                self.strangers.append(Fault("unknown image", message, entry["image_id"], entry["id"]))
            elif found is not None:
                area = _plain_area(entry)
                rle = None if area is None else _draw(entry, found.size)
                if rle is None or area is None:
                    self._others.append((found.listing * MOST + place, found.row, entry))
                else:
                    kept.append((found.listing * MOST + place, found, entry, rle, area))
        self._count += len(entries)
        if kept:
            self._add_plain(kept)

    def _note_ids(self, entries: Sequence[Any]) -> None:
        try:
            ids = [(entry["id"], entry["image_id"], entry["category_id"]) for entry in entries]
        except (TypeError, KeyError):
            raise UnusualError from None
        if not all(type(a) is type(b) is type(c) is int for a, b, c in ids):
            raise UnusualError
        try:
            columns = np.array(ids, np.int64).reshape(-1, 3)
        except OverflowError:
            raise UnusualError from None
        if (np.abs(columns) >= LARGEST_ID).any():
            raise UnusualError
        self._ids.append(columns[:, 0].copy())
        self._image_ids.append(columns[:, 1].copy())
        self._categories.update(columns[:, 2].tolist())

    def _add_plain(self, kept: list[tuple[int, ImagePlace, dict[str, Any], Rle, float]]) -> None:
        """Those of the drawn annotations whose box, mask and area agree; the others are kept for later."""
        rles = [rle for _, _, _, rle, _ in kept]
        measured = np.asarray(coco_mask.area(rles), np.int64)
        x, y, width, height = np.asarray(coco_mask.to_bbox(rles), np.float64).reshape(-1, 4).T
        mask_boxes = np.stack([x, y, x + width, y + height], axis=1)
        given = np.array([entry["bbox"] for _, _, entry, _, _ in kept], np.float64)  # (N, 4) x, y, width, height
        boxes = np.concatenate([given[:, :2], given[:, :2] + given[:, 2:]], axis=1)
        sizes = np.array([found.size for _, found, _, _, _ in kept], np.float64)
        inside = boxes.clip(0.0, sizes[:, [1, 0, 1, 0]])
        areas = np.array([area for _, _, _, _, area in kept], np.float64)
        areas = np.where(np.isnan(areas), measured, areas)
        plain = (measured > 0) & (given[:, 2:] > 0).all(axis=1)
        plain &= given.max(axis=1) > 1  # else they may be fractions of the image's sides
        plain &= (np.abs(boxes - inside) <= ROUNDING).all(axis=1) & ~contradict(inside, mask_boxes)
        larger, smaller = np.maximum(areas, measured), np.minimum(areas, measured)
        plain &= ~((larger > AREA_FACTOR * smaller) & (np.abs(areas - measured) > 16))
        self._others += [(kept[k][0], kept[k][1].row, kept[k][2]) for k in np.flatnonzero(~plain).tolist()]
        chosen = np.flatnonzero(plain).tolist()
        self._rles += [rles[k] for k in chosen]
        numbers = [
            (kept[k][0], kept[k][1].row, kept[k][2]["category_id"], kept[k][2]["id"], kept[k][2].get("iscrowd") == 1)
            for k in chosen
        ]
        place, image, category, ids, crowd = np.array(numbers, np.int64).reshape(-1, 5).T.copy()
        float32 = (inside[plain].astype(np.float32), areas[plain].astype(np.float32))
        self._rows.append(_Rows(place, image, category, ids, *float32, crowd.astype(bool), measured[plain]))

    def check_ids(self) -> None:
        """Whether every annotation has an id of its own.

        Raises:
            UnusualError: some have one together.
        """
        ids = np.concatenate([np.zeros(0, np.int64), *self._ids])
        if len(np.unique(ids)) < len(ids):
            raise UnusualError

    @property
    def used_categories(self) -> set[int]:
        """The category ids of all annotations of listed images."""
        return self._categories

    def counts(self) -> dict[int, int]:
        """How many annotations each image id has."""
        ids, counts = np.unique(np.concatenate([np.zeros(0, np.int64), *self._image_ids]), return_counts=True)
        return dict(zip(ids.tolist(), counts.tolist(), strict=True))

    def objects(
        self, images: Sequence[Image], labels: dict[int, int], *, crowds_are_objects: bool
    ) -> tuple[Objects, list[tuple[int, list[Fault]]]]:
        """All objects by image, and the faults of annotations with the row of their image, in the order of both.

        Args:
            images: by row.
            labels: label of each category id; -1 of a class that is not wanted.
            crowds_are_objects: takes crowd regions for single objects.
        """
        told: list[tuple[int, int, list[Fault]]] = []  # row of the image, place
        rows, rles = self._labelled(labels, crowds_are_objects, told), self._rles
        mended, their_rles = self._mend(images, labels, crowds_are_objects, told)
        rows, rles = _concatenated([rows, mended]), rles + their_rles
        order = np.lexsort((rows.place, rows.image))
        order = order[rows.category[order] >= 0]
        objects = Objects(
            starts=np.searchsorted(rows.image[order], np.arange(len(images) + 1)),
            boxes=rows.boxes[order],
            labels=rows.category[order].astype(np.int32),
            crowd=rows.crowd[order],
            areas=rows.areas[order],
            ids=rows.ids[order],
            rles=[rles[k] for k in order.tolist()],
            measured=rows.measured[order],
        )
        self._rles = []
        return objects, [(row, faults) for row, _, faults in sorted(told, key=lambda entry: entry[:2])]

    def _labelled(self, labels: dict[int, int], crowds_are_objects: bool, told: list[tuple[int, int, list[Fault]]]) -> _Rows:
        """The plain annotations with labels in the place of category ids: -1 of what is not wanted.

        The place of an object of an unknown category becomes a crowd region: it is not learned as background.
        """
        rows = _concatenated(self._rows)
        self._rows = []
        numbers, of_number = np.unique(rows.category, return_inverse=True)
        label = np.array([labels.get(number, _UNKNOWN) for number in numbers.tolist()], np.int64)[of_number]
        unknown, image_ids = label == _UNKNOWN, np.concatenate([np.zeros(0, np.int64), *self._image_ids])
        for k in np.flatnonzero(unknown).tolist():
            place, message = int(rows.place[k]), f"no category has the id {int(rows.category[k])}"
            fault = Fault("unknown category", message, int(image_ids[place % MOST]), int(rows.ids[k]))
            told.append((int(rows.image[k]), place, [fault]))
            rows.boxes[k], rows.areas[k] = rle_to_box(self._rles[k]), rle_area(self._rles[k])
        crowd = np.zeros(len(label), bool) if crowds_are_objects else rows.crowd
        return rows._replace(category=np.where(unknown, 0, label), crowd=crowd | unknown)

    def _mend(
        self,
        images: Sequence[Image],
        labels: dict[int, int],
        crowds_are_objects: bool,
        told: list[tuple[int, int, list[Fault]]],
    ) -> tuple[_Rows, list[Rle]]:
        """The objects of annotations that are not as they should be, and what was wrong with them."""
        things = []
        for place, row, entry in self._others:
            faults: list[Fault] = []
            reader = ObjectReader(labels, faults, crowds_are_objects=crowds_are_objects)
            things += [(place, row, thing) for thing in reader.read(entry, images[row].size)]
            if faults:
                told.append((row, place, faults))
        self._others = []
        numbers = [(place, row, thing.label, thing.annotation_id) for place, row, thing in things]
        columns = np.array(numbers, np.int64).reshape(-1, 4).T.copy()
        boxes = np.array([thing.box for _, _, thing in things], np.float32).reshape(-1, 4)
        areas = np.array([thing.area for _, _, thing in things], np.float32)
        crowd = np.array([thing.crowd for _, _, thing in things], bool)
        rles = [thing.rle for _, _, thing in things]
        measured = np.array([rle_area(rle) for rle in rles], np.int64)
        return _Rows(columns[0], columns[1], columns[2], columns[3], boxes, areas, crowd, measured), rles


_STRANGER: Any = object()
_UNKNOWN = -2  # the label of a category that is not listed
_NUMBERS = (int, float)


def _concatenated(parts: Sequence[_Rows]) -> _Rows:
    if not parts:
        empty = np.zeros(0, np.int64)
        floats = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        return _Rows(empty, empty, empty, empty, *floats, np.zeros(0, bool), empty)
    return _Rows(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _plain_area(entry: dict[str, Any]) -> float | None:
    """The annotation's area, NaN where it has none; None where its box or another number of it is not as it should be."""
    box, crowd, area = entry.get("bbox"), entry.get("iscrowd"), entry.get("area")
    if type(box) is not list or len(box) != 4 or (crowd is not None and crowd not in (0, 1)):
        return None
    for number in box:
        if type(number) not in _NUMBERS or not -LARGEST < number < LARGEST:
            return None
    return float(area) if isinstance(area, _NUMBERS) and 0 < area < LARGEST else nan


def _draw(entry: dict[str, Any], size: Size) -> Rle | None:
    """The mask of an annotation that is as COCO has it; None for any other."""
    segmentation = entry.get("segmentation")
    try:
        if type(segmentation) is dict:
            return rle_from_json(segmentation, size)
        if type(segmentation) is not list or not segmentation:
            return None
        parts = []
        for polygon in segmentation:
            if type(polygon) is not list or len(polygon) < 6 or len(polygon) & 1:
                return None
            if not isfinite(sum(polygon)):
                return None
            parts.append(coco_mask.fr_poly(polygon, *size))
        return parts[0] if len(parts) == 1 else coco_mask.merge(parts)
    except (TypeError, ValueError, OverflowError):
        return None
