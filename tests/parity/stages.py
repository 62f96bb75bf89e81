"""Our side of the comparison: the network with each of its stages looked at. Every array has the axis of the batch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from maskrcnn.data.resize import choose_frame, fit_to_frame, pad_to_frame
from maskrcnn.model.mask_rcnn import Network
from maskrcnn.model.rpn import RpnOutput
from maskrcnn.ops import losses as loss_ops
from maskrcnn.ops import native
from maskrcnn.structures import AnchorTargets, Proposals, RoiTargets


class Stages(keras.Model):
    """Every stage's output. The heads look at boxes handed in: else one proposal more or less would move all their rows.

    What chooses boxes is also asked with torchvision's own numbers ("…_of_theirs"): what differs there is no rounding.
    """

    def __init__(self, network: Network):
        super().__init__()
        self.network = network
        self.jit_compile = native.JIT_COMPILE

    def call(self, inputs: dict[str, Any]) -> dict[str, Any]:
        net = self.network
        regions, visible = net.regions(inputs["images"], inputs["sizes"])
        image = net.normalise(inputs["images"], inputs["sizes"])
        features = net.fpn(net.backbone(image))
        rpn = net.rpn(features)
        proposals = net.rpn.propose(rpn, visible, training=False)
        ends = np.cumsum([anchors.shape[0] for anchors in rpn.anchors])[:-1].tolist()
        their_rpn = RpnOutput(rpn.anchors, *(ops.split(inputs[name], ends, axis=1) for name in ("rpn_logits", "rpn_deltas")))
        their_proposals = Proposals(inputs["proposals"], inputs["scores"], ops.ones_like(inputs["scores"], "bool"))
        detections = net.detect_boxes(their_proposals, inputs["class_logits"], inputs["box_deltas"], regions)
        class_logits, box_deltas = net.box_head(features, inputs["proposals"])
        small_masks = ops.sigmoid(net.mask_head(features, inputs["boxes"], inputs["labels"]))
        return {
            "image": image,
            **{f"p{level}": feature for level, feature in enumerate(features, start=2)},
            "rpn_logits": ops.concatenate(rpn.logits, axis=1),
            "rpn_deltas": ops.concatenate(rpn.deltas, axis=1),
            "anchors": ops.expand_dims(ops.concatenate(rpn.anchors, axis=0), 0),
            "proposals": proposals.boxes,
            "proposals_valid": proposals.valid,
            "proposals_of_theirs": net.rpn.propose(their_rpn, visible, training=False).boxes,
            "boxes_of_theirs": detections.boxes,
            "labels_of_theirs": detections.labels,
            "valid_of_theirs": detections.valid,
            "box_features": ops.expand_dims(net.box_head.pool(features, inputs["proposals"]), 0),
            "class_logits": class_logits,
            "box_deltas": box_deltas,
            "mask_features": ops.expand_dims(net.mask_head.pool(features, inputs["boxes"]), 0),
            "small_masks": small_masks,
        }


class Losses(keras.Model):
    """The five losses for samples handed in, and the mask loss with our own targets; norms as in inference."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network
        self.jit_compile = native.JIT_COMPILE

    def call(self, inputs: dict[str, Any]) -> dict[str, Any]:
        net = self.network
        features = net.fpn(net.backbone(net.normalise(inputs["images"], inputs["sizes"])))
        anchors = AnchorTargets(**{name: inputs[f"anchor_{name}"] for name in AnchorTargets._fields})
        rois = RoiTargets(**{name: inputs[f"roi_{name}"] for name in RoiTargets._fields})
        logits, deltas = net.box_head(features, rois.rois)
        num_positive = inputs["mask_targets"].shape[1]
        labels = ops.maximum(rois.classes[:, :num_positive] - 1, 0)
        mask_logits = net.mask_head(features, rois.rois[:, :num_positive], labels)
        per_roi = net._per_roi_mask_loss(inputs["mask_targets"], mask_logits)
        losses = {
            **net.rpn.losses_of(net.rpn(features), anchors),
            **net.box_head.losses_of(logits, deltas, rois),
            "mask_loss": loss_ops.weighted_mean(per_roi, rois.positive[:, :num_positive]),
            "mask_loss_of_own_targets": net.mask_head.loss_of(
                features, rois, inputs, num_positive, net._per_roi_mask_loss, training=False
            ),
        }
        return {name: ops.reshape(loss, (1,)) for name, loss in losses.items()}


def frame_of(image: np.ndarray, network: Network) -> dict[str, np.ndarray]:
    """The network's input for one image, as `predict` makes it."""
    fitted = fit_to_frame(image, network.config.image)[0]
    frame = choose_frame([fitted.shape[:2]], network.config.image)
    return {"images": pad_to_frame(fitted, frame)[None], "sizes": np.array([fitted.shape[:2]], np.int32)}
