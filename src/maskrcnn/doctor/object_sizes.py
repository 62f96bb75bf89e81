"""How large objects are as the model sees them, and how well its anchors fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskrcnn.config.model import AnchorConfig, ImageConfig
from maskrcnn.data.dataset import Dataset
from maskrcnn.data.resize import fitted_size


@dataclass(frozen=True, eq=False)
class ObjectSizes:
    """The sides of all objects but crowds.

    Attributes:
        sides: (N, 2) float64 width, height of each object's box, original pixels.
        images: (N,) int64 row of its image in `image_sizes`.
        image_sizes: P times (height, width).
    """

    sides: np.ndarray
    images: np.ndarray
    image_sizes: list[tuple[int, int]]

    def in_frame(self, image_config: ImageConfig) -> np.ndarray:
        """(N, 2) float64 width, height, pixels of the frame."""
        scales = {size: _scale(size, image_config) for size in set(self.image_sizes)}
        return self.sides * np.array([scales[size] for size in self.image_sizes]).reshape(-1, 2)[self.images]

    def per_image(self) -> np.ndarray:
        """(P,) int64 number of objects."""
        return np.bincount(self.images, minlength=len(self.image_sizes))


def measure_objects(dataset: Dataset) -> ObjectSizes:
    """The sizes of a data set's objects; no image is read."""
    boxes = [sample.boxes[~sample.crowd].astype(np.float64) for sample in dataset.samples]
    joined = np.concatenate([np.zeros((0, 4)), *boxes])
    return ObjectSizes(
        sides=joined[:, 2:] - joined[:, :2],
        images=np.repeat(np.arange(len(boxes)), [len(rows) for rows in boxes]),
        image_sizes=[sample.size for sample in dataset.samples],
    )


def _scale(size: tuple[int, int], image_config: ImageConfig) -> tuple[float, float]:
    """Pixels of the frame for one of the image, along x and along y."""
    (height, width), _ = fitted_size(*size, image_config)
    return width / size[1], height / size[0]


@dataclass(frozen=True)
class Coverage:
    """How well the best anchor of each object fits."""

    mean_iou: float
    over_50: float  # part of the objects whose best anchor has an IoU of 0.5 or more
    over_70: float  # the same for 0.7, from where the RPN takes an anchor for the object's


def cover(sides: np.ndarray, anchors: AnchorConfig) -> Coverage:
    """How well anchors fit objects of these sides (N, 2), pixels of the frame, N > 0."""
    best = np.max([best_ious(sides, level, anchors.ratios) for level in anchors.sizes], axis=0)
    return Coverage(float(best.mean()), float((best >= 0.5).mean()), float((best >= 0.7).mean()))


def best_ious(sides: np.ndarray, sizes: tuple[float, ...], ratios: tuple[float, ...]) -> np.ndarray:
    """(N,) IoU of each object with the best of the anchors, were that right on top of it: what width and height alone decide.

    Args:
        sides: (N, 2) width, height.
        sizes: square roots of the anchors' areas.
        ratios: their height / width; every size comes with every ratio.
    """
    size, ratio = (grid.reshape(-1) for grid in np.meshgrid(sizes, ratios))
    anchors = np.stack([size / np.sqrt(ratio), size * np.sqrt(ratio)], axis=-1)  # (A, 2)
    shared = np.minimum(sides[:, None], anchors).prod(axis=-1)  # (N, A)
    return (shared / (sides.prod(axis=-1)[:, None] + anchors.prod(axis=-1) - shared)).max(axis=1)
