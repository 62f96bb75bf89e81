"""Images and masks brought to a size as matterport/Mask_RCNN does, under its names.

Boxes are (y1, x1, y2, x2) in pixels, y2 and x2 one past the last; masks (H, W, N).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from maskrcnn.data.resize import resize_black_around
from maskrcnn.geometry.paste import paste

Padding = list[tuple[int, int]]


def resize_image(
    image: np.ndarray,
    min_dim: int | None = None,
    max_dim: int | None = None,
    min_scale: float | None = None,
    mode: str = "square",
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, tuple[int, int, int, int], float, Padding, tuple[int, int, int, int] | None]:
    """Resizes an image and pads it with zeros, or crops it.

    Args:
        image: (H, W, C).
        min_dim: an image is enlarged until its shorter side has so many pixels; it is never shrunk to that.
        max_dim: in the mode "square" the longer side has no more.
        min_scale: the least scale, whatever `min_dim` says.
        mode: "none" leaves it as it is; "square" pads to `max_dim` × `max_dim`; "pad64" to multiples of 64; "crop" takes
            `min_dim` × `min_dim` pixels at a random place.
        rng: of that place.

    Returns:
        The image; its window (y1, x1, y2, x2) in the padded one; the scale; the padding ((top, bottom), (left, right), (0, 0));
        and in the mode "crop" (y, x, height, width), else None.

    Raises:
        ValueError: another mode, or one without the side that it needs.
    """
    height, width = image.shape[:2]
    padding, crop = [(0, 0), (0, 0), (0, 0)], None
    if mode == "none":
        return image, (0, 0, height, width), 1.0, padding, crop
    _check(mode, min_dim, max_dim)
    scale = max(1.0, (min_dim or 0) / min(height, width), min_scale or 0.0)
    if max_dim and mode == "square" and round(max(height, width) * scale) > max_dim:
        scale = max_dim / max(height, width)
    if scale != 1:
        height, width = round(height * scale), round(width * scale)
        image = resize_black_around(image, (height, width))
    if mode == "crop":
        assert min_dim is not None
        rng = rng or np.random.default_rng()
        y, x = (int(rng.integers(0, side - min_dim + 1)) for side in (height, width))
        crop = (y, x, min_dim, min_dim)
        return image[y : y + min_dim, x : x + min_dim], (0, 0, min_dim, min_dim), scale, padding, crop
    goal = [max_dim or 0] * 2 if mode == "square" else [-(-side // 64) * 64 for side in (height, width)]
    before = [(goal[0] - height) // 2, (goal[1] - width) // 2]
    padding = [(before[0], goal[0] - height - before[0]), (before[1], goal[1] - width - before[1]), (0, 0)]
    window = (before[0], before[1], before[0] + height, before[1] + width)
    return np.pad(image, padding), window, scale, padding, crop


def _check(mode: str, min_dim: int | None, max_dim: int | None) -> None:
    if mode not in ("square", "pad64", "crop"):
        raise ValueError(f"mode is 'none', 'square', 'pad64' or 'crop'; received {mode!r}.")
    if mode == "square" and not max_dim:
        raise ValueError("The mode 'square' needs max_dim, the side of the square.")
    if mode == "crop" and not min_dim:
        raise ValueError("The mode 'crop' needs min_dim, the side of the crop.")
    if mode == "pad64" and (min_dim or 0) % 64:
        raise ValueError(f"In the mode 'pad64' min_dim is a multiple of 64; received {min_dim}.")


def resize_mask(mask: np.ndarray, scale: float, padding: Any, crop: Any = None) -> np.ndarray:
    """Masks (H, W, N) as `resize_image` made their image: the nearest pixel, then padded or cropped.

    Args:
        scale, padding, crop: what `resize_image` returned.
    """
    size = round(mask.shape[0] * scale), round(mask.shape[1] * scale)
    if size != mask.shape[:2]:
        mask = _by_mask(mask, size, cv2.INTER_NEAREST_EXACT).astype(mask.dtype)
    if crop is not None:
        y, x, height, width = crop
        return mask[y : y + height, x : x + width]
    return np.pad(mask, padding)


def minimize_mask(bbox: np.ndarray, mask: np.ndarray, mini_shape: Any) -> np.ndarray:
    """What masks (H, W, N) hold of their boxes (N, 4), each at `mini_shape` (height, width): (height, width, N) bool.

    Raises:
        ValueError: a box without area.
    """
    height, width = (int(side) for side in mini_shape[:2])
    small = np.zeros((height, width, mask.shape[2]), bool)
    for number in range(mask.shape[2]):
        top, left, bottom, right = np.asarray(bbox[number][:4], int)
        part = mask[top:bottom, left:right, number]
        if part.size == 0:
            raise ValueError(f"Mask {number} has a box without area: {list(bbox[number][:4])}.")
        small[:, :, number] = _around(part, (height, width))
    return small


def expand_mask(bbox: np.ndarray, mini_mask: np.ndarray, image_shape: Any) -> np.ndarray:
    """Undoes `minimize_mask`, as far as the small masks know: (H, W, N) bool of an image of `image_shape`."""
    mask = np.zeros((*(int(side) for side in image_shape[:2]), mini_mask.shape[2]), bool)
    for number in range(mini_mask.shape[2]):
        top, left, bottom, right = np.asarray(bbox[number][:4], int)
        mask[top:bottom, left:right, number] = _around(mini_mask[:, :, number], (bottom - top, right - left))
    return mask


def unmold_mask(mask: np.ndarray, bbox: np.ndarray, image_shape: Any) -> np.ndarray:
    """One soft mask (h, w) of the network, stretched over its box and cut at 0.5: (H, W) bool."""
    whole = np.zeros(tuple(int(side) for side in image_shape[:2]), bool)
    top, left, bottom, right = bbox
    paste(np.asarray(mask, np.float32), np.array([left, top, right, bottom], np.float32), out=whole)
    return whole


def _around(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) of 0 and 1, read bilinearly at another size and rounded."""
    return np.around(resize_black_around(mask[:, :, None].astype(np.float64), size)[:, :, 0]).astype(bool)


def _by_mask(masks: np.ndarray, size: tuple[int, int], how: int) -> np.ndarray:
    """(H, W, N) at another size, one by one: OpenCV takes four channels at most."""
    resized = np.zeros((*size, masks.shape[2]), np.uint8)
    for number in range(masks.shape[2]):
        resized[:, :, number] = cv2.resize(masks[:, :, number].astype(np.uint8), size[::-1], interpolation=how)
    return resized
