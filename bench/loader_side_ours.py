"""The loaders of this Python, for `loader_side.py`: this package's, and what one writes with Albumentations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import albumentations
import cv2
import numpy as np
from side import serve, timed

from maskrcnn.config.augment import AUGMENTATIONS
from maskrcnn.config.fields import replace
from maskrcnn.config.model import Category, ModelConfig
from maskrcnn.data.augment import Augmentation
from maskrcnn.data.batch import make_batch
from maskrcnn.data.dataset import load_dataset
from maskrcnn.data.reading import read_part
from maskrcnn.geometry.rle import rle_to_mask
from maskrcnn.structures import Sample

cv2.setNumThreads(1)
_samples: list[Sample] = []
_config = ModelConfig(categories=(Category(1, "object"),))


def prepare(data: str, side: int) -> dict[str, Any]:
    global _config
    dataset = load_dataset(Path(data), verify_images=False)
    _samples[:] = dataset.samples
    _config = replace(ModelConfig(categories=dataset.categories), image__short_side=side, image__long_side=2 * side)
    return {"images": len(_samples), "objects": sum(len(sample.labels) for sample in _samples)}


def maskrcnn(augment: str) -> dict[str, Any]:
    """Read, augmented, at the model's size, masks cropped to their boxes, in a batch."""
    change = Augmentation(AUGMENTATIONS[augment], _config.image)

    def load() -> None:
        for number, sample in enumerate(_samples):
            rng = np.random.default_rng(number)
            make_batch([change(read_part(sample, rng, crop_side=0, image_config=_config.image), rng)], _config)

    return timed(load)[1]


def stages(augment: str) -> dict[str, Any]:
    """Where the time goes: processor seconds of reading, augmentation, and the batch."""
    change = Augmentation(AUGMENTATIONS[augment], _config.image)
    seconds = dict.fromkeys(("read", "augment", "batch"), 0.0)
    for number, sample in enumerate(_samples):
        rng = np.random.default_rng(number)
        read, took = timed(lambda sample=sample, rng=rng: read_part(sample, rng, crop_side=0, image_config=_config.image))
        seconds["read"] += took["processor_seconds"]
        changed, took = timed(lambda read=read, rng=rng: change(read, rng))
        seconds["augment"] += took["processor_seconds"]
        seconds["batch"] += timed(lambda changed=changed: make_batch([changed], _config))[1]["processor_seconds"]
    return seconds


def albumentations_pipeline() -> dict[str, Any]:
    """Read, flipped, at the model's size; masks stay whole bitmaps, as Albumentations takes them."""
    side = _config.image.short_side
    boxes = albumentations.BboxParams("pascal_voc", label_fields=["labels"])
    pipeline = albumentations.Compose(
        [albumentations.SmallestMaxSize(side), albumentations.HorizontalFlip(p=0.5)], bbox_params=boxes, seed=0
    )

    def load() -> None:
        for sample in _samples:
            image = cv2.cvtColor(cv2.imread(sample.path), cv2.COLOR_BGR2RGB)
            masks = np.stack([rle_to_mask(rle) for rle in sample.rles]).astype(np.uint8) if sample.rles else None
            given = {} if masks is None else {"masks": masks}
            pipeline(image=image, bboxes=sample.boxes, labels=sample.labels, **given)

    return timed(load)[1]


if __name__ == "__main__":
    serve({"prepare": prepare, "maskrcnn": maskrcnn, "stages": stages, "albumentations": albumentations_pipeline})
