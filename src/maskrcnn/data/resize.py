"""Brings images to the model's size and pads them to a frame, by the rules of whoever trained the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import cv2
import numpy as np
from PIL import Image

from maskrcnn.config.model import ImageConfig


def fit_to_frame(image: np.ndarray, image_config: ImageConfig) -> tuple[np.ndarray, float]:
    """Resizes an image so that its short side is `short_side`, or its long side `long_side` where that comes first.

    Bilinear in each of the four ways of `image_config.resize`; weights expect the one they were trained with.

    - "detectron2": Pillow, when shrinking with as wide a filter as the scale asks for. The others read four pixels whatever
      the scale, which turns fine texture into noise.
    - "torchvision": `torch.nn.functional.interpolate`, not rounded to whole gray levels.
    - "mmdet": OpenCV.
    - "matterport": scikit-image's `resize(order=1, mode="constant")`, cut to whole gray levels: the outermost pixels of an
      enlarged image darken. An image is never shrunk to the short side, only to the long one.

    Args:
        image: (H, W, C) uint8.
        image_config: the sides and the way.

    Returns:
        (h, w, C) uint8, or float32 from 0 to 255 for torchvision's way, and the scale; h and w are H and W times it, rounded,
        at least 1.
    """
    height, width = image.shape[:2]
    size, scale = fitted_size(height, width, image_config)
    if image_config.resize == "torchvision":
        return _bilinear(image, size, np.float32), scale
    if size == (height, width):
        return image, scale
    if image_config.resize == "mmdet":
        return by_channel(lambda pixels: cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR), image), scale
    if image_config.resize == "matterport":
        return resize_black_around(image, size), scale
    return resize_region(image, (0, 0, width, height), size), scale


def fit_for_training(image: np.ndarray, image_config: ImageConfig) -> np.ndarray:
    """`fit_to_frame`, but that detectron2's way enlarges by `enlarge_region`, in a quarter of the time."""
    height, width = image.shape[:2]
    size, _ = fitted_size(height, width, image_config)
    if image_config.resize == "detectron2" and size != (height, width) and size[0] >= height and size[1] >= width:
        return enlarge_region(image, (0, 0, width, height), size)
    return fit_to_frame(image, image_config)[0]


def fitted_size(height: int, width: int, image_config: ImageConfig) -> tuple[tuple[int, int], float]:
    """Height and width of the resized image, in the order in which each source multiplies and rounds; and the scale."""
    short, long = min(height, width), max(height, width)
    scale = min(image_config.short_side / short, image_config.long_side / long)
    sides = [height * scale, width * scale]
    if image_config.resize == "detectron2":  # two steps, which may round otherwise than one
        enlarged = image_config.short_side / short
        sides = [image_config.short_side if side == short else side * enlarged for side in (height, width)]
        if max(sides) > image_config.long_side:
            sides = [side * (image_config.long_side / max(sides)) for side in sides]
    if image_config.resize == "matterport":
        scale = max(1.0, image_config.short_side / short, image_config.min_scale)
        if round(long * scale) > image_config.long_side:
            scale = image_config.long_side / long
        sides = [round(height * scale), round(width * scale)]  # half to even
    # torchvision rounds down. As 0.29 does, in double precision; older releases in single, where half of all images end up
    # a pixel larger or smaller.
    half = 0.0 if image_config.resize == "torchvision" else 0.5
    new_height, new_width = (max(1, int(side + half)) for side in sides)
    return (new_height, new_width), scale


def resize_black_around(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image (H, W, C) at `size` (height, width) as scikit-image's `resize(order=1, mode="constant")`; its type stays."""
    resized = _bilinear(image, size, np.float64, black_around=True)
    return np.clip(resized, image.min(), image.max()).astype(image.dtype)  # scikit-image's `clip`


def resize_region(image: np.ndarray, region: tuple[float, float, float, float], size: tuple[int, int]) -> np.ndarray:
    """What lies in `region` (left, top, right, bottom; pixels), resized to `size` (height, width) by Pillow, bilinear.

    At the region's edges the filter reads what lies beyond, so that this is the same as resizing the whole and cutting then.
    """

    def resize(pixels: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR, box=region))

    return by_channel(resize, image)


def enlarge_region(image: np.ndarray, region: tuple[float, float, float, float], size: tuple[int, int]) -> np.ndarray:
    """`resize_region` by OpenCV, to a `size` that is no smaller than the region.

    Where an image grows, Pillow's filter reads two pixels each way as OpenCV's does. They round otherwise: one pixel in six
    differs, by one gray level; in noise a few by two.
    """
    left, top, right, bottom = region
    height, width = image.shape[:2]
    if (left, top, right, bottom) == (0, 0, width, height):  # the same to the bit on every processor
        return by_channel(lambda pixels: cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR_EXACT), image)
    unit_x, unit_y = (right - left) / size[1], (bottom - top) / size[0]  # a new pixel, in old ones
    # OpenCV counts from the center of the first pixel
    places = np.array([[unit_x, 0, left + unit_x / 2 - 0.5], [0, unit_y, top + unit_y / 2 - 0.5]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return by_channel(
        lambda pixels: cv2.warpAffine(pixels, places, size[::-1], flags=how, borderMode=cv2.BORDER_REPLICATE), image
    )


def by_channel(change: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    """A change of RGB images made to one (H, W, C) of any channels, to each by itself where they are not three.

    Pillow takes a fourth channel for transparency and knows no fifth. OpenCV drops the axis of a single one, and in `remap` it
    reads two, or five and more, at whole 32nds of a pixel only.
    """
    if image.shape[2] == 3:
        return change(image)
    return np.stack([change(np.ascontiguousarray(image[:, :, channel])) for channel in range(image.shape[2])], axis=2)


def _bilinear(image: np.ndarray, size: tuple[int, int], number: type[np.floating], *, black_around: bool = False) -> np.ndarray:
    """An image (H, W, C) read at the pixel centers of one of `size`, from four pixels each; (h, w, C) of `number`.

    Around the image its outermost pixels go on, or it is black. PyTorch computes places in single precision, which at column
    4000 moves a value of fine texture by up to 0.06 gray levels; scikit-image in double. Here `number` says it.
    """
    for axis, new in enumerate(size):
        old = image.shape[axis]
        if new == old:  # each pixel is read where it is
            continue
        places = (float(number(old / new)) * (np.arange(new) + 0.5) - 0.5).astype(number)  # rounded once, as PyTorch's FMA does
        first = np.floor(places)
        part = places - first
        read = []
        for index, weight in ((first.astype(int), 1 - part), (first.astype(int) + 1, part)):
            if black_around:
                weight = weight * ((index >= 0) & (index < old))
            read.append(image.take(index.clip(0, old - 1), axis) * weight.reshape((-1, 1, 1) if axis == 0 else (-1, 1)))
        image = read[0] + read[1]
    return image.astype(number, copy=False)


def choose_frame(sizes: Iterable[tuple[int, int]], image_config: ImageConfig) -> tuple[int, int]:
    """The frame (height, width) of the least area that holds images of all these sizes.

    Raises:
        ValueError: if none does.
    """
    sizes, frames = list(sizes), possible_frames(image_config)
    height, width = max(size[0] for size in sizes), max(size[1] for size in sizes)
    if not frames:
        return _whole(height, image_config.stride), _whole(width, image_config.stride)
    large_enough = [frame for frame in frames if frame[0] >= height and frame[1] >= width]
    if not large_enough:
        raise ValueError(f"No frame holds {height}×{width} pixels (height × width); possible: {frames}.")
    return min(large_enough, key=lambda frame: frame[0] * frame[1])


def possible_frames(image_config: ImageConfig) -> tuple[tuple[int, int], ...]:
    """The frames (height, width) that batches come in; none where every multiple of the stride may come ("tight")."""
    if image_config.frame == "tight":
        return ()
    if image_config.frame == "square":
        return ((_whole(image_config.long_side, image_config.stride),) * 2,)
    return image_config.frames()


def _whole(side: int, stride: int) -> int:
    """The next multiple of the stride."""
    return -(-side // stride) * stride


def offset_in_frame(size: tuple[int, int], frame: tuple[int, int], place: str) -> tuple[int, int]:
    """(rows above, columns left of) an image of `size` (height, width) in its frame, for `ImageConfig.place`."""
    if place == "corner":
        return 0, 0
    return (frame[0] - size[0]) // 2, (frame[1] - size[1]) // 2


def pad_to_frame(image: np.ndarray, frame: tuple[int, int], place: str = "corner", out: np.ndarray | None = None) -> np.ndarray:
    """An image (h, w, C) in the upper left or the center of a frame (height, width), zeros around; in `out`, if given."""
    height, width = image.shape[:2]
    top, left = offset_in_frame((height, width), frame, place)
    bottom, right = top + height, left + width
    padded = np.empty((*frame, image.shape[2]), image.dtype) if out is None else out
    padded[:top], padded[bottom:], padded[top:bottom, :left], padded[top:bottom, right:] = 0, 0, 0, 0
    padded[top:bottom, left:right] = image
    return padded
