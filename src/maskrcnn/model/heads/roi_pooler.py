"""Cuts RoIs out of the pyramid, for both heads. Mask R-CNN, section 3; FPN, section 4.2."""

from __future__ import annotations

from dataclasses import asdict

from keras import ops

from maskrcnn.config.model import RoiAlignConfig
from maskrcnn.model.necks.fpn import STRIDES
from maskrcnn.ops.native import KERNELS, Kernels
from maskrcnn.ops.roi_align import roi_align


class RoiPooler:
    """No weights, so no layer: RoIAlign with its numbers."""

    def __init__(self, config: RoiAlignConfig, pool_size: int):
        self.config = config
        self.pool_size = pool_size

    def __call__(self, features, boxes, kernels: Kernels = KERNELS):
        """[P2 … P6] and (B, N, 4) xyxy, pixels of the frame → (B N, P, P, C). P6 is for the RPN alone."""
        pooled = roi_align(
            features[:4],
            boxes,
            strides=STRIDES[:4],
            pool_size=self.pool_size,
            kernels=kernels,
            **asdict(self.config),
        )  # (B, N, P, P, C)
        return ops.reshape(pooled, (-1, *pooled.shape[2:]))
