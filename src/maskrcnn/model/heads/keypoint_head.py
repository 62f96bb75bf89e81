"""Finds the keypoints of each object inside its box. Mask R-CNN, section 5."""

from __future__ import annotations

from functools import partial
from typing import Any

from keras import layers, ops

from maskrcnn.config.model import KeypointHeadConfig, RoiAlignConfig
from maskrcnn.model.conv import Conv2D
from maskrcnn.model.heads.roi_pooler import RoiPooler
from maskrcnn.model.heads.used_rows import of_used_rows
from maskrcnn.ops import keypoints as keypoint_ops
from maskrcnn.ops import points
from maskrcnn.ops import rows as row_ops
from maskrcnn.ops.native import KERNELS, Kernels
from maskrcnn.structures import PaddedDetections, RoiTargets


class KeypointHead(layers.Layer):
    """RoIAlign 14×14, eight 3×3 convolutions of 512, a deconvolution to 28×28, bilinear doubling to a heat map a keypoint."""

    def __init__(self, config: KeypointHeadConfig, roi_align_config: RoiAlignConfig, *, channels: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.config = config
        self.pool = RoiPooler(roi_align_config, config.pool_size)
        self.channels = channels
        conv = {"padding": "same", "activation": "relu", "kernel_initializer": "he_normal"}
        self.convs = [Conv2D(config.channels, 3, **conv, name=f"conv{i + 1}") for i in range(config.num_convs)]
        # 4×4 pixels that overlap by half, unlike the mask head's: each pixel of the answer comes of four.
        self.heat_maps = layers.Conv2DTranspose(
            config.num_keypoints, 4, strides=2, padding="same", kernel_initializer="he_normal", name="heat_maps"
        )

    def build(self, input_shape):
        width = self.channels
        for conv in self.convs:
            conv.build((None, None, None, width))
            width = self.config.channels
        self.heat_maps.build((None, self.config.pool_size, self.config.pool_size, width))

    def call(self, features, boxes, kernels: Kernels = KERNELS):
        """Where in each box each keypoint is.

        Args:
            features: [P2 … P6].
            boxes: (B, N, 4) xyxy, pixels of the frame.
            kernels: what pools.

        Returns:
            (B, N, K, S, S) float32 logits over the S × S places of a box, S = 4 times the pooled side.
        """
        batch, num_rows = ops.shape(boxes)[:2]
        x = self.pool(features, boxes, kernels)  # (B N, P, P, C)
        for conv in self.convs:
            x = conv(x)
        x = points.double(ops.cast(self.heat_maps(x), "float32"))  # (B N, 4P, 4P, K)
        side = self.config.map_size
        return ops.reshape(ops.transpose(x, (0, 3, 1, 2)), (batch, num_rows, self.config.num_keypoints, side, side))

    def add_heat_maps(self, features, detections: PaddedDetections, kernels: Kernels = KERNELS) -> PaddedDetections:
        """The detections with a heat map for each keypoint, (B, N, K, S, S) logits; zeros in rows that were not looked at."""
        look = partial(self, features, kernels=kernels)
        return detections._replace(heat_maps=of_used_rows(lambda boxes, _: look(boxes), detections, kernels))

    def losses_of(
        self, features, targets: RoiTargets, truth: dict[str, Any], num_rows: int, kernels: Kernels = KERNELS
    ) -> dict[str, Any]:
        """The mean over the marked keypoints in the positive RoIs of the cross-entropy over the places of the heat map.

        Args:
            features: [P2 … P6].
            targets: of the sampler.
            truth: the fields of a `Batch` by name.
            num_rows: the positives stand within the first so many rows of `targets`.
            kernels: what pools, and how many of the rows are looked at.
        """
        num_rows = kernels.num_used(targets.positive[:, :num_rows])
        rois, positive = targets.rois[:, :num_rows], targets.positive[:, :num_rows]
        marked = row_ops.gather(truth["keypoints"], targets.matched[:, :num_rows])  # (B, P, K, 3)
        places, inside = keypoint_ops.keypoint_places(marked, rois, self.config.map_size)  # (B, P, K)
        heat_maps = self(features, rois, kernels=kernels)  # (B, P, K, S, S)
        counted = ops.logical_and(inside, ops.expand_dims(positive, -1))
        return {"keypoint_loss": keypoint_ops.keypoint_loss(heat_maps, places, counted, kernels.total)}
