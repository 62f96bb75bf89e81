"""What a caller hands over as images: paths, folders, globs, bytes, open files, arrays, tensors, images of Pillow, planes."""

from __future__ import annotations

import glob
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from maskrcnn.config.model import ImageConfig
from maskrcnn.images.files import find_images
from maskrcnn.images.images import read_image
from maskrcnn.images.opening import is_zarr, read_whole_zarr
from maskrcnn.images.plain import byte_values
from maskrcnn.images.values import to_channels
from maskrcnn.structures import Plane

Pixels = np.ndarray  # (H, W, C), uint8
_ENCODED = (bytes, bytearray, memoryview, io.RawIOBase, io.BufferedIOBase)  # what holds a file's content


def each_image(images: Any) -> Iterable[Any]:
    """One item an image. Folders and globs stand for the images in them, also where they are items of a list."""
    if images is None:
        raise ValueError("An image is a path or an array; received None. Did reading the image fail?")
    if isinstance(images, (str, Path)):
        return _files(images)
    if isinstance(images, (*_ENCODED, Plane, Image.Image)):
        return [images]
    if isinstance(images, (list, tuple)):
        return [each for item in images for each in (_files(item) if isinstance(item, (str, Path)) else [item])]
    if hasattr(images, "ndim"):  # NumPy's, or a tensor of any backend
        images = np.asarray(images)
        return images if images.ndim == 4 else [images]
    return images


def path_of(item: Any) -> str | None:
    """The path of an image that came from a file."""
    if isinstance(item, Plane):
        return item.source.path
    return str(item) if isinstance(item, (str, Path)) else None


def kept_image(item: Any, pixels: Pixels) -> np.ndarray | None:
    """The image that detections hold: the caller's own array where it can be shown; None of a file."""
    if isinstance(item, (str, Path, *_ENCODED)):
        return None
    return item if isinstance(item, np.ndarray) and item.dtype == np.uint8 else pixels


def as_pixels(item: Any, image_config: ImageConfig) -> Pixels:
    """An image as a model takes it.

    Args:
        item: a path, the bytes of an image file or an open one; a `Plane`; an image of Pillow; or (H, W) or (H, W, C) numbers
            from 0 to 255, or bool, where True is 255.
        image_config: of the model.

    Returns:
        (H, W, C) uint8.

    Raises:
        ValueError: for what is no image; one line with what came and what was wanted.
    """
    if isinstance(item, (str, Path)) and is_zarr(item):
        return read_whole_zarr(item, channels=image_config.channels, scaling=image_config.scaling)
    if isinstance(item, (str, Path, *_ENCODED)):
        return read_image(item, channels=image_config.channels, scaling=image_config.scaling)
    if item is None or isinstance(item, (list, tuple)):
        kind = "None. Did reading the image fail?" if item is None else "a list. Pass np.asarray(image, np.uint8)."
        raise ValueError(f"An image is a path or an array; received {kind}")
    if isinstance(item, Image.Image):
        return _from_pillow(item, image_config)
    if isinstance(item, Plane):
        return to_channels(item.image, image_config.channels)
    image = np.asarray(item)
    _check_axes(image, image_config.channels)
    return to_channels(_as_bytes(image), image_config.channels)


def _files(given: str | Path) -> list[str | Path]:
    """A path as it is, a folder zarr too, or the images of a folder or a glob."""
    path = Path(given)
    is_glob = glob.has_magic(str(given)) and not path.exists()
    return list(find_images([given])) if is_glob or (path.is_dir() and not is_zarr(path)) else [given]


def _check_axes(image: np.ndarray, channels: int) -> None:
    """Refuses channels that come first, as PyTorch has them."""
    if image.ndim == 3 and image.shape[0] in (1, channels) and image.shape[2] not in (1, channels) and image.shape[1] > 1:
        raise ValueError(
            f"An image is (H, W, {channels}), with its channels last; received shape {image.shape}, where they are first. Pass "
            "np.moveaxis(image, 0, -1), or image.permute(1, 2, 0) of a tensor of PyTorch."
        )


def _as_bytes(image: np.ndarray) -> np.ndarray:
    """Numbers from 0 to 255 of any kind as uint8; bool as 0 and 255."""
    if image.dtype == np.uint8 or not image.size:
        return image
    if image.dtype == bool:
        return image.astype(np.uint8) * 255
    if not np.issubdtype(image.dtype, np.number) or np.iscomplexobj(image):
        raise ValueError(f"An image's values are numbers from 0 to 255; received {image.dtype}.")
    if not np.isfinite(image).all():
        raise ValueError(f"An image's values are finite numbers from 0 to 255; received {image.dtype} with NaN or infinity.")
    low, high = image.min(), image.max()
    is_fraction = np.issubdtype(image.dtype, np.floating) and 0 < high <= 1
    if low >= 0 and high <= 255 and not is_fraction:
        return np.round(image).astype(np.uint8)
    received = f"An image's values go from 0 to 255; received {image.dtype} from {low:g} to {high:g}."
    if is_fraction and low >= 0:
        raise ValueError(f"{received} Pass np.uint8(np.round(255 * image)).")
    raise ValueError(
        f"{received} Pass uint8: maskrcnn.images.values.stretch(image) stretches values as files of 16 bits are stretched."
    )


def _from_pillow(image: Image.Image, image_config: ImageConfig) -> Pixels:
    """What `read_image` gives of its file: upright, a palette as its colors, more than 8 bits stretched."""
    image = ImageOps.exif_transpose(image)
    channels = image_config.channels
    is_deep = image.mode in ("I", "F") or image.mode.startswith("I;16")
    values = np.asarray(image) if is_deep else byte_values(image, channels)
    return to_channels(values, channels, image_config.scaling)
