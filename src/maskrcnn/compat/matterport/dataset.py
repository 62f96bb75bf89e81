"""The data set class of matterport/Mask_RCNN, and its images read as samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.annotations.objects import TrueObject, make_sample
from maskrcnn.geometry.masks import mask_to_box
from maskrcnn.geometry.rle import mask_to_rle
from maskrcnn.images.images import read_image
from maskrcnn.structures import Sample


class Dataset:
    """Images and their truth as users' subclasses give them.

    `load_image` and `load_mask` are asked when an image is needed, from several threads at a time.
    """

    def __init__(self, class_map: Any = None) -> None:
        del class_map  # matterport's has no effect either
        self._image_ids: np.ndarray = np.array([], int)
        self.image_info: list[dict[str, Any]] = []
        self.class_info: list[dict[str, Any]] = [{"source": "", "id": 0, "name": "BG"}]
        self.source_class_ids: dict[str, list[int]] = {}

    def add_class(self, source: str, class_id: Any, class_name: str) -> None:
        if "." in source:
            raise ValueError(f"The name of a source has no dot; received {source!r}.")
        if not any(known["source"] == source and known["id"] == class_id for known in self.class_info):
            self.class_info.append({"source": source, "id": class_id, "name": class_name})

    def add_image(self, source: str, image_id: Any, path: Any, **kwargs: Any) -> None:
        self.image_info.append({"id": image_id, "source": source, "path": path, **kwargs})

    def image_reference(self, image_id: int) -> str:
        """For a person to find the image again; subclasses say how."""
        del image_id
        return ""

    def prepare(self, class_map: Any = None) -> None:
        """Numbers classes and images; called once all are added."""
        del class_map
        self.num_classes = len(self.class_info)
        self.class_ids = np.arange(self.num_classes)
        self.class_names = [",".join(str(info["name"]).split(",")[:1]) for info in self.class_info]
        self.num_images = len(self.image_info)
        self._image_ids = np.arange(self.num_images)
        self.class_from_source_map = {
            f"{info['source']}.{info['id']}": number for number, info in zip(self.class_ids, self.class_info)
        }
        self.image_from_source_map = {
            f"{info['source']}.{info['id']}": number for number, info in zip(self._image_ids, self.image_info)
        }
        self.sources = list({info["source"] for info in self.class_info})
        self.source_class_ids = {
            source: [number for number, info in enumerate(self.class_info) if number == 0 or info["source"] == source]
            for source in self.sources
        }

    def map_source_class_id(self, source_class_id: str) -> int:
        """Number of the class "source.id"."""
        return int(self.class_from_source_map[source_class_id])

    def get_source_class_id(self, class_id: int, source: str) -> Any:
        """The source's own id of a class."""
        info = self.class_info[class_id]
        if info["source"] != source:
            raise ValueError(f"Class {class_id} is of {info['source']!r}, not of {source!r}.")
        return info["id"]

    @property
    def image_ids(self) -> np.ndarray:
        return self._image_ids

    def source_image_link(self, image_id: int) -> Any:
        return self.image_info[image_id]["path"]

    def load_image(self, image_id: int) -> np.ndarray:
        """(H, W, 3) RGB; by default read from the image's path."""
        return read_image(self.image_info[image_id]["path"])

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, N) masks and the (N,) numbers of their classes; subclasses say which."""
        del image_id
        return np.empty([0, 0, 0]), np.empty([0], np.int32)


class LazySamples(Sequence[Sample]):
    """A user's data set as samples, each made when it is asked for: no more images are held than are in use."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset.image_ids)

    def __getitem__(self, index: Any) -> Any:
        image_id = self.dataset.image_ids[index]
        image = as_rgb(self.dataset.load_image(image_id))
        masks, class_ids = self.dataset.load_mask(image_id)
        masks, class_ids = np.asarray(masks), np.asarray(class_ids, np.int64)
        name = f"Image {image_id} ({self.dataset.image_info[image_id]['path']})"
        if masks.ndim != 3 or masks.shape[2] != len(class_ids) or (len(class_ids) and masks.shape[:2] != image.shape[:2]):
            raise ValueError(
                f"{name} has shape {image.shape}, masks of shape {masks.shape} and {len(class_ids)} classes; load_mask gives "
                "(height, width, N) and N."
            )
        if len(class_ids) and not (abs(class_ids) > 0).all() & (abs(class_ids) < len(self.dataset.class_info)).all():
            raise ValueError(
                f"{name} has classes {np.unique(class_ids).tolist()}; known are 1 to {len(self.dataset.class_info) - 1}."
            )
        objects = []
        for number, class_id in enumerate(class_ids):
            mask = masks[:, :, number] != 0
            if mask.any():  # as matterport, which leaves out what cropping emptied
                label, crowd = int(abs(class_id)) - 1, bool(class_id < 0)  # its COCO example marks crowds so
                objects.append(TrueObject(mask_to_box(mask), label, crowd, mask_to_rle(mask), float(mask.sum()), number + 1))
        sample = make_sample(int(image_id), str(image_id), Path(str(image_id)), image.shape[:2], objects)
        return sample.replace(image=image)


def as_rgb(image: Any) -> np.ndarray:
    """(H, W), (H, W, 1), (H, W, 3) or (H, W, 4), 0 to 255 → (H, W, 3) uint8; gray is repeated and transparency dropped."""
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or 0 in image.shape:
        raise ValueError(f"An image is an (H, W, 3), (H, W, 4) or (H, W) array; received shape {image.shape}.")
    image = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[:, :, :3]
    if image.dtype != np.uint8:
        image = np.clip(np.round(image), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(image)
