"""A mask head that also says how good its masks are. Huang et al. 2019 (Mask Scoring R-CNN), section 3."""

from __future__ import annotations

from typing import Any

from keras import ops

from maskrcnn.config.model import MaskHeadConfig, MaskScoringConfig, RoiAlignConfig
from maskrcnn.model.conv import Conv2D, Dense
from maskrcnn.model.heads.mask_head import MaskHead
from maskrcnn.model.heads.used_rows import of_used_rows
from maskrcnn.ops import losses as loss_ops
from maskrcnn.ops import mask_ious as iou_ops
from maskrcnn.ops import rows as row_ops
from maskrcnn.ops.native import KERNELS, Kernels
from maskrcnn.structures import PaddedDetections, RoiTargets

LOSS_WEIGHT = 0.5  # of the MaskIoU loss; MMDetection's `ms_rcnn`


class MaskScoringHead(MaskHead):
    """A mask head, and convolutions and dense layers on its pooled features and its mask that predict the mask's IoU a class.

    A detection's score is what the box head says times that IoU (section 3.4), and detections are ordered by it.
    """

    def __init__(self, config: MaskHeadConfig, roi_align_config: RoiAlignConfig, *, scoring: MaskScoringConfig, **kwargs):
        super().__init__(config, roi_align_config, **kwargs)
        self.scoring = scoring
        conv = {"activation": "relu", "kernel_initializer": "he_normal"}
        same, last = {"padding": "same"}, {"padding": "valid", "strides": 2}  # behind a border of one pixel on all sides
        self.iou_convs = [
            Conv2D(scoring.channels, 3, **conv, **(last if number == scoring.num_convs else same), name=f"iou_conv{number}")
            for number in range(1, scoring.num_convs + 1)
        ]
        self.iou_hidden = [Dense(scoring.hidden, activation="relu", name=f"iou_fc{number}") for number in (1, 2)]

    def build(self, input_shape):
        super().build(input_shape)
        width = self.channels + 1
        for layer in self.iou_convs:
            layer.build((None, self.config.pool_size, self.config.pool_size, width))
            width = self.scoring.channels
        width *= ((self.config.pool_size + 1) // 2) ** 2
        for layer in self.iou_hidden:
            layer.build((None, width))
            width = self.scoring.hidden
        # One row a class, as of the mask's last convolution.
        self.iou_kernel = self.add_weight(
            name="class_iou_kernel", shape=(self.num_classes, width), initializer="glorot_uniform"
        )
        self.iou_bias = self.add_weight(name="class_iou_bias", shape=(self.num_classes,), initializer="zeros")

    def ious(self, pooled, masks, labels):
        """The predicted IoU of masks.

        Args:
            pooled: (B N, P, P, C) the RoIs' features.
            masks: (B, N, M, M) probabilities.
            labels: (B, N) int32 in 0 … K-1.

        Returns:
            (B, N) float32, about 0 to 1.
        """
        side, batch = self.config.pool_size, ops.shape(labels)[:2]
        step = self.config.mask_size // side
        small = ops.max(ops.reshape(masks, (-1, side, step, side, step)), axis=(2, 4))  # (B N, P, P)
        x = ops.concatenate([pooled, ops.cast(ops.expand_dims(small, -1), pooled.dtype)], axis=-1)
        for conv in self.iou_convs[:-1]:
            x = conv(x)
        x = self.iou_convs[-1](ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))))
        x = ops.reshape(x, (-1, x.shape[1] * x.shape[2] * x.shape[3]))
        for layer in self.iou_hidden:
            x = layer(x)
        kernel = ops.take(ops.convert_to_tensor(self.iou_kernel), ops.reshape(labels, (-1,)), axis=0)  # (B N, F)
        bias = ops.take(ops.convert_to_tensor(self.iou_bias), ops.reshape(labels, (-1,)), axis=0)
        answer = ops.sum(ops.cast(x, "float32") * ops.cast(kernel, "float32"), axis=-1) + ops.cast(bias, "float32")
        return ops.reshape(answer, batch)

    def add_masks(self, features, detections: PaddedDetections, kernels: Kernels = KERNELS) -> PaddedDetections:
        """The detections with masks, and with scores that are multiplied by the masks' IoU, best first again."""

        def look(boxes, labels):
            pooled = self.pool(features, boxes, kernels)
            masks = ops.sigmoid(self.draw(pooled, labels))
            ious = ops.clip(self.ious(pooled, masks, labels), 0.0, 1.0)
            flat = ops.reshape(masks, (*ops.shape(labels)[:2], self.config.mask_size**2))
            return ops.concatenate([flat, ops.expand_dims(ious, -1)], axis=-1)  # (B, n, M M + 1)

        answer = of_used_rows(look, detections, kernels)
        batch, num_rows, side = ops.shape(answer)[0], detections.valid.shape[1], self.config.mask_size
        scores = ops.where(detections.valid, detections.scores * answer[:, :, -1], -float("inf"))
        scores, order, valid = row_ops.top(scores, num_rows)
        masks = ops.reshape(row_ops.gather(answer[:, :, :-1], order), (batch, num_rows, side, side))
        return detections._replace(
            boxes=ops.where(ops.expand_dims(valid, -1), row_ops.gather(detections.boxes, order), 0.0),
            scores=ops.where(valid, scores, 0.0),
            labels=row_ops.gather(detections.labels, order),
            masks=masks,
            valid=valid,
        )

    def losses_beside(
        self, pooled, logits, target, targets: RoiTargets, truth: dict[str, Any], kernels: Kernels
    ) -> dict[str, Any]:
        """The squared error of the predicted IoU, over the positives whose mask touches its object. Section 3.3.

        The arguments are those of `MaskHead.losses_beside`.
        """
        num_rows = ops.shape(logits)[1]
        rois, matched = targets.rois[:, :num_rows], targets.matched[:, :num_rows]
        boxes, masks = (row_ops.gather(truth[name], matched) for name in ("boxes", "masks"))
        wanted = ops.stop_gradient(iou_ops.mask_ious(logits > 0.0, target, iou_ops.inside_shares(masks, boxes, rois)))
        labels = ops.maximum(targets.classes[:, :num_rows] - 1, 0)
        found = self.ious(pooled, ops.sigmoid(logits), labels)
        counted = ops.logical_and(targets.positive[:, :num_rows], wanted > 0.0)
        loss = loss_ops.weighted_mean(ops.square(found - wanted), counted, kernels.total)
        return {"mask_iou_loss": LOSS_WEIGHT * loss}
