"""The loader of torchvision's detection references, for `loader_side.py`: Pillow, pycocotools, `transforms.v2`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from side import serve, timed
from torchvision import tv_tensors
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.transforms import v2

torch.set_num_threads(1)
_images: list[tuple[Path, list[dict[str, Any]], int, int]] = []


def prepare(data: str, images: str) -> dict[str, Any]:
    content = json.loads(Path(data).read_text())
    by_image: dict[int, list[dict[str, Any]]] = {}
    for entry in content["annotations"]:
        by_image.setdefault(entry["image_id"], []).append(entry)
    _images[:] = [
        (Path(images) / each["file_name"], by_image.get(each["id"], []), each["height"], each["width"])
        for each in content["images"]
    ]
    return {"images": len(_images), "objects": sum(len(own) for _, own, _, _ in _images)}


def load(side: int) -> dict[str, Any]:
    """Read, flipped, as tensors with whole masks; with `side` resized as the model does it before its first layer."""
    flip = v2.Compose([v2.RandomHorizontalFlip(0.5), v2.ToDtype(torch.float32, scale=True)])
    resize = GeneralizedRCNNTransform(side, 2 * side, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]).train() if side else None

    def read_all() -> None:
        for path, entries, height, width in _images:
            image = v2.functional.pil_to_tensor(Image.open(path).convert("RGB"))
            masks = [_mask(entry["segmentation"], height, width) for entry in entries]
            boxes = np.array([entry["bbox"] for entry in entries], np.float32).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            truth = {
                "boxes": tv_tensors.BoundingBoxes(torch.from_numpy(boxes), format="XYXY", canvas_size=(height, width)),
                "labels": torch.tensor([entry["category_id"] for entry in entries]),
                "masks": tv_tensors.Mask(
                    torch.from_numpy(np.stack(masks) if masks else np.zeros((0, height, width), np.uint8))
                ),
            }
            image, truth = flip(tv_tensors.Image(image), truth)
            if resize is not None:
                resize([image], [truth])

    return timed(read_all)[1]


def _mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    rles = coco_mask.frPyObjects(segmentation, height, width)
    masks = coco_mask.decode(rles)
    return masks.any(axis=2).astype(np.uint8) if masks.ndim == 3 else masks


if __name__ == "__main__":
    serve({"prepare": prepare, "load": load})
