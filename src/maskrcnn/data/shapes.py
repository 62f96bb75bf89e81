"""Draws a data set of overlapping shapes, so that the package can be tried without any data."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from maskrcnn.config.model import Category
from maskrcnn.geometry.masks import mask_to_box
from maskrcnn.geometry.rle import mask_to_rle, rle_to_json

CATEGORIES = (Category(1, "circle"), Category(2, "square"), Category(3, "triangle"))
NUM_OBJECTS = (2, 7)  # an image, before the hidden ones are taken away
RADIUS = (0.09, 0.24)  # of the image's short side
LEAST_VISIBLE = 0.35  # a shape of which less can be seen is taken away: nobody could name it
FINER = 4  # shapes are drawn so many times larger and averaged, for smooth edges


def make_shapes(
    folder: str | Path, *, num_train: int, num_val: int, size: tuple[int, int] = (128, 128), seed: int = 0
) -> tuple[Path, Path]:
    """Draws circles, squares and triangles that cover each other, on textured ground, and writes them as COCO files.

    The true mask is the part that can be seen. The same arguments give the same images.

    Args:
        folder: where `train.json`, `val.json` and the PNGs in `train/` and `val/` go; made if need be.
        num_train: images to train on.
        num_val: images to validate on.
        size: (height, width) of every image.
        seed: of everything that is random.

    Returns:
        Paths of the two JSON files.
    """
    folder = Path(folder)
    paths = []
    for part, (name, count) in enumerate((("train", num_train), ("val", num_val))):
        (folder / name).mkdir(parents=True, exist_ok=True)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for image_id in range(1, count + 1):
            image, shapes = draw_shapes(np.random.default_rng([seed, part, image_id]), size)
            file_name = f"{image_id:05d}.png"
            png = io.BytesIO()
            Image.fromarray(image).save(png, "png")
            _write(folder / name / file_name, png.getvalue())
            images.append({"id": image_id, "file_name": file_name, "height": size[0], "width": size[1]})
            for label, mask in shapes:
                annotations.append(_annotation(len(annotations) + 1, image_id, label, mask))
        categories = [{"id": category.id, "name": category.name} for category in CATEGORIES]
        content = {"images": images, "annotations": annotations, "categories": categories}
        paths.append(folder / f"{name}.json")
        _write(paths[-1], json.dumps(content).encode())
    return paths[0], paths[1]


def draw_shapes(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """One image.

    Args:
        rng: where its randomness comes from.
        size: (height, width).

    Returns:
        (H, W, 3) uint8 RGB, and for each shape its label, an index into `CATEGORIES`, and the (H, W) bool mask of what is seen.
    """
    image = _draw_ground(rng, size)
    drawn = []
    hidden = np.zeros(size, bool)  # by the shapes in front
    for _ in range(rng.integers(*NUM_OBJECTS, endpoint=True)):  # from the front to the back
        label = int(rng.integers(len(CATEGORIES)))
        coverage = _draw_coverage(rng, label, size)
        whole = coverage >= 0.5
        seen = whole & ~hidden
        if seen.sum() >= LEAST_VISIBLE * whole.sum():
            hidden |= whole
            drawn.append((label, seen, coverage, _draw_paint(rng, size)))
    for _, _, coverage, paint in reversed(drawn):
        image += coverage[:, :, None] * (paint - image)
    image += rng.normal(0, 4, image.shape)  # a camera's noise
    return np.clip(image, 0, 255).astype(np.uint8), [(label, seen) for label, seen, _, _ in drawn]


def _draw_coverage(rng: np.random.Generator, label: int, size: tuple[int, int]) -> np.ndarray:
    """(H, W) in [0, 1]: which part of each pixel a shape of random place, size and turn covers."""
    height, width = size
    radius = rng.uniform(*RADIUS) * min(size)
    center = rng.uniform(0.12, 0.88, 2) * (width, height)  # most of it in the image: of a corner nobody could say which shape
    turn = rng.uniform(0, 2 * np.pi)
    num_corners = (64, 4, 3)[label]
    angles = turn + 2 * np.pi * np.arange(num_corners) / num_corners
    reach = radius * (1.0, 1.2, 1.35)[label]  # about equal areas
    corners = center + reach * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    fine = np.zeros((height * FINER, width * FINER), np.uint8)
    cv2.fillPoly(fine, [np.round(corners * FINER - 0.5).astype(np.int32)], 255)
    return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _draw_ground(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) float32: soft clouds between two colors, coarse ones and fine ones."""
    clouds = np.sum([_draw_clouds(rng, size, cells) * share for cells, share in ((3, 0.5), (9, 0.3), (40, 0.2))], axis=0)
    dark, light = rng.uniform(20, 235, (2, 3))
    return (dark + clouds[:, :, None] * (light - dark)).astype(np.float32)


def _draw_paint(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) float32: one color with some light and shade."""
    return (rng.uniform(20, 235, 3) + (_draw_clouds(rng, size, 6)[:, :, None] - 0.5) * 50).astype(np.float32)


def _draw_clouds(rng: np.random.Generator, size: tuple[int, int], cells: int) -> np.ndarray:
    """(H, W) in [0, 1]: random values, so many along each side, smoothly joined."""
    return np.clip(cv2.resize(rng.random((cells, cells)), size[::-1], interpolation=cv2.INTER_CUBIC), 0, 1)


def _annotation(annotation_id: int, image_id: int, label: int, mask: np.ndarray) -> dict[str, Any]:
    left, top, right, bottom = mask_to_box(mask).tolist()
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": CATEGORIES[label].id,
        "iscrowd": 0,
        "area": int(mask.sum()),
        "bbox": [left, top, right - left, bottom - top],
        "segmentation": rle_to_json(mask_to_rle(mask)),
    }


def _write(path: Path, content: bytes) -> None:
    """Under a temporary name first, so that no half a file is ever found under the right one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
