"""In the place of a mask head, of models that find boxes and keypoints alone."""

from __future__ import annotations

from typing import Any

from keras import layers, ops

from maskrcnn.config.model import MaskHeadConfig
from maskrcnn.ops.native import KERNELS, Kernels
from maskrcnn.structures import PaddedDetections


class NoMasks(layers.Layer):
    """Masks that fill their boxes, so that all that takes masks goes on working. It has no weights and no loss."""

    def __init__(self, config: MaskHeadConfig, *_: Any, name: str, **__: Any):
        super().__init__(name=name)
        self.config = config

    def masks(self, features, boxes, labels, kernels: Kernels = KERNELS):
        """(B, N, M, M) ones for (B, N, 4) boxes; see `MaskHead.masks`."""
        batch, num_rows = ops.shape(boxes)[:2]
        return ops.ones((batch, num_rows, self.config.mask_size, self.config.mask_size))

    def add_masks(self, features, detections: PaddedDetections, kernels: Kernels = KERNELS) -> PaddedDetections:
        """The detections, (B, N) rows, with masks."""
        return detections._replace(masks=self.masks(features, detections.boxes, detections.labels, kernels))

    def losses_of(self, *_: Any, **__: Any) -> dict[str, Any]:
        """None: there is nothing to learn."""
        return {}
