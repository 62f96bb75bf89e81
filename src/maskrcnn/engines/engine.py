"""What all engines share."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.config import fields
from maskrcnn.config import model as configs
from maskrcnn.config.model import ModelConfig
from maskrcnn.inference import whole
from maskrcnn.structures import Detections, PaddedDetections

OUTPUTS = ("boxes", "labels", "scores", "masks", "count")  # of every exported model, by these names
HEAT_MAPS = "heat_maps"  # of a model with keypoints beside them
MAX_DESCRIPTION_BYTES = 16 << 20  # of what `describe` writes, which has some 5 KB
DESCRIPTION = "maskrcnn"  # under which name the description travels in a file's metadata


def describe(config: ModelConfig, precision: str) -> str:
    """What travels inside an exported model, as JSON: classes, preprocessing and every other number of the model."""
    return json.dumps({"config": fields.to_dict(config), "precision": precision})


def outputs_of(config: ModelConfig) -> tuple[str, ...]:
    """What an exported model of this configuration answers, by name."""
    return (*OUTPUTS, HEAT_MAPS) if config.keypoint_head.num_keypoints else OUTPUTS


class Engine(ABC):
    """A finished model on one runtime. Any number of threads may use it at the same time.

    Attributes:
        config: of the model that was exported.
        precision: in which it was exported.
    """

    config: ModelConfig
    precision: str

    @abstractmethod
    def __init__(self, path: str | Path) -> None: ...

    @staticmethod
    @abstractmethod
    def holds(path: Path) -> bool:
        """Whether the path looks like a model for this engine; says nothing of its soundness."""

    @abstractmethod
    def run(self, images: np.ndarray, sizes: np.ndarray) -> dict[str, np.ndarray]:
        """The model itself.

        Args:
            images: (B, H, W, C) float32, 0 to 255; H and W multiples of 32.
            sizes: (B, 2) int32 height, width of the part of the frame that is image.

        Returns:
            `outputs`: boxes (B, N, 4) xyxy in pixels of the frame, labels (B, N) int32, scores (B, N), masks (B, N, M, M) in
            [0, 1], each in its box, and count (B,) int32: so many of the first rows are detections; of a model with keypoints
            heat_maps (B, N, K, S, S), logits of each keypoint over the places of its box.
        """

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what the model answers."""
        return outputs_of(self.config)

    def predict_on_batch(self, batch: dict[str, np.ndarray]) -> PaddedDetections:
        """As the Keras model's: a frame's images and their sizes in, NumPy arrays out."""
        found = self.run(np.asarray(batch["images"], np.float32), np.asarray(batch["sizes"], np.int32))
        valid = np.arange(found["scores"].shape[1]) < found["count"][:, None]
        return PaddedDetections(
            found["boxes"], found["scores"], found["labels"], found["masks"], valid, found.get(HEAT_MAPS, ())
        )

    def detect(self, images: Any, *, batch_size: int = 1, score: float | None = None) -> list[Detections]:
        """As `MaskRCNN.detect`."""
        return list(whole.detect(self, images, batch_size=batch_size, score=score))

    def read_description(self, text: str, path: Path) -> None:
        """Takes `config` and `precision` from what `describe` wrote.

        Raises:
            ValueError: it is not whole.
        """
        try:
            description = json.loads(text)
            self.config = configs.from_dict(description["config"])
            self.precision = description["precision"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{path} does not say which model it holds ({type(error).__name__}); export it again.") from error
