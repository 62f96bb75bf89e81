"""Keypoints as NumPy arrays: (N, K, 3) float32 x, y, value; pixels, the first pixel covers 0 to 1.

Of ground truth the value is COCO's visibility: 0 where nobody marked the point, 1 where it is hidden, 2 where it is seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

POSITION_OF_PIXEL = 0.5  # COCO writes a pixel's number, and its center is meant; detectron2's `transform_keypoint_annotations`


def flip_keypoints(keypoints: np.ndarray, length: float, mirror: Sequence[int], axis: int = 1) -> np.ndarray:
    """Keypoints (N, K, 3) seen in a mirror, left ones as right ones.

    Args:
        length: of the image: its width; with axis 0 its height, and top becomes bottom.
        mirror: which keypoint each one is in a mirror.
    """
    flipped = keypoints[:, list(mirror)] if len(mirror) else keypoints.copy()
    flipped[..., 1 - axis] = length - flipped[..., 1 - axis]
    return flipped


def without_outside(keypoints: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Ground truth (N, K, 3) in an image of `size` (height, width): points beyond its edges, and unmarked ones, are zeros."""
    inside = (keypoints[..., :2] >= 0).all(axis=-1) & (keypoints[..., :2] <= size[::-1]).all(axis=-1)
    return np.where((inside & (keypoints[..., 2] > 0))[..., None], keypoints, 0).astype(np.float32)


def peaks(heat_maps: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Where each heat map is highest. Mask R-CNN's code (Detectron), `heatmaps_to_keypoints`.

    A map is resized bicubically to the whole pixels of its box, and the point is the center of its highest pixel.

    Args:
        heat_maps: (N, K, S, S) float32 logits, each over its box.
        boxes: (N, 4) xyxy.

    Returns:
        (N, K, 3) float32 x, y in the boxes' frame, and a score: the softmax over the places of the map, of its highest value.
    """
    found = np.zeros((*heat_maps.shape[:2], 3), np.float32)
    corners, sides = boxes[:, :2].astype(np.float32), np.maximum(boxes[:, 2:] - boxes[:, :2], 1).astype(np.float32)
    pixels = np.ceil(sides).astype(int)  # (N, 2) width, height
    for row, (maps, corner, side, size) in enumerate(zip(heat_maps, corners, sides, pixels.tolist())):
        channels_last = np.ascontiguousarray(maps.transpose(1, 2, 0), np.float32)  # (S, S, K)
        resized = cv2.resize(channels_last, size, interpolation=cv2.INTER_CUBIC).reshape(-1, len(maps))  # (h w, K)
        best = resized.argmax(axis=0)  # (K,)
        place = np.stack([best % size[0], best // size[0]], axis=1)  # (K, 2) x, y
        found[row, :, :2] = (place + 0.5) * (side / size).astype(np.float32) + corner
        most = maps.max(axis=(1, 2))  # (K,)
        total = np.exp(maps - most[:, None, None]).sum(axis=(1, 2))
        found[row, :, 2] = np.exp(resized.max(axis=0) - most) / total
    return found


def as_seen(keypoints: np.ndarray) -> np.ndarray:
    """Found keypoints (N, K, 3) as ground truth, in which every point is seen."""
    return np.concatenate([keypoints[..., :2], np.full_like(keypoints[..., 2:], 2)], axis=-1)


def as_coco(keypoints: np.ndarray) -> list[float]:
    """Keypoints (K, 3) as the flat list x1, y1, value1, x2, … of COCO's files, where places are the numbers of pixels."""
    return (keypoints - np.array([POSITION_OF_PIXEL, POSITION_OF_PIXEL, 0], np.float32)).ravel().tolist()
