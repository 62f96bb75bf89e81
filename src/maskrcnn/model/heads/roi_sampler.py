"""Chooses the RoIs that the heads learn from. Fast R-CNN, section 2.3; Mask R-CNN, section 3.1."""

from __future__ import annotations

from typing import Any

from keras import ops

from maskrcnn.config.model import RoiSamplerConfig
from maskrcnn.ops import boxes as box_ops
from maskrcnn.ops import matching
from maskrcnn.ops import rows as row_ops
from maskrcnn.ops.native import KERNELS, Kernels
from maskrcnn.structures import Proposals, RoiTargets


class RoiSampler:
    """No weights, so no layer: a function with its numbers."""

    def __init__(self, config: RoiSamplerConfig, delta_weights: tuple[float, ...]):
        self.config = config
        self.delta_weights = delta_weights

    @property
    def num_positive(self) -> int:
        """P: the positives stand within the first so many rows."""
        return int(self.config.num_sampled * self.config.positive_fraction)

    def sample(self, proposals: Proposals, truth: dict[str, Any], seed, kernels: Kernels = KERNELS) -> RoiTargets:
        """Samples 1 positive to 3 background RoIs. True boxes join the proposals, so positives exist from the first step on.

        Args:
            proposals: in training, 1000 rows.
            truth: the fields of a `Batch` by name.
            seed: of the sampling.
            kernels: which part of the batch this is.
        """
        rois = ops.concatenate([proposals.boxes, truth["boxes"]], axis=1)  # (B, N, 4)
        is_object = ops.logical_and(truth["valid"], ops.logical_not(truth["crowd"]))
        proposed = ops.logical_and(proposals.valid, row_ops.are_images(truth["sizes"]))
        valid = ops.concatenate([proposed, is_object], axis=1)
        match = self._match(rois, truth)
        indices, positive, sampled = matching.sample_balanced(
            ops.logical_and(match.positive, valid),
            ops.logical_and(match.negative, valid),
            row_ops.priorities(ops.shape(match.iou), seed, kernels),
            num_sampled=self.config.num_sampled,
            positive_fraction=self.config.positive_fraction,
        )
        rois = ops.where(ops.expand_dims(sampled, -1), row_ops.gather(rois, indices), 0.0)
        return self._targets(rois, row_ops.gather(match.object, indices), positive, sampled, truth)

    def label(self, rois, valid, truth: dict[str, Any]) -> RoiTargets:
        """What RoIs are that were moved after they had been sampled: all of them, in their order.

        Args:
            rois: (B, S, 4) xyxy, pixels of the frame; empty ones count nothing.
            valid: (B, S) bool.
            truth: the fields of a `Batch` by name.

        Returns:
            `RoiTargets` whose positives stand in any rows.
        """
        match = self._match(rois, truth)
        valid = ops.logical_and(valid, box_ops.area(rois) > 0.0)
        positive = ops.logical_and(match.positive, valid)
        valid = ops.logical_or(positive, ops.logical_and(match.negative, valid))
        return self._targets(rois, match.object, positive, valid, truth)

    def _match(self, rois, truth: dict[str, Any]) -> matching.Match:
        return matching.match(
            rois,
            truth["boxes"],
            truth["valid"],
            truth["crowd"],
            positive_iou=self.config.positive_iou,
            negative_iou=self.config.positive_iou,
            best_is_positive=False,
            crowd_overlap=self.config.crowd_overlap,
        )

    def _targets(self, rois, matched, positive, valid, truth: dict[str, Any]) -> RoiTargets:
        """Of RoIs (B, S, 4) and the rows of their objects, positives and valid ones, (B, S) each."""
        deltas = box_ops.encode(row_ops.gather(truth["boxes"], matched), rois, self.delta_weights)
        classes = ops.where(positive, ops.cast(row_ops.gather(truth["labels"], matched), "int32") + 1, 0)
        return RoiTargets(
            rois=rois,
            classes=classes,
            deltas=ops.where(ops.expand_dims(positive, -1), deltas, 0.0),
            matched=matched,
            positive=positive,
            valid=valid,
        )
