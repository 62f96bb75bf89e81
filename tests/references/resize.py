"""Slow, obvious twins of `maskrcnn.data.resize` and of the way back: each source's own steps, one pixel at a time."""

from __future__ import annotations

import math

import numpy as np


def detectron2_size(height: int, width: int, short: int, long: int) -> tuple[int, int]:
    """`ResizeShortestEdge.get_output_shape`."""
    scale = short / min(height, width)
    new_height, new_width = (short, scale * width) if height < width else (scale * height, short)
    if max(new_height, new_width) > long:
        shrink = long / max(new_height, new_width)
        new_height, new_width = new_height * shrink, new_width * shrink
    return int(new_height + 0.5), int(new_width + 0.5)


def torchvision_size(height: int, width: int, short: int, long: int) -> tuple[int, int]:
    """`GeneralizedRCNNTransform` of 0.29, outside of TorchScript."""
    scale = min(short / min(height, width), long / max(height, width))
    return math.floor(height * scale), math.floor(width * scale)


def mmdet_size(height: int, width: int, short: int, long: int) -> tuple[int, int]:
    """mmcv's `rescale_size`."""
    scale = min(long / max(height, width), short / min(height, width))
    return int(height * float(scale) + 0.5), int(width * float(scale) + 0.5)


def matterport_size(height: int, width: int, short: int, long: int, min_scale: float = 0.0) -> tuple[int, int]:
    """`utils.resize_image`, mode "square"."""
    scale: float = 1
    if short:
        scale = max(1, short / min(height, width))
    if min_scale and scale < min_scale:
        scale = min_scale
    if round(max(height, width) * scale) > long:
        scale = long / max(height, width)
    return round(height * scale), round(width * scale)


def bilinear(image: np.ndarray, size: tuple[int, int], *, black_around: bool) -> np.ndarray:
    """(H, W, 3) read at the pixel centres of another size; around it black, or its outermost pixels go on."""
    height, width = image.shape[:2]
    read = np.zeros((*size, 3))
    for y in range(size[0]):
        for x in range(size[1]):
            row, column = (y + 0.5) * height / size[0] - 0.5, (x + 0.5) * width / size[1] - 0.5
            for i in (math.floor(row), math.floor(row) + 1):
                for j in (math.floor(column), math.floor(column) + 1):
                    inside = 0 <= i < height and 0 <= j < width
                    pixel = image[min(max(i, 0), height - 1), min(max(j, 0), width - 1)]
                    if inside or not black_around:
                        read[y, x] += (1 - abs(row - i)) * (1 - abs(column - j)) * pixel
    return read


def unmold_boxes(
    boxes: np.ndarray, window: tuple[int, int, int, int], frame: tuple[int, int], original: tuple[int, int]
) -> np.ndarray:
    """matterport's `unmold_detections`: (N, 4) integer y1 x1 y2 x2 of the original image, x2 and y2 outside of the box.

    Args:
        boxes: (N, 4) y1 x1 y2 x2, normalised: 0 is the frame's first pixel, 1 its last.
        window: y1 x1 y2 x2 of the image in the frame, pixels, y2 and x2 outside of it.
        frame: (height, width).
        original: (height, width).
    """

    def sides(size: tuple[int, int]) -> np.ndarray:
        return np.array([size[0] - 1, size[1] - 1] * 2, np.float64)

    shift = np.array([0, 0, 1, 1])
    top, left, bottom, right = (np.array(window) - shift) / sides(frame)
    in_window = (boxes - [top, left, top, left]) / [bottom - top, right - left, bottom - top, right - left]
    return np.around(in_window * sides(original) + shift).astype(np.int32)
