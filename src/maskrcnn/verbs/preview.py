"""Preview: a sheet of augmented images with their truth drawn in, to look at before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskrcnn.atomic import write_png
from maskrcnn.config.model import ImageConfig
from maskrcnn.config.presets import placeholder_categories, preset
from maskrcnn.data.augment import make_augment
from maskrcnn.data.dataset import Dataset
from maskrcnn.data.reading import read_sample
from maskrcnn.geometry.rle import rle_to_mask
from maskrcnn.results.draw import draw_truth
from maskrcnn.structures import Sample

CELL = 400  # pixels of a cell's side
GAP = 8  # pixels between cells
GROUND = 32  # gray level around images


def preview(
    dataset: Dataset,
    out: str | Path,
    *,
    augment: Any = "flip",
    image_config: ImageConfig | None = None,
    num_images: int = 12,
    columns: int = 4,
    seed: int = 0,
) -> Path:
    """Writes one PNG of images as training would see them, with masks and boxes; crowds, which training ignores, are hatched.

    Args:
        dataset: where images are taken from, at random; with fewer images than cells they come again, varied anew.
        out: the PNG, replaced whole.
        augment: as for training, see `maskrcnn.data.augment.make_augment`.
        image_config: the size in which the model sees images; that of `train`'s preset where None.
        num_images: cells on the sheet.
        columns: cells in a row.
        seed: of the choice and of the variation.

    Returns:
        `out` as a path.

    Raises:
        ValueError: for numbers below 1, a data set without images, and as `make_augment`.
    """
    if num_images < 1 or columns < 1:
        raise ValueError(f"num_images and columns are at least 1; received {num_images} and {columns}.")
    if not len(dataset):
        raise ValueError(f"{dataset.name} holds no image to show.")
    image_config = image_config or preset("mobilenet_v2_fpn", placeholder_categories(1)).image
    change = make_augment(augment, image_config, dataset.samples)
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(len(dataset)) for _ in range(-(-num_images // len(dataset)))])
    columns = min(columns, num_images)
    rows, step = -(-num_images // columns), CELL + GAP
    sheet = np.full((rows * step + GAP, columns * step + GAP, 3), GROUND, np.uint8)
    for cell, index in enumerate(order[:num_images]):
        sample = read_sample(dataset.samples[index], image_config)
        if change is not None:
            sample = change(sample, rng)
        image = _drawn(sample, dataset)
        top, left = (GAP + step * number for number in divmod(cell, columns))
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    write_png(out, sheet)
    return Path(out)


def _drawn(sample: Sample, dataset: Dataset) -> np.ndarray:
    """The sample's image and truth, no larger than a cell."""
    assert sample.image is not None
    image = draw_truth(sample.image, sample, dataset.categories)
    rows, columns = np.indices(sample.size)
    hatched = (rows + columns) % 12 < 3
    for rle, crowd in zip(sample.rles, sample.crowd):
        if crowd:
            image[hatched & rle_to_mask(rle)] = 255
    height, width = image.shape[:2]
    scale = min(CELL / height, CELL / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
