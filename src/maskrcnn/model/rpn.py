"""Region proposal network. Faster R-CNN (Ren et al. 2015), section 3.1, on every level of the pyramid (FPN, section 4.1).

Shapes: `B` images, `A` anchors a place, `T_l = H_l · W_l · A` anchors of level l, `T` anchors of all levels, `S` sampled ones.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from keras import initializers, layers, ops

from maskrcnn.config.model import AnchorConfig, RpnConfig
from maskrcnn.model.conv import Conv2D
from maskrcnn.model.necks.fpn import STRIDES
from maskrcnn.ops import anchors as anchor_ops
from maskrcnn.ops import boxes as box_ops
from maskrcnn.ops import losses as loss_ops
from maskrcnn.ops import matching, nms
from maskrcnn.ops import rows as row_ops
from maskrcnn.ops.native import KERNELS, Kernels
from maskrcnn.structures import AnchorTargets, Proposals


class RpnOutput(NamedTuple):
    """What the head says, one entry a level."""

    anchors: list[Any]  # (T_l, 4) xyxy, pixels of the frame
    logits: list[Any]  # (B, T_l)
    deltas: list[Any]  # (B, T_l, 4)


class RPN(layers.Layer):
    def __init__(self, config: RpnConfig, anchors: AnchorConfig, channels: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.config = config
        self.anchors = anchors
        self.channels = channels
        self.cells = [anchor_ops.cell_anchors(sizes, anchors.ratios, rounded=anchors.rounded) for sizes in anchors.sizes]
        if anchors.ends == "last_pixel":
            self.cells = [cell - np.array([0, 0, 1, 1], np.float32) for cell in self.cells]
        # Faster R-CNN, section 3.1.3; one for each weight: it gives the same numbers again
        small = partial(initializers.RandomNormal, stddev=0.01)
        num_anchors = anchors.num_per_place
        self.width = config.channels or channels
        self.convs = [
            Conv2D(self.width, 3, padding="same", activation="relu", kernel_initializer=small(), name=name)
            for name in ("conv", *(f"conv{i + 2}" for i in range(config.num_convs - 1)))
        ]
        self.objectness = Conv2D(num_anchors, 1, kernel_initializer=small(), name="objectness")
        self.deltas = Conv2D(4 * num_anchors, 1, kernel_initializer=small(), name="deltas")

    def build(self, input_shape):
        width = self.channels
        for conv in self.convs:
            conv.build((None, None, None, width))
            width = self.width
        for layer in (self.objectness, self.deltas):
            layer.build((None, None, None, width))

    def call(self, features, kernels: Kernels = KERNELS) -> RpnOutput:
        """[P2 … P6] → logits and deltas of every anchor; the same head looks at every level."""
        frame = [side * STRIDES[0] for side in ops.shape(features[0])[1:3]]  # frames are multiples of every stride up to P5's
        output = RpnOutput([], [], [])
        for feature, cell, stride in zip(features, self.cells, STRIDES, strict=True):
            batch, height, width = ops.shape(feature)[:3]
            strides = (stride, stride) if self.anchors.strides == "level" else (frame[0] // height, frame[1] // width)
            hidden = feature
            for conv in self.convs:
                hidden = conv(hidden)
            output.anchors.append(anchor_ops.level_anchors(cell, strides, height, width, kernels.as_scalar))
            output.logits.append(ops.cast(ops.reshape(self.objectness(hidden), (batch, -1)), "float32"))
            output.deltas.append(ops.cast(ops.reshape(self.deltas(hidden), (batch, -1, 4)), "float32"))
        return output

    def propose(self, output: RpnOutput, regions, kernels: Kernels = KERNELS, *, training: bool) -> Proposals:
        """The best boxes of each level, cut off at the image's edge, without near-doubles. FPN, section 4.1.

        Args:
            output: of `call`.
            regions: (B, 4) xyxy, where the image lies in the frame.
            kernels: whose loop removes near-doubles.
            training: more boxes a level enter NMS, so that the heads see more kinds of box.
        """
        top_k, num_proposals = (
            (self.config.train_top_k, self.config.train_proposals) if training else (self.config.top_k, self.config.proposals)
        )
        if self.config.rank == "all_levels":
            anchors, logits, deltas = output
            output = RpnOutput(
                [ops.concatenate(anchors, axis=0)], [ops.concatenate(logits, axis=1)], [ops.concatenate(deltas, axis=1)]
            )
        all_boxes, all_logits = [], []
        for anchors, logits, deltas in zip(*output, strict=True):
            count = anchors.shape[0]
            rows = min(top_k, count) if isinstance(count, int) else top_k  # small levels hold fewer
            logits, indices, valid = row_ops.top(ops.stop_gradient(logits), rows)  # (B, R)
            deltas = row_ops.gather(ops.stop_gradient(deltas), indices)  # (B, R, 4)
            boxes = box_ops.clip(self.decode(deltas, ops.take(anchors, indices, axis=0)), regions)
            x1, y1, x2, y2 = ops.unstack(boxes, 4, axis=-1)
            large = ops.logical_and(x2 - x1 >= self.config.min_size, y2 - y1 >= self.config.min_size)
            valid = ops.logical_and(valid, large)  # (B, R)
            keep = nms.nms(boxes, valid, self.config.nms_iou, while_loop=kernels.while_loop)  # (B, R)
            all_boxes.append(boxes)
            all_logits.append(ops.where(keep, logits, -float("inf")))
        logits, indices, valid = row_ops.top(ops.concatenate(all_logits, axis=1), num_proposals)
        boxes = row_ops.gather(ops.concatenate(all_boxes, axis=1), indices)
        boxes = ops.where(ops.expand_dims(valid, -1), boxes, 0.0)
        return Proposals(boxes, ops.sigmoid(logits), valid)

    def decode(self, deltas, anchors):
        """Anchors moved by deltas, both (B, R, 4), → (B, R, 4)."""
        limits = {"max_scale": self.config.max_scale, "min_scale": self.config.min_scale}
        return box_ops.decode(deltas, anchors, self.config.delta_weights, **limits)

    def sample(self, output: RpnOutput, truth: dict[str, Any], seed, kernels: Kernels = KERNELS) -> AnchorTargets:
        """The anchors that the loss looks at, none in images of size 0. Faster R-CNN, sections 3.1.2 and 3.1.3."""
        anchors = ops.concatenate(output.anchors, axis=0)  # (T, 4)
        match = matching.match(
            ops.expand_dims(anchors, 0),
            truth["boxes"],
            truth["valid"],
            truth["crowd"],
            positive_iou=self.config.positive_iou,
            negative_iou=self.config.negative_iou,
            best_is_positive=True,
        )
        indices, positive, valid = matching.sample_balanced(
            match.positive,
            ops.logical_and(match.negative, row_ops.are_images(truth["sizes"])),
            row_ops.priorities(ops.shape(match.iou), seed, kernels),
            num_sampled=self.config.num_sampled,
            positive_fraction=self.config.positive_fraction,
        )
        objects = row_ops.gather(truth["boxes"], row_ops.gather(match.object, indices))  # (B, S, 4)
        deltas = box_ops.encode(objects, ops.take(anchors, indices, axis=0), self.config.delta_weights)
        return AnchorTargets(indices, positive, valid, ops.where(ops.expand_dims(positive, -1), deltas, 0.0))

    def losses_of(self, output: RpnOutput, targets: AnchorTargets, kernels: Kernels = KERNELS) -> dict[str, Any]:
        """Named losses, scalars. Faster R-CNN, eq. 1."""
        logits = row_ops.gather(ops.concatenate(output.logits, axis=1), targets.indices)  # (B, S)
        deltas = row_ops.gather(ops.concatenate(output.deltas, axis=1), targets.indices)  # (B, S, 4)
        if self.config.box_loss == "smooth_l1":
            rows = targets.deltas, targets.positive, targets.valid
            box_loss = loss_ops.box_loss(deltas, *rows, self.config.box_beta, kernels.total)
        else:
            anchors = ops.take(ops.concatenate(output.anchors, axis=0), targets.indices, axis=0)  # (B, S, 4)
            boxes, objects = (self.decode(each, anchors) for each in (deltas, targets.deltas))
            rows = targets.positive, targets.valid
            box_loss = loss_ops.iou_box_loss(boxes, objects, *rows, self.config.box_loss, kernels.total)
        return {
            "rpn_objectness_loss": loss_ops.objectness_loss(logits, targets.positive, targets.valid, kernels.total),
            "rpn_box_loss": box_loss,
        }
