"""A data set on disk with a fault of each kind, in two parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

SIZE = (90, 120)  # height, width
BOX = [10, 12, 40, 30]  # x, y, width, height


def scene(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(H, W, 3) uint8: soft shapes, as photos have them; noise alone is like nothing but itself."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.float32)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def square(number: int, image: int, category: int = 1, box: list[float] = BOX, **changes: Any) -> dict[str, Any]:
    """A COCO annotation of a rectangle."""
    x, y, width, height = box
    polygon = [x, y, x + width, y, x + width, y + height, x, y + height]
    entry = {"id": number, "image_id": image, "category_id": category, "bbox": box, "area": width * height, "iscrowd": 0}
    return {**entry, "segmentation": [polygon], **changes}


def write_set(folder: Path, name: str, images: dict[str, np.ndarray], annotations: list[dict[str, Any]]) -> Path:
    """A COCO file of these images, with ids from 1, and three classes, of which the last has no object."""
    (folder / name).mkdir(parents=True)
    listed = []
    for number, (file, pixels) in enumerate(images.items(), start=1):
        Image.fromarray(pixels).save(folder / name / file)
        listed.append({"id": number, "file_name": file, "height": pixels.shape[0], "width": pixels.shape[1]})
    categories = [{"id": k, "name": word} for k, word in enumerate(("cat", "dog", "Cat"), start=1)]
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"images": listed, "annotations": annotations, "categories": categories}))
    return path


def write_faulty(folder: Path) -> tuple[Path, Path]:
    """`train.json` and `val.json`, with all that `check` looks for."""
    darker = (scene(2) * 0.8).astype(np.uint8)
    train = {
        "good.png": scene(0),
        "twice.png": scene(1),
        "again.png": scene(1),
        "alike.png": scene(2),
        "darker.png": darker,
        "leaked.png": scene(3),
        "close.png": (scene(4) * 0.85).astype(np.uint8),
        "black.png": np.zeros((*SIZE, 3), np.uint8),
        "cut.png": scene(5),
        "empty.png": scene(6)[..., 0],
        "odd.png": scene(7, (60, 80)),
    }
    annotations = [square(k, k) for k in range(1, 10)]
    annotations += [
        square(20, 1, box=[60, 12, 30, 30]),  # drawn twice, but not quite
        square(21, 1, box=[61, 13, 30, 30]),
        square(22, 11, box=[5, 5, 40, 30]),  # of two classes
        square(23, 11, category=2, box=[5, 6, 40, 30]),
        square(24, 4, box=[0, 0, 120, 90]),  # all of the image
        square(25, 5, box=[100, 50, 2, 1]),  # of two pixels
        square(26, 6, box=[50, 40, 20, 20], bbox=[1, 1, 4, 4]),  # the box contradicts the mask
        square(27, 3, box=[60, 40, 20, 20]),  # the second of two files has more objects
    ]
    val = {"a.png": scene(8), "leaked too.png": scene(3), "close too.png": scene(4)}
    made = write_set(folder, "train", train, annotations), write_set(folder, "val", val, [square(k, k) for k in (1, 2, 3)])
    cut = folder / "train" / "cut.png"
    cut.write_bytes(cut.read_bytes()[:-2000])
    return made
