"""Brings pictures to the model's size and pads them to one of a few frames."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image

from maskrcnn.config import ImageConfig


def fit_to_frame(image: np.ndarray, image_config: ImageConfig) -> tuple[np.ndarray, float]:
    """Resizes a picture so that its short side is `short_side`, or its long side `long_side` where that comes first.

    Bilinear, and when shrinking with as wide a filter as the scale asks for (Pillow): detectron2's way, whose published
    weights expect it. OpenCV's bilinear reads four pixels whatever the scale and turns fine texture into noise.

    Args:
        image: (H, W, 3) uint8.
        image_config: the sides.

    Returns:
        (h, w, 3) uint8 and the scale; h and w are H and W times it, rounded half up, at least 1.
    """
    height, width = image.shape[:2]
    scale = min(image_config.short_side / min(height, width), image_config.long_side / max(height, width))
    new_height, new_width = (max(1, int(side * scale + 0.5)) for side in (height, width))
    if (new_height, new_width) == (height, width):
        return image, scale
    resized = Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BILINEAR)
    return np.asarray(resized), scale


def choose_frame(sizes: Iterable[tuple[int, int]], frames: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """The frame (height, width) of the least area that holds pictures of all these sizes.

    Raises:
        ValueError: if none does.
    """
    sizes, frames = list(sizes), list(frames)
    height, width = max(size[0] for size in sizes), max(size[1] for size in sizes)
    large_enough = [frame for frame in frames if frame[0] >= height and frame[1] >= width]
    if not large_enough:
        raise ValueError(f"No frame holds {height}×{width} pixels (height × width); possible: {frames}.")
    return min(large_enough, key=lambda frame: frame[0] * frame[1])


def pad_to_frame(image: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """A picture (h, w, 3) in the upper left of a frame (height, width), zeros at its bottom and right."""
    padded = np.zeros((*frame, 3), image.dtype)
    padded[: image.shape[0], : image.shape[1]] = image
    return padded
