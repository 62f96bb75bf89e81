"""Changes to an image and its truth together, for training. Samples go in read and come out new."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from maskrcnn.config.augment import AUGMENTATIONS, AugmentConfig
from maskrcnn.config.model import ImageConfig
from maskrcnn.data.copy_paste import copy_paste
from maskrcnn.data.reading import read_part
from maskrcnn.data.resize import by_channel, fitted_size
from maskrcnn.data.warp import Bend, Warp, mirror_image, tight, warp_sample, with_parts
from maskrcnn.geometry.boxes import flip_boxes
from maskrcnn.geometry.keypoints import flip_keypoints
from maskrcnn.geometry.rle import flip_rle, rle_area, rle_to_mask
from maskrcnn.structures import Sample

Augment = Callable[[Sample, np.random.Generator], Sample]


def make_augment(what: Any, image_config: ImageConfig, samples: Sequence[Sample] = ()) -> Augment | None:
    """What changes each image of a training, ready for the loader and its processes.

    Args:
        what: None or `"none"`; one of `AUGMENTATIONS`; an `AugmentConfig`; a pipeline of Albumentations 2, which is given the
            image and the masks, and whose boxes are measured on the masks; or a function of (sample, rng).
        image_config: how the model sees images: jitter counts from that scale, crops fit in its frames.
        samples: the data set's, from which copy-paste takes its second image.

    Returns:
        A function of (read sample, rng) to a new read sample; None for no change.

    Raises:
        ValueError: for an unknown word; for sides that no frame holds; for Albumentations before 2.
    """
    if what is None or what == "none":
        return None
    if what == "flip":
        return random_flip
    if isinstance(what, str):
        if what not in AUGMENTATIONS:
            raise ValueError(f"Unknown augmentation {what!r}; possible: none, {', '.join(AUGMENTATIONS)}.")
        what = AUGMENTATIONS[what]
    if isinstance(what, AugmentConfig):
        return Augmentation(what, image_config, tuple(samples) if what.copy_paste else ())
    if type(what).__module__.partition(".")[0] == "albumentations" and hasattr(what, "to_dict"):
        return AlbumentationsAugmentation(what)
    if callable(what):
        return what
    raise ValueError(
        f"An augmentation is none, {', '.join(AUGMENTATIONS)}, an AugmentConfig, a pipeline of Albumentations or a function "
        f"of (sample, rng); received {type(what).__name__}."
    )


def flip_horizontal(sample: Sample) -> Sample:
    """The sample seen in a mirror: image, boxes, masks and keypoints. Its image has been read."""
    assert sample.image is not None
    return sample.replace(
        image=mirror_image(sample.image),
        boxes=flip_boxes(sample.boxes, sample.size[1]),
        rles=[flip_rle(rle) for rle in sample.rles],
        keypoints=None if sample.keypoints is None else flip_keypoints(sample.keypoints, sample.size[1], sample.mirror),
    )


def random_flip(sample: Sample, rng: np.random.Generator, *, probability: float = 0.5) -> Sample:
    """`flip_horizontal`, or the sample as it is; Fast R-CNN's only augmentation, and Mask R-CNN's but for the scale."""
    return flip_horizontal(sample) if rng.random() < probability else sample


@dataclass(frozen=True, eq=False)
class Augmentation:
    """An `AugmentConfig` at work: a function of (read sample, rng).

    Attributes:
        config: how images vary.
        image_config: how the model sees them.
        samples: whose objects copy-paste takes.

    Raises:
        ValueError: for sides that no frame of `image_config` holds.
    """

    config: AugmentConfig
    image_config: ImageConfig
    samples: Sequence[Sample] = ()

    def __post_init__(self) -> None:
        largest = max((self._crop if self.config.jitter else 0, *self.config.short_sides))
        if largest > self.image_config.long_side:
            raise ValueError(
                f"crop and short_sides are at most the model's long side, {self.image_config.long_side}; received {largest}."
            )

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        limits = {"min_visible": self.config.min_visible, "min_area": self.config.min_area}
        changed = self._moved(sample, rng, limits)
        if len(self.samples) and rng.random() < self.config.copy_paste:
            drawn = self.samples[int(rng.integers(len(self.samples)))]
            other = read_part(drawn, rng, crop_side=self.config.crop_side, image_config=self.image_config)
            changed = copy_paste(changed, self._moved(other, rng, limits), rng, **limits)
        assert changed.image is not None
        return changed.replace(image=change_colours(changed.image, self.config, rng))

    @property
    def largest_zoom(self) -> float:
        """How much larger than the model sees an image it becomes at most."""
        if self.config.short_sides:
            return max(self.config.short_sides) / self.image_config.short_side
        return max(1.0, *self.config.jitter) if self.config.jitter else 1.0

    @property
    def _crop(self) -> int:
        return self.config.crop or self.image_config.short_side

    def _moved(self, sample: Sample, rng: np.random.Generator, limits: dict[str, float]) -> Sample:
        moved = warp_sample(sample, self.warp(sample.size, rng), **limits)
        if self.config.jitter:
            stride = self.image_config.stride
            return moved.replace(fitted=True, frame=(-(-self._crop // stride) * stride,) * 2)
        return moved.replace(fitted=bool(sample.fitted or self.config.short_sides))

    def warp(self, source: tuple[int, int], rng: np.random.Generator) -> Warp:
        """A random way for an image of `source` (height, width): scale, crop, rotation, bending, turns and mirror."""
        config, target = self.config, self._target(source, rng)
        crop = (min(target[0], self._crop), min(target[1], self._crop)) if config.jitter else target
        top, left = (int(rng.integers(whole - part + 1)) for whole, part in zip(target, crop))
        angle = math.radians(rng.uniform(-config.rotation, config.rotation))
        elastic = rng.random() < config.elastic
        # Two mirrors are half a turn, and so on: whatever was drawn, some quarter turns and at most one mirror do it.
        across, down = rng.random() < config.horizontal_flip, rng.random() < config.vertical_flip
        turns = (int(rng.integers(1, 4)) if rng.random() < config.turns else 0) + 2 * down
        units = np.array(source) / target  # a pixel of the target, in the source's
        common: dict[str, Any] = {
            "source": source,
            "turns": turns % 4,
            "mirrored": bool(across ^ down),
            "scale": float(1 / units.prod()),
        }
        if not angle and not elastic:
            edges = np.array([left, top, left + crop[1], top + crop[0]]) * np.tile(units[::-1], 2)
            region = np.minimum(edges, np.tile(source[::-1], 2)).tolist()  # rounding must not lead beyond the last pixel
            return Warp(region=tuple(region), resized=crop, **common)
        # Bending reads four pixels whatever the scale, so what shrinks is shrunk before; what grows, grows by bending itself.
        resized = target if units.prod() > 1 else source
        ratio = np.array(target[::-1]) / resized[::-1]  # x, y
        centre = np.array(target[::-1]) / 2
        rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        shift = centre - rotation @ centre - (left, top)
        ahead = np.concatenate([rotation * ratio, shift[:, None]], axis=1)
        shifts = _shifts(crop, config, rng) if elastic else np.zeros((*crop, 2), np.float32)
        pixels = np.stack(np.meshgrid(np.arange(crop[1]) + 0.5, np.arange(crop[0]) + 0.5), axis=2).astype(np.float32) + shifts
        places = cv2.transform(pixels, cv2.invertAffineTransform(ahead))
        if not angle:  # what was smoothed near the edges may read a little beyond them
            places = np.clip(places, 0.5, np.array(resized[::-1], np.float32) - 0.5)
        ground = self.image_config.mean if self.image_config.padding == "mean" else (0.0,) * self.image_config.channels
        inside = ((places >= 0) & (places <= resized[::-1])).all(axis=2)
        bend = Bend(ahead, places, inside, reach=float(np.abs(shifts).max()), ground=ground)
        return Warp(region=(0, 0, source[1], source[0]), resized=resized, bend=bend, **common)

    def _target(self, source: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
        """(height, width) of the whole image at the scale that was drawn."""
        if self.config.short_sides:
            side = int(rng.choice(self.config.short_sides))
            return fitted_size(*source, dataclasses.replace(self.image_config, short_side=side))[0]
        if not self.config.jitter:
            return source
        height, width = fitted_size(*source, self.image_config)[0]
        factor = rng.uniform(self.config.jitter[0], self.config.jitter[1])
        return max(1, round(height * factor)), max(1, round(width * factor))


def _shifts(size: tuple[int, int], config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """(h, w, 2) float32, smooth random shifts x, y in pixels; none at the edges, where nothing could be read from beyond."""
    height, width = (max(3, round(side / config.elastic_spacing) + 1) for side in size)
    grid = np.zeros((height, width, 2), np.float32)
    spacing = min(config.elastic_spacing, *size)
    grid[1:-1, 1:-1] = rng.normal(0, config.elastic_shift * spacing, (height - 2, width - 2, 2)).clip(-spacing / 6, spacing / 6)
    return cv2.resize(grid, size[::-1], interpolation=cv2.INTER_CUBIC)


def change_colours(image: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """An image (H, W, C) uint8 in other light, stain, focus; a new array, or the same one where nothing changes.

    Hue, saturation and the channels' own factors are for the colors of three channels; other channels are no colors.
    """
    is_rgb = image.shape[2] == 3
    coloured = is_rgb and bool((image[..., 0] != image[..., 1]).any() or (image[..., 1] != image[..., 2]).any())
    if coloured and (config.saturation or config.hue):
        image = cv2.transform(image, _colour_matrix(_factor(config.saturation, rng), rng.uniform(-config.hue, config.hue)))
    factors = np.array([_factor(config.channels, rng) for _ in range(3)]) if coloured else np.ones(1)
    contrast, added = _factor(config.contrast, rng), rng.uniform(-config.brightness, config.brightness)
    gamma, inverted = math.exp(rng.uniform(-config.gamma, config.gamma)), rng.random() < config.invert
    if inverted or max(config.channels, config.contrast, config.brightness, config.gamma) > 0:
        mean = (float(image.mean()) / 255) ** gamma
        curve = ((np.arange(256) / 255) ** gamma - mean) * contrast + mean + added
        table = np.rint(255 * (curve[:, None] * factors).clip(0, 1)).astype(np.uint8)  # (256, 3), or (256, 1) for all channels
        image = cv2.LUT(image, (255 - table if inverted else table)[:, None]).reshape(image.shape)
    if rng.random() < config.blur:
        sigma = max(0.1, rng.uniform(0, config.blur_sigma))
        image = by_channel(lambda pixels: cv2.GaussianBlur(pixels, (0, 0), sigma), image)
    if rng.random() < config.noise:
        shape = (*image.shape[:2], 1 if is_rgb else image.shape[2])  # channels that are no colors were taken one by one
        noise = rng.standard_normal(shape, np.float32) * np.float32(rng.uniform(0, config.noise_sigma))
        image = np.rint(image + noise).clip(0, 255).astype(np.uint8)
    return image


def _factor(width: float, rng: np.random.Generator) -> float:
    return rng.uniform(1 - width, 1 + width)


def _colour_matrix(saturation: float, hue: float) -> np.ndarray:
    """(3, 3) for RGB: away from or towards gray by a factor, then about the axis of grays by degrees; grays stay."""
    luma = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    stretch = saturation * np.eye(3) + (1 - saturation) * luma
    angle = math.radians(hue)
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    turn = math.cos(angle) * np.eye(3) + (1 - math.cos(angle)) / 3 + math.sin(angle) * across  # Rodrigues' formula
    return turn @ stretch


class AlbumentationsAugmentation:
    """A pipeline of Albumentations 2 as a function of (read sample, rng). Crowds stay crowds; objects without a pixel go.

    Raises:
        ValueError: for a pipeline whose randomness cannot be handed in, as before version 2, or with `bbox_params`; in a call,
            for an image that comes back as anything but (H, W, C) uint8 of the channels it had.
    """

    def __init__(self, pipeline: Any) -> None:
        if not hasattr(pipeline, "set_random_seed"):
            raise ValueError("Albumentations are wanted from version 2 on, which take a seed; received an older pipeline.")
        if getattr(pipeline, "processors", None):  # they ask for boxes and labels in each call
            raise ValueError(
                "A pipeline is given images and masks alone, and boxes are measured on those: leave out bbox_params."
            )
        self.pipeline = pipeline

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if sample.keypoints is not None:
            raise ValueError(
                "A pipeline of Albumentations is given images and masks alone and would leave keypoints behind; choose flip, "
                "photos, microscopy or an AugmentConfig for data with keypoints."
            )
        pipeline = copy.deepcopy(self.pipeline)  # it holds its random state, and the loader's threads share it
        pipeline.set_random_seed(int(rng.integers(2**31)))
        truth = {"masks": [rle_to_mask(rle).astype(np.uint8) for rle in sample.rles]} if sample.rles else {}
        answer = pipeline(image=sample.image, **truth)
        image = answer["image"]
        assert sample.image is not None
        channels = sample.image.shape[2]
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != channels:
            raise ValueError(
                f"A pipeline gives images (H, W, {channels}) uint8; received {type(image).__name__} "
                f"{getattr(image, 'shape', '')} {getattr(image, 'dtype', '')}. "
                "Leave out Normalize and ToTensorV2: the model does that itself."
            )
        parts = [tight(np.asarray(mask) != 0, 0, 0) for mask in answer.get("masks", ())]
        whole = np.array([rle_area(rle) for rle in sample.rles])
        return with_parts(sample, np.ascontiguousarray(image), parts, whole=whole, min_visible=0.0, min_area=1.0)
