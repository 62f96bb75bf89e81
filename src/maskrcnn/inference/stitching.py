"""Objects of tiles put together across the tiles' borders."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from maskrcnn.config.model import ModelConfig
from maskrcnn.geometry.masks import mask_to_box
from maskrcnn.images.large import LargeImage, Region
from maskrcnn.inference.detections import Detections

AGREE = 0.5  # of the smaller part, or of two whole masks' union: then they are the same object


@dataclass(frozen=True)
class Tile:
    """A region of the image, and its core: where no other tile sees farther around. Cores cover the image once."""

    region: Region
    core: Region


@dataclass(eq=False)
class Part:
    """What one tile saw of an object. Places are pixels of the image."""

    mask: np.ndarray  # (h, w) bool without an empty rim
    corner: tuple[int, int]  # left, top
    box: np.ndarray  # (4,) as the model gave it
    score: float
    label: int
    tile: Tile
    keypoints: np.ndarray | None = None  # (K, 3), where the model has some
    replaced_by: list[Part] = field(default_factory=list)  # each sees all that this one does, or the same
    goes_on_in: list[Part] = field(default_factory=list)  # the same object, beyond the tile's border

    @property
    def bounds(self) -> Region:
        left, top = self.corner
        return left, top, left + self.mask.shape[1], top + self.mask.shape[0]

    def inside(self, region: Region) -> np.ndarray:
        """The mask cut to a region."""
        left, top, right, bottom = _shared(self.bounds, region)
        if not _is_region((left, top, right, bottom)):
            return self.mask[:0, :0]
        return self.mask[top - self.corner[1] : bottom - self.corner[1], left - self.corner[0] : right - self.corner[0]]

    def is_mostly_in_core(self) -> bool:
        return bool(2 * np.count_nonzero(self.inside(self.tile.core)) >= np.count_nonzero(self.mask))

    def cut_by(self, other: Tile, edge: int) -> bool:
        """Whether it reaches a border of its tile that lies inside the other: there the other one sees more."""
        left, top, right, bottom = self.tile.region
        x1, y1, x2, y2 = other.region
        borders = []
        if x1 < left:
            borders.append((left, y1, left + edge, y2))
        if x2 > right:
            borders.append((right - edge, y1, right, y2))
        if y1 < top:
            borders.append((x1, top, x2, top + edge))
        if y2 > bottom:
            borders.append((x1, bottom - edge, x2, bottom))
        return any(self.inside(border).any() for border in borders)


def parts_of(tile: Tile, found: Detections) -> list[Part]:
    left, top = tile.region[:2]
    parts = []
    for row, ((mask, (x, y)), box, score, label) in enumerate(
        zip(found.cutouts(), found.boxes, found.scores, found.labels, strict=True)
    ):
        x1, y1, x2, y2 = mask_to_box(mask).astype(int).tolist()
        if x2 > x1:
            corner = (left + x + x1, top + y + y1)
            keypoints = None if found.keypoints is None else found.keypoints[row] + np.array([left, top, 0], np.float32)
            box = box + np.tile((left, top), 2)
            parts.append(Part(mask[y1:y2, x1:x2].copy(), corner, box, float(score), int(label), tile, keypoints))
    return parts


def link_parts(parts: list[Part], others: list[Part], edge: int) -> None:
    """Links a tile's parts with those of the tiles before that are the same object."""
    ours, theirs = (np.array([part.bounds for part in group]).reshape(-1, 4) for group in (parts, others))
    beside = (ours[:, None, :2] < theirs[None, :, 2:]).all(axis=2) & (theirs[None, :, :2] < ours[:, None, 2:]).all(axis=2)
    for row, column in np.argwhere(beside).tolist():
        part, other = parts[row], others[column]
        if part.label == other.label:
            _compare(part, other, edge)


def _compare(part: Part, other: Part, edge: int) -> None:
    region = _shared(part.bounds, other.bounds)  # what both have lies in both tiles
    both = np.count_nonzero(part.inside(region) & other.inside(region))
    if not both:
        return
    cut, other_cut = part.cut_by(other.tile, edge), other.cut_by(part.tile, edge)
    if cut and other_cut:
        region = _shared(part.tile.region, other.tile.region)
        if both >= AGREE * min(np.count_nonzero(each.inside(region)) for each in (part, other)):
            part.goes_on_in.append(other)
            other.goes_on_in.append(part)
        return
    area, other_area = np.count_nonzero(part.mask), np.count_nonzero(other.mask)
    if cut or other_cut:
        less, more, least = (part, other, area) if cut else (other, part, other_area)
    else:
        less, more, least = *sorted((part, other), key=lambda each: each.score), area + other_area - both
    if both >= AGREE * least:
        less.replaced_by.append(more)


def finished_groups(parts: list[Part], horizon: int) -> tuple[list[list[Part]], list[Part]]:
    """Groups of parts, an object each, that end above the horizon, from where on tiles are still to come; and the rest."""
    done, rest, seen = [], [], set()
    joined: dict[int, list[Part]] = {}
    for part in parts:
        for other in (*part.replaced_by, *part.goes_on_in):
            joined.setdefault(id(part), []).append(other)
            joined.setdefault(id(other), []).append(part)
    for part in parts:
        if id(part) in seen:
            continue
        linked = _reached(part, lambda each: joined.get(id(each), []))
        seen |= {id(each) for each in linked}
        if max(each.bounds[3] for each in linked) > horizon:
            rest += linked
        else:
            done += _groups(linked)
    return done, rest


def _groups(linked: list[Part]) -> list[list[Part]]:
    """Parts that hang together, as objects: those that go on in each other, and whole ones alone.

    A part that no other tile confirms, though most of it lies in the core of another, is none.
    """
    if len(linked) == 1 and not linked[0].is_mostly_in_core():
        return []
    kept: list[Part] = []
    for part in sorted(linked, key=lambda each: (-each.score, each.corner)):
        if not any(other in kept for other in part.replaced_by):
            kept.append(part)
    kept = [part for part in kept if not any(other in kept for other in part.replaced_by)]
    groups, seen = [], set()
    for part in kept:
        if id(part) not in seen:
            group = _reached(part, lambda each: [other for other in each.goes_on_in if other in kept])
            seen |= {id(each) for each in group}
            if len(group) > 1:  # a tile that sees several pieces of it says something of each
                said = {id(each) for each in group}
                others = [each for each in linked if each not in kept]
                group += [
                    each for each in others if said & {id(more) for more in _reached(each, lambda less: less.replaced_by)}
                ]
            groups.append(group)
    return groups


def _reached(start: Part, neighbours: Callable[[Part], list[Part]]) -> list[Part]:
    found, ahead = {id(start): start}, [start]
    while ahead:
        for each in neighbours(ahead.pop()):
            if id(each) not in found:
                found[id(each)] = each
                ahead.append(each)
    return list(found.values())


def put_together(group: list[Part]) -> Part:
    """One part of several: each tile's word where the pixels are in its core, or in that of a tile which has no word."""
    if len(group) == 1:
        return group[0]
    tiles = {id(part.tile): part.tile for part in group}
    bounds = np.array([part.bounds for part in group])
    left, top = bounds[:, :2].min(axis=0).tolist()
    right, bottom = bounds[:, 2:].max(axis=0).tolist()
    whole: np.ndarray = np.zeros((bottom - top, right - left), bool)
    for part in group:
        mask, (x, y) = part.mask.copy(), part.corner
        for tile in tiles.values():
            shared = _shared(part.bounds, tile.core)
            if tile is not part.tile and _is_region(shared):
                mask[shared[1] - y : shared[3] - y, shared[0] - x : shared[2] - x] = False
        whole[y - top : y - top + mask.shape[0], x - left : x - left + mask.shape[1]] |= mask
    box = mask_to_box(whole)
    x1, y1, x2, y2 = box.astype(int).tolist()
    best = max(group, key=lambda part: part.score)
    return dataclasses.replace(best, mask=whole[y1:y2, x1:x2], corner=(left + x1, top + y1), box=box + np.tile((left, top), 2))


def as_detections(parts: list[Part], image: LargeImage, config: ModelConfig) -> Detections:
    parts = sorted((part for part in parts if part.mask.size), key=lambda part: (-part.score, part.corner[::-1]))
    return Detections(
        boxes=np.array([part.box for part in parts], np.float32).reshape(-1, 4),
        scores=np.array([part.score for part in parts], np.float32),
        labels=np.array([part.label for part in parts], np.int32),
        small_masks=np.zeros((len(parts), 0, 0), np.float32),
        size=image.size,
        class_names=config.class_names,
        path=image.path,
        bitmaps=[part.mask for part in parts],
        corners=np.array([part.corner for part in parts], int).reshape(-1, 2),
        **_keypoints(parts, config),
    )


def _keypoints(parts: list[Part], config: ModelConfig) -> dict[str, Any]:
    """What `Detections` hold of keypoints; of an object in several tiles, what the one says that is surest of it."""
    count = config.keypoint_head.num_keypoints
    if not count:
        return {}
    found = np.array([part.keypoints for part in parts], np.float32).reshape(-1, count, 3)
    return {"keypoints": found, "keypoint_names": config.keypoint_names, "skeleton": config.skeleton}


def _shared(one: Region, other: Region) -> Region:
    return max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])


def _is_region(region: Region) -> bool:
    return region[0] < region[2] and region[1] < region[3]
