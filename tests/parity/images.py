"""The images and sizes that both sides answer to: real ones where `../shared/data` is, else drawn ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.data.dataset import load_dataset
from maskrcnn.data.shapes import draw_shapes
from maskrcnn.geometry.masks import mask_to_box
from maskrcnn.geometry.rle import mask_to_rle, rle_to_mask
from maskrcnn.images.images import read_image
from maskrcnn.structures import Sample

# File in the shared folder, and (height, width) of what is drawn where that is absent.
IMAGES = {
    "landscape": ("coco128/train/000000000149.jpg", (428, 640)),
    "portrait": ("coco128/train/000000000113.jpg", (640, 416)),
    "panorama": ("coco128/train/000000000357.jpg", (218, 640)),
    "photo": ("nuts/images/0.jpg", (600, 800)),
    "small": ("nuclei/val/01d44a26f6680c42.png", (256, 320)),
    "large": ("kudzu/val/25.jpg", (576, 768)),
}
TRAINING = ("000000000061.jpg", "000000000049.jpg")  # of coco128: 488 × 640 and 500 × 381, five and nine objects


def _case(model: str, image: str, short_side: int, long_side: int) -> dict[str, Any]:
    return {
        "name": f"{model}_{image}",
        "model": model,
        "image": image,
        "short_side": short_side,
        "long_side": long_side,
    }


# The models' own sides for three cases; smaller ones for the others, to save time.
CASES = (
    _case("v1", "landscape", 800, 1333),
    _case("v1", "portrait", 800, 1333),
    _case("v1", "panorama", 320, 533),  # where the long side decides
    _case("v1", "small", 416, 693),  # enlarged
    _case("v1", "large", 256, 427),  # shrunk
    _case("v2", "photo", 800, 1333),
    _case("v2", "portrait", 320, 533),
    _case("v2", "small", 416, 693),
)
BACK = {"v1": "v1_large", "v2": "v2_portrait"}  # where weights that went there and back are tried


def write(folder: Path, shared_data: Path | None) -> None:
    """Puts everything that `reference.py` reads into a folder."""
    (folder / "images").mkdir(parents=True)
    for number, (name, (file, size)) in enumerate(IMAGES.items()):
        real = shared_data and shared_data / file
        image = read_image(real) if real else draw_shapes(np.random.default_rng(number), size)[0]
        np.save(folder / "images" / f"{name}.npy", image)
    samples = training_samples(shared_data)
    for number, sample in enumerate(samples):
        np.save(folder / "images" / f"training_{number}.npy", sample.image)
    truth = {}
    for number, sample in enumerate(samples):
        truth[f"boxes_{number}"] = sample.boxes
        truth[f"labels_{number}"] = sample.labels.astype(np.int64) + 1  # torchvision's background is class 0
        truth[f"masks_{number}"] = np.stack([rle_to_mask(rle) for rle in sample.rles]).astype(np.uint8)
    np.savez(folder / "truth.npz", **truth)
    plan = {
        "cases": CASES,
        "calibration": {"images": list(IMAGES), "short_side": 320, "long_side": 533},
        "training": {"images": ["training_0", "training_1"], "short_side": 320, "long_side": 533},
        "back": BACK,
    }
    (folder / "cases.json").write_text(json.dumps(plan, indent=1))


def training_samples(shared_data: Path | None) -> list[Sample]:
    """Two images of different shapes with their truth, without crowds."""
    if shared_data is None:
        return [_drawn_sample(number, size) for number, size in enumerate([(488, 640), (500, 381)])]
    dataset = load_dataset(shared_data / "coco128" / "train.json", verify_images=False)
    by_name = {Path(sample.path).name: sample for sample in dataset.samples}
    samples = [by_name[name].replace(image=read_image(by_name[name].path)) for name in TRAINING]
    assert not any(sample.crowd.any() for sample in samples)
    return samples


def _drawn_sample(number: int, size: tuple[int, int]) -> Sample:
    image, shapes = draw_shapes(np.random.default_rng(100 + number), size)
    masks = [mask for _, mask in shapes]
    return Sample(
        image_id=number,
        file_name="",
        path="",
        size=size,
        boxes=np.stack([mask_to_box(mask) for mask in masks]).astype(np.float32),
        labels=np.array([label for label, _ in shapes], np.int32),
        crowd=np.zeros(len(masks), bool),
        rles=[mask_to_rle(mask) for mask in masks],
        areas=np.array([mask.sum() for mask in masks], np.float32),
        annotation_ids=np.arange(len(masks), dtype=np.int64),
        image=image,
    )
