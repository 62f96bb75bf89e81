"""What matterport/Mask_RCNN feeds its network with, under its names: molded images, their metas, an image with its truth."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from maskrcnn.compat.matterport.config import Config
from maskrcnn.compat.matterport.dataset import Dataset
from maskrcnn.compat.matterport.resizing import minimize_mask, resize_image, resize_mask
from maskrcnn.compat.matterport.scores import extract_bboxes

_META = {  # places in an image's meta
    "image_id": 0,
    "original_image_shape": slice(1, 4),
    "image_shape": slice(4, 7),
    "window": slice(7, 11),
    "scale": 11,
    "active_class_ids": slice(12, None),
}


def mold_image(images: np.ndarray, config: Config) -> np.ndarray:
    """RGB images less the config's mean pixel, float32. `detect` does it by itself."""
    return np.asarray(images).astype(np.float32) - np.asarray(config.MEAN_PIXEL, np.float32)


def unmold_image(normalized_images: np.ndarray, config: Config) -> np.ndarray:
    """Undoes `mold_image`: uint8."""
    return (np.asarray(normalized_images) + np.asarray(config.MEAN_PIXEL)).astype(np.uint8)


def compose_image_meta(
    image_id: int, original_image_shape: Any, image_shape: Any, window: Any, scale: float, active_class_ids: Any
) -> np.ndarray:
    """(12 + classes,) what is known of an image, in one row.

    Args:
        original_image_shape, image_shape: (height, width, channels) before and after resizing.
        window: (y1, x1, y2, x2) where the image lies in the padded one.
        scale: of resizing.
        active_class_ids: (classes,) 1 for classes that the image's source has.
    """
    return np.array([image_id, *original_image_shape, *image_shape, *window, scale, *active_class_ids], np.float64)


def parse_image_meta(meta: np.ndarray) -> dict[str, np.ndarray]:
    """The parts of metas (B, 12 + classes) by name, int32; the scale float32."""
    return {
        name: meta[:, place].astype(np.float32 if name == "scale" else np.int32)  # type: ignore[index]
        for name, place in _META.items()
    }


def parse_image_meta_graph(meta: Any) -> dict[str, Any]:
    """As `parse_image_meta`, of tensors of any backend, whose type stays."""
    return {name: meta[:, place] for name, place in _META.items()}


def load_image_gt(
    dataset: Dataset,
    config: Config,
    image_id: int,
    augment: bool = False,
    augmentation: Any = None,
    use_mini_mask: bool = False,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """An image as the config resizes it, with its truth.

    Args:
        augment: turns every second image round, left to right.
        use_mini_mask: masks are cut to their boxes, at `MINI_MASK_SHAPE`.
        rng: of what is left to chance.

    Returns:
        image (H, W, 3), its meta, class_ids (N,), boxes (N, 4) int32 y1 x1 y2 x2, masks (H, W, N); objects of which cropping
        left nothing are gone.

    Raises:
        ValueError: for an augmentation of imgaug, which `train` does not take either.
    """
    if augmentation is not None:
        raise ValueError("Augmentations of imgaug have no counterpart here; give augment=True, or augmentation to train.")
    rng = rng or np.random.default_rng()
    image = dataset.load_image(image_id)
    mask, class_ids = dataset.load_mask(image_id)
    original_shape = image.shape
    image, window, scale, padding, crop = resize_image(
        image,
        min_dim=config.IMAGE_MIN_DIM,
        max_dim=config.IMAGE_MAX_DIM,
        min_scale=config.IMAGE_MIN_SCALE,
        mode=config.IMAGE_RESIZE_MODE,
        rng=rng,
    )
    mask = resize_mask(mask, scale, padding, crop) if mask.size else np.zeros((*image.shape[:2], 0), bool)
    if augment and rng.random() < 0.5:
        image, mask = np.fliplr(image), np.fliplr(mask)
    kept = np.any(mask, axis=(0, 1))
    mask, class_ids = mask[:, :, kept], np.asarray(class_ids)[kept]
    boxes = extract_bboxes(mask)
    active = np.zeros(dataset.num_classes, np.int32)
    active[dataset.source_class_ids[dataset.image_info[image_id]["source"]]] = 1
    if use_mini_mask:
        mask = minimize_mask(boxes, mask, config.MINI_MASK_SHAPE)
    meta = compose_image_meta(image_id, original_shape, image.shape, window, scale, active)
    return image, meta, class_ids, boxes, mask


def log(text: str, array: Any = None) -> None:
    """Prints a line, and what an array is like: its shape, its least and largest value, its type."""
    if array is not None:
        array = np.asarray(array)
        limits = f"min: {array.min():10.5f}  max: {array.max():10.5f}" if array.size else "min: empty  max: empty"
        text = f"{text:25}  shape: {array.shape!s:20}  {limits}  {array.dtype}"
    sys.stdout.write(f"{text}\n")
