"""Moves an image and its masks by one map, so that each mask stays on its object.

Three steps, of which each is exact or happens once: a region of the image is resized (Pillow's wide filter where it shrinks,
as in `data.resize`); where it is rotated or bent, each new pixel reads it at a place of its own; quarter turns and mirrors
permute pixels. Masks go the same way, each in its own region: they are covered parts of pixels until the end, where half is
mask.

Coordinates are pixels, the first pixel covers 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

from maskrcnn.data.resize import by_channel, enlarge_region, resize_region
from maskrcnn.geometry.cutouts import Cutouts
from maskrcnn.geometry.keypoints import flip_keypoints, without_outside
from maskrcnn.geometry.masks import HALF, coverage, mask_to_box
from maskrcnn.geometry.rle import rle_area, rle_to_box, rle_to_mask
from maskrcnn.structures import Sample

_STEPS = 8  # of finding a bent point: shifts change slowly from pixel to pixel, and each step leaves a fraction of the error


@dataclass(frozen=True, eq=False)
class Bend:
    """Rotation and elastic deformation of a resized region, whose pixels they move to other places.

    Attributes:
        matrix: (2, 3) forward: x, y of the resized region → x, y of the image before it is turned.
        places: (h, w, 2) float32, x, y in the resized region that each pixel's center reads.
        inside: (h, w) bool, whether there is image at that place.
        reach: pixels by which `places` depart from the matrix, at most.
        ground: (C,) color where nothing of the image lies.
    """

    matrix: np.ndarray
    places: np.ndarray
    inside: np.ndarray
    reach: float
    ground: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Warp:
    """How an image of `source` (height, width) becomes another.

    Attributes:
        region: left, top, right, bottom of what is read of the source; pixels, not always whole.
        resized: (height, width) that the region is resized to.
        bend: what happens then, if anything.
        turns: quarter turns counter-clockwise that follow (`np.rot90`).
        mirrored: whether left becomes right at last.
        scale: by how much areas grow, of what is not cut off.
    """

    source: tuple[int, int]
    region: tuple[float, float, float, float]
    resized: tuple[int, int]
    bend: Bend | None = None
    turns: int = 0
    mirrored: bool = False
    scale: float = 1.0

    @property
    def is_whole(self) -> bool:
        """Whether all of the source is there in its own size, before it is bent."""
        height, width = self.source
        return self.region == (0.0, 0.0, float(width), float(height)) and self.resized == self.source

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the new image."""
        height, width = self.resized if self.bend is None else self.bend.places.shape[:2]
        return (width, height) if self.turns % 2 else (height, width)


class Part(NamedTuple):
    """What is to be seen of an object: a bitmap without empty rows and columns around, and where it lies."""

    mask: np.ndarray  # (h, w) bool
    left: int
    top: int

    @property
    def area(self) -> int:
        return int(np.count_nonzero(self.mask))


def warp_sample(sample: Sample, warp: Warp, *, min_visible: float, min_area: float) -> Sample:
    """The read sample after a warp. See `with_parts` for the two limits."""
    assert sample.image is not None
    parts = [warp_mask(rle, warp) for rle in sample.rles]
    keypoints = None if sample.keypoints is None else warp_keypoints(sample.keypoints, warp, sample.mirror)
    return with_parts(
        sample,
        warp_image(sample.image, warp),
        parts,
        whole=warp.scale * np.array([rle_area(rle) for rle in sample.rles]),
        min_visible=min_visible,
        min_area=min_area,
        keypoints=keypoints,
    )


def with_parts(
    sample: Sample,
    image: np.ndarray,
    parts: Sequence[Part | None],
    *,
    whole: np.ndarray,
    min_visible: float,
    min_area: float,
    keypoints: np.ndarray | None = None,
) -> Sample:
    """The sample with another image and what is to be seen of its objects there; boxes are measured on the masks.

    Args:
        sample: where labels and ids come from.
        image: (H, W, C) uint8, the new image.
        parts: N, None for an object that is gone.
        whole: (N,) square pixels that each object would have in the new image if all of it was seen.
        min_visible: with less than this part of it, an object becomes a crowd, see `AugmentConfig`.
        min_area: with fewer pixels it is dropped, unless it had no more before.
        keypoints: (N, K, 3) in the new image.
    """
    height, width = image.shape[:2]
    old_areas = np.array([rle_area(rle) for rle in sample.rles])
    least = np.minimum(min_area, old_areas)  # a speck that was annotated so stays
    visible = np.array([0 if part is None else part.area for part in parts], int)
    kept = {row: part for row, part in enumerate(parts) if part is not None and visible[row] >= least[row]}
    rows = np.array(list(kept), int)
    areas = visible[rows]
    corners = np.array([(part.left, part.top) for part in kept.values()]).reshape(-1, 2)
    sides = np.array([part.mask.shape[::-1] for part in kept.values()]).reshape(-1, 2)
    return sample.replace(
        image=image,
        size=(height, width),
        boxes=np.concatenate([corners, corners + sides], axis=1).astype(np.float32),
        labels=sample.labels[rows],
        crowd=sample.crowd[rows] | (areas < min_visible * whole[rows]),
        rles=Cutouts([part.mask for part in kept.values()], corners, (height, width)),
        areas=(sample.areas[rows] * (areas / old_areas[rows])).astype(np.float32),  # annotated ones differ a little from masks
        annotation_ids=sample.annotation_ids[rows],
        keypoints=None if keypoints is None else without_outside(keypoints[rows], (height, width)),
    )


def warp_image(image: np.ndarray, warp: Warp) -> np.ndarray:
    """The image (H, W, C) uint8 after a warp."""
    if not warp.is_whole:
        left, top, right, bottom = warp.region
        grows = warp.resized[0] >= bottom - top and warp.resized[1] >= right - left
        image = (enlarge_region if grows else resize_region)(image, warp.region, warp.resized)
    if warp.bend is not None:
        # With the border at its own color an image would fade to it within half a pixel of its edge: repeat the edge, and
        # then lay the ground where nothing is read.
        places = warp.bend.places - np.float32(0.5)
        image = by_channel(
            lambda pixels: cv2.remap(pixels, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), image
        )
        image[~warp.bend.inside] = np.rint(warp.bend.ground)
    image = turn_image(image, warp.turns)
    return mirror_image(image) if warp.mirrored else np.ascontiguousarray(image)


def mirror_image(image: np.ndarray) -> np.ndarray:
    """(H, W, C) with left and right exchanged, a copy; OpenCV moves RGB 30 times as fast as NumPy copies it backwards."""
    return cv2.flip(image, 1).reshape(image.shape)


def turn_image(image: np.ndarray, turns: int) -> np.ndarray:
    """(H, W, C) after so many quarter turns counter-clockwise (`np.rot90`)."""
    codes = (None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
    if image.shape[2] > 4:  # which OpenCV does not transpose
        return np.rot90(image, turns)
    code = codes[turns % 4]
    if code is None:
        return image
    turned = cv2.rotate(image, code)
    return turned.reshape(*turned.shape[:2], image.shape[2])


def warp_keypoints(keypoints: np.ndarray, warp: Warp, mirror: Sequence[int]) -> np.ndarray:
    """Keypoints (N, K, 3) after a warp; those that it moves out of the image, or that rotation cuts off, are zeros.

    Args:
        mirror: which keypoint each one is in a mirror.
    """
    left, top, right, bottom = warp.region
    units = np.array([right - left, bottom - top]) / warp.resized[::-1]  # a resized pixel, in the source's
    places = (keypoints[..., :2] - (left, top)) / units  # (N, K, 2) x, y
    height, width = warp.resized
    seen = keypoints[..., 2]
    if warp.bend is not None:
        height, width = warp.bend.places.shape[:2]
        places = _bent(places, warp.bend)
        x, y = np.floor(places).astype(int).transpose(2, 0, 1)
        seen = np.where(warp.bend.inside[y.clip(0, height - 1), x.clip(0, width - 1)], seen, 0)
    for _ in range(warp.turns):
        places = np.stack([places[..., 1], width - places[..., 0]], axis=-1)
        height, width = width, height
    moved = np.concatenate([places, seen[..., None]], axis=-1).astype(np.float32)
    return without_outside(flip_keypoints(moved, width, mirror) if warp.mirrored else moved, (height, width))


def _bent(points: np.ndarray, bend: Bend) -> np.ndarray:
    """Where a bend moves points (N, K, 2) of the resized region: there `bend.places` reads them."""
    linear = bend.matrix[:, :2]
    moved = points @ linear.T + bend.matrix[:, 2]
    for _ in range(_STEPS if bend.reach and moved.size else 0):
        read = cv2.remap(bend.places, (moved - 0.5).astype(np.float32), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        moved = moved - (read - points) @ linear.T
    return moved


def warp_mask(rle: dict[str, Any], warp: Warp) -> Part | None:
    """What a warp leaves of a mask; None where that is nothing."""
    left, top, right, bottom = warp.region
    unit_x, unit_y = (right - left) / warp.resized[1], (bottom - top) / warp.resized[0]  # a resized pixel, in the source's
    x1, y1, x2, y2 = rle_to_box(rle).tolist()
    if warp.bend is None and warp.is_whole:
        mask = rle_to_mask(rle)[int(y1) : int(y2), int(x1) : int(x2)].copy()  # and let go of the whole one
        return _turned(Part(mask, int(x1), int(y1)), warp) if x1 < x2 else None
    resized = ((x1 - left) / unit_x, (y1 - top) / unit_y, (x2 - left) / unit_x, (y2 - top) / unit_y)
    x1, y1, x2, y2 = _whole(resized, warp.resized)
    if x1 >= x2 or y1 >= y2:
        return None
    box = np.array([left + x1 * unit_x, top + y1 * unit_y, left + x2 * unit_x, top + y2 * unit_y])
    covered = coverage(rle, box, (y2 - y1, x2 - x1))
    if warp.bend is None:
        part = tight(covered >= HALF, x1, y1)
        return None if part is None else _turned(part, warp)
    ends = cv2.transform(np.array([[(x1, y1), (x1, y2), (x2, y1), (x2, y2)]], float), warp.bend.matrix)[0]
    reach = warp.bend.reach + 1
    bounds = (*(ends.min(axis=0) - reach).tolist(), *(ends.max(axis=0) + reach).tolist())
    offset = np.array([x1 + 0.5, y1 + 0.5], np.float32)
    x1, y1, x2, y2 = _whole(bounds, warp.bend.places.shape[:2])
    if x1 >= x2 or y1 >= y2:
        return None
    places = warp.bend.places[y1:y2, x1:x2] - offset
    covered = cv2.remap(covered.astype(np.float32), places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)  # zeros
    part = tight((covered >= HALF) & warp.bend.inside[y1:y2, x1:x2], x1, y1)
    return None if part is None else _turned(part, warp)


def _whole(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A box (xyxy) enlarged to whole pixels, but for rounding, and cut to an image of `size` (height, width)."""
    x1, y1, x2, y2 = box
    height, width = size
    return (
        max(0, math.floor(x1 + 1e-6)),
        max(0, math.floor(y1 + 1e-6)),
        min(width, math.ceil(x2 - 1e-6)),
        min(height, math.ceil(y2 - 1e-6)),
    )


def tight(mask: np.ndarray, left: int, top: int) -> Part | None:
    """A bitmap that lies at (left, top), without its empty rim; None where nothing is left."""
    x1, y1, x2, y2 = mask_to_box(mask).astype(int).tolist()
    return Part(mask[y1:y2, x1:x2], left + x1, top + y1) if x2 > x1 else None


def _turned(part: Part, warp: Warp) -> Part:
    """The part where the image's turns and mirror move it."""
    mask, left, top = part
    height, width = warp.resized if warp.bend is None else warp.bend.places.shape[:2]
    for _ in range(warp.turns):
        left, top = top, width - left - mask.shape[1]
        mask, height, width = np.rot90(mask), width, height
    if warp.mirrored:
        mask, left = mask[:, ::-1], width - left - mask.shape[1]
    return Part(mask, left, top)
