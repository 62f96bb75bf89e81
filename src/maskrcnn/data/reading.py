"""Squares of large images for training, read around an object, with the truth cut to them."""

from __future__ import annotations

import math

import numpy as np

from maskrcnn.config.model import ImageConfig
from maskrcnn.data.resize import fitted_size
from maskrcnn.data.warp import Warp, warp_keypoints, warp_mask, with_parts
from maskrcnn.geometry.keypoints import without_outside
from maskrcnn.geometry.masks import mask_to_box
from maskrcnn.geometry.rle import cutout_rle, rle_area, rle_region
from maskrcnn.images.images import read_image, read_reduced
from maskrcnn.images.large import Region
from maskrcnn.images.opening import LARGE, is_zarr, open_large, read_whole_zarr
from maskrcnn.structures import Sample


def read_part(
    sample: Sample,
    rng: np.random.Generator,
    *,
    crop_side: int,
    image_config: ImageConfig,
    zoom: float | None = None,
) -> Sample:
    """The sample read for training: an image of usual size whole, of a large one a square near an object.

    Args:
        sample: not read.
        rng: chooses the square.
        crop_side: see `AugmentConfig.crop_side`.
        image_config: of the model.
        zoom: images are decoded no larger than the model sees them times this, see `read_reduced`; None: whole.
    """
    in_part = max(sample.size) > crop_side if crop_side else math.prod(sample.size) >= LARGE
    if not in_part:
        return read_sample(sample, image_config) if zoom is None else _reduced(sample, image_config, zoom)
    return read_near_object(sample, rng, side=crop_side or image_config.short_side, image_config=image_config)


def read_near_object(
    sample: Sample, rng: np.random.Generator, *, side: int, image_config: ImageConfig, min_visible: float = 0.1
) -> Sample:
    """A square of a large image as a sample of its own, around one of its objects; the rest of the file is not read.

    The object is drawn evenly and lies anywhere in the square; one that is larger shows the part around one of its pixels'
    places. Objects that reach beyond the square are cut; of which less than `min_visible` is left, become crowds, see
    `AugmentConfig`.

    Args:
        sample: not read.
        rng: chooses the object and its place.
        side: of the square, in pixels of the image.
        image_config: of the model.
        min_visible: part of an object's area.

    Returns:
        The sample of the square, read. An image that is no larger is read whole.
    """
    height, width = sample.size
    region = (0, 0, width, height) if max(height, width) <= side else _region_near(sample, rng, side)
    left, top, right, bottom = region
    if sample.image is not None:
        image = sample.image[top:bottom, left:right]
    else:
        with open_large(sample.path, channels=image_config.channels, scaling=image_config.scaling) as large:
            if large.size != sample.size:
                raise ValueError(f"{sample.path} had height, width {sample.size} when it was checked; now {large.size}.")
            image = large.read(region)
    return cut_sample(sample, region, image, min_visible=min_visible)


def _region_near(sample: Sample, rng: np.random.Generator, side: int) -> Region:
    """A region of `side` around a random object, inside the image; anywhere where there is no object."""
    rows = np.flatnonzero(~sample.crowd)
    box = sample.boxes[rng.choice(rows)] if len(rows) else np.array([0, 0, *sample.size[::-1]], np.float32)
    starts = []
    for low, high, length in zip(box[:2].tolist(), box[2:].tolist(), sample.size[::-1]):
        first, last = sorted(
            (math.floor(high) - side, math.ceil(low))
        )  # from the object at one edge to the object at the other
        starts.append(min(max(int(rng.integers(first, last + 1)), 0), max(0, length - side)))
    left, top = starts
    return left, top, min(left + side, sample.size[1]), min(top + side, sample.size[0])


def cut_sample(sample: Sample, region: Region, image: np.ndarray, *, min_visible: float) -> Sample:
    """What a region shows of a sample: masks are cut, boxes measured on what is left of them.

    Args:
        sample: the whole image's.
        region: inside the image.
        image: (h, w, C) uint8, the region's pixels.
        min_visible: an object of which less is left becomes a crowd; one without a pixel goes.
    """
    left, top, right, bottom = region
    size = (bottom - top, right - left)
    kept, boxes, rles, areas, crowd = [], [], [], [], []
    near = (sample.boxes[:, :2] < (right, bottom)).all(axis=1) & (sample.boxes[:, 2:] > (left, top)).all(axis=1)
    for row in np.flatnonzero(near).tolist():
        mask, whole = rle_region(sample.rles[row], region)
        box = mask_to_box(mask)
        if not box.any():
            continue
        visible = np.count_nonzero(mask) / whole
        kept.append(row)
        boxes.append(box)
        x1, y1, x2, y2 = box.astype(int).tolist()
        rles.append(cutout_rle(mask[y1:y2, x1:x2], (x1, y1), size))
        areas.append(sample.areas[row] * visible)
        crowd.append(bool(sample.crowd[row]) or visible < min_visible)
    return sample.replace(
        image=np.ascontiguousarray(image),
        size=size,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=sample.labels[kept],
        crowd=np.array(crowd, bool),
        rles=rles,
        areas=np.array(areas, np.float32),
        annotation_ids=sample.annotation_ids[kept],
        keypoints=_moved(sample.keypoints_of(kept), (left, top), size),
    )


def _moved(keypoints: np.ndarray | None, corner: tuple[int, int], size: tuple[int, int]) -> np.ndarray | None:
    """Keypoints (N, K, 3) of the whole image in the region of `size` that begins at `corner` (left, top)."""
    return None if keypoints is None else without_outside(keypoints - np.array([*corner, 0], np.float32), size)


def _reduced(sample: Sample, image_config: ImageConfig, zoom: float) -> Sample:
    """The sample read at the size that its decoder gives for the least effort, its truth at the same."""
    wanted = [side * zoom for side in fitted_size(*sample.size, image_config)[0]]
    if sample.image is not None or is_zarr(sample.path) or any(2 * low > side for low, side in zip(wanted, sample.size)):
        return read_sample(sample, image_config)
    least = math.ceil(wanted[0]), math.ceil(wanted[1])
    image = read_reduced(
        sample.path, sample.size, least, channels=image_config.channels, scaling=image_config.scaling
    )  # fmt: skip
    height, width = sample.size
    size = image.shape[0], image.shape[1]
    if size == sample.size:
        return sample.replace(image=image)
    scale = size[0] * size[1] / (height * width)
    warp = Warp(source=sample.size, region=(0.0, 0.0, float(width), float(height)), resized=size, scale=scale)
    parts = [warp_mask(rle, warp) for rle in sample.rles]
    whole = scale * np.array([rle_area(rle) for rle in sample.rles])
    keypoints = None if sample.keypoints is None else warp_keypoints(sample.keypoints, warp, sample.mirror)
    return with_parts(sample, image, parts, whole=whole, min_visible=0.0, min_area=1.0, keypoints=keypoints)


def read_sample(sample: Sample, image_config: ImageConfig) -> Sample:
    """The sample with its image read as a model takes it, unless it brings one along.

    Raises:
        ValueError: for an image that cannot be read, or of other channels than the model's.
    """
    if sample.image is None and is_zarr(sample.path):  # read in regions alone; this one is all of it
        image = read_whole_zarr(sample.path, channels=image_config.channels, scaling=image_config.scaling)
        return sample.replace(image=image)
    if sample.image is None:
        image = read_image(sample.path, channels=image_config.channels, scaling=image_config.scaling)
        return sample.replace(image=image)
    if sample.image.shape[2:] != (image_config.channels,):
        raise ValueError(
            f"{sample.path} brings an image of shape {sample.image.shape}; the model takes {image_config.channels} channels."
        )
    return sample
