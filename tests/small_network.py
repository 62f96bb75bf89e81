"""A network as small as one can be with every part in it, and batches for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from maskrcnn.config import fields
from maskrcnn.config.model import BackboneConfig, Category, ModelConfig
from maskrcnn.config.run import RunConfig
from maskrcnn.model import mask_rcnn
from maskrcnn.model.backbones.deformable import NUM_OFFSETS, DeformableConv2D
from maskrcnn.model.backbones.mobilenet_v2 import ENDS
from maskrcnn.model.backbones.stages import freeze
from maskrcnn.structures import PaddedDetections
from maskrcnn.training.optimizers import make_optimizer

FRAME = (64, 96)
NUM_ROWS = 400
TRUTH_SIZE = 28


def small_config(*, num_classes: int = 3, **changes: Any) -> ModelConfig:
    """Few channels, small anchors, and samples that hold every anchor and every RoI, so that no loss is left to chance."""
    config = ModelConfig(
        categories=tuple(Category(number, f"class {number}") for number in range(1, num_classes + 1)),
        backbone=BackboneConfig(name="mobilenet_v2", norm="live", frozen_stages=2),
    )
    small = {
        "fpn__channels": 8,
        "anchors__sizes": ((8,), (16,), (32,), (64,), (128,)),
        "rpn__num_sampled": 4096,
        "rpn__train_top_k": 64,
        "rpn__train_proposals": 64,
        "rpn__top_k": 64,
        "rpn__proposals": 64,
        "roi_sampler__num_sampled": 480,
        "roi_align__canonical_size": 56.0,
        "box_head__hidden": 16,
        "mask_head__channels": 8,
        "mask_head__num_convs": 2,
        "mask_head__truth_size": TRUTH_SIZE,
        "detect__max_detections": 20,
        "detect__candidates": 100,
    }
    return fields.replace(config, **{**small, **changes})


def small_backbone(config: BackboneConfig, *, channels: int = 3, model: keras.Model | None = None) -> keras.Model:
    """Five convolutions in the place of a backbone, with norms, whose stages are named as MobileNetV2's; the last three are
    followed by deformable ones where the configuration has such.
    """
    images = x = keras.Input((None, None, channels))
    outputs = []
    for stage, end in enumerate(ENDS, start=1):
        x = layers.Conv2D(8, 3, strides=2, padding="same", name=f"stage{stage}_conv")(x)
        x = layers.BatchNormalization(name=f"stage{stage}_norm")(x)
        x = layers.ReLU(name=end)(x)
        if config.deformable != "none" and stage > 2:
            told = layers.Conv2D(NUM_OFFSETS[config.deformable], 3, padding="same", name=f"stage{stage}_offset")(x)
            x = DeformableConv2D(8, name=f"stage{stage}_deformable")([x, told])
        outputs.append(x)
    backbone = keras.Model(images, outputs[1:], name="backbone")
    freeze(backbone, ENDS, config)
    return backbone


@contextlib.contextmanager
def with_small_backbone() -> Iterator[None]:
    """While it is open, networks are made with `small_backbone`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mask_rcnn, "build_backbone", small_backbone)
        yield


def small_network(**changes: Any) -> mask_rcnn.Network:
    with with_small_backbone():
        return mask_rcnn.Network(small_config(**changes))


def make_batch(
    counts: Sequence[int] = (3, 5),
    *,
    frame: tuple[int, int] = FRAME,
    num_rows: int = NUM_ROWS,
    num_classes: int = 3,
    num_crowds: int = 0,
    channels: int = 3,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """A `Batch` as a dict: discs of one color a class on noise, one image for each count of objects.

    Args:
        counts: objects in each image, crowds among them.
        num_crowds: so many of the first objects of each image are crowds.
    """
    rng = np.random.default_rng(seed)
    shape, (height, width) = (len(counts), num_rows), frame
    sizes = np.array([(height - 8 * image, width - 12 * image) for image in range(len(counts))], np.int32)
    images = rng.integers(0, 60, (len(counts), height, width, channels)).astype(np.uint8)
    boxes = np.zeros((*shape, 4), np.float32)
    labels = rng.integers(0, num_classes, shape).astype(np.int32)
    y, x = np.mgrid[:height, :width] + 0.5
    for image, count in enumerate(counts):
        for row in range(count):
            box_width, box_height = rng.uniform(8, 32, 2)
            left, top = rng.uniform(0, sizes[image, ::-1] - (box_width, box_height))
            boxes[image, row] = left, top, left + box_width, top + box_height
            inside = ((x - left) / box_width - 0.5) ** 2 + ((y - top) / box_height - 0.5) ** 2 < 0.25
            images[image][inside] = np.resize(np.roll((220, 90, 30), labels[image, row]), channels)
    side = (np.arange(TRUTH_SIZE) + 0.5) / TRUTH_SIZE - 0.5
    disc = (side[:, None] ** 2 + side[None] ** 2 < 0.25).astype(np.uint8)
    valid = np.arange(num_rows) < np.array(counts)[:, None]
    return {
        "images": images,
        "sizes": sizes,
        "boxes": boxes,
        "labels": labels * valid,
        "masks": disc * valid[..., None, None].astype(np.uint8),
        "crowd": valid & (np.arange(num_rows) < num_crowds),
        "valid": valid,
        "image_ids": np.arange(len(counts), dtype=np.int64),
    }


class Batches(keras.utils.PyDataset):
    """A data set in memory, as `fit`, `evaluate` and `predict` take it."""

    def __init__(self, batches: Sequence[dict[str, np.ndarray]]):
        super().__init__()
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray]]:
        return (self.batches[index],)


def train(network: mask_rcnn.Network, batch: dict[str, np.ndarray], *, steps: int = 1) -> dict[str, list[float]]:
    """Named losses of every step."""
    return network.fit(Batches([batch]), epochs=steps, verbose=0).history


def evaluate(network: mask_rcnn.Network, batch: dict[str, np.ndarray]) -> dict[str, float]:
    return network.evaluate(Batches([batch]), verbose=0, return_dict=True)


def predict(network: mask_rcnn.Network, batch: dict[str, np.ndarray]) -> PaddedDetections:
    return network.predict(Batches([images_of(batch)]), verbose=0)


def images_of(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What inference takes of a batch."""
    return {name: batch[name] for name in ("images", "sizes")}


def optimizer_of(name: str = "adam", learning_rate: float | None = None, *, num_steps: int, **numbers: Any) -> Any:
    """The optimizer of a run with these numbers."""
    return make_optimizer(RunConfig(optimizer=name, learning_rate=learning_rate, **numbers), num_steps=num_steps)
