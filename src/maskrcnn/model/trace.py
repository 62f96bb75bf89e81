"""The inference path with everything on the way kept, for people who want to see why. The same lines as `Network.infer`.

Shapes: `B` images, `T` anchors of all levels, `N` proposals, `K` classes, `D` detections, `M` mask side; boxes are xyxy in
pixels of the frame.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from maskrcnn.config.model import RoiAlignConfig
from maskrcnn.ops import boxes as box_ops
from maskrcnn.ops.class_losses import class_scores
from maskrcnn.ops.roi_align import assign_levels
from maskrcnn.structures import PaddedDetections, Proposals, RoiTargets


class Trace(NamedTuple):
    """NumPy arrays, one entry or row an image."""

    regions: np.ndarray  # (B, 4) where the image lies in its frame
    anchors: np.ndarray  # (T, 4)
    anchor_levels: np.ndarray  # (T,) int, 2 for P2 … 6 for P6
    objectness: np.ndarray  # (B, T) in [0, 1]
    anchor_boxes: np.ndarray  # (B, T, 4) each anchor moved by its deltas and cut to the image
    proposals: Proposals  # after NMS, best first
    roi_levels: np.ndarray  # (B, N) int, the level that each proposal is pooled from
    scores: np.ndarray  # (B, N, K + 1) in [0, 1], background first
    refined: np.ndarray  # (B, N, K, 4) each proposal moved by its last deltas for each class and cut to the image
    detections: PaddedDetections  # the network's answer, with small masks


def trace(network: Any, images: Any, sizes: Any) -> Trace:
    """Runs a network step by step.

    Args:
        network: a `Network`.
        images: (B, H, W, C) 0 to 255, H and W multiples of 32.
        sizes: (B, 2) height, width of the part of the frame that is image.
    """
    images, sizes = ops.convert_to_tensor(images), ops.convert_to_tensor(sizes)
    regions, visible = network.regions(images, sizes)
    features = network.fpn(network.folded_backbone(network.normalise(images, sizes)))  # [P2 … P6]
    rpn = network.rpn(features)
    proposals = network.rpn.propose(rpn, visible, training=False)
    rois, logits, deltas = network.box_head.refine(features, proposals.boxes, regions)
    found = network.detect_boxes(proposals._replace(boxes=rois), logits, deltas, regions)
    detections = network.mask_head.add_masks(features, found)
    detections = network.add_heat_maps(features, detections)

    anchors = ops.concatenate(rpn.anchors, axis=0)
    moved = box_ops.clip(network.rpn.decode(ops.concatenate(rpn.deltas, axis=1), ops.expand_dims(anchors, 0)), visible)
    config = network.box_head.last_config
    limits = {"max_scale": config.max_scale, "min_scale": config.min_scale}
    batch, num_proposals, num_classes = *ops.shape(rois)[:2], network.config.num_classes
    reference = ops.broadcast_to(ops.expand_dims(rois, 2), (batch, num_proposals, num_classes, 4))
    deltas = ops.broadcast_to(deltas, (batch, num_proposals, num_classes, 4))
    refined = box_ops.decode(deltas, reference, config.delta_weights, **limits)
    refined = box_ops.clip(ops.reshape(refined, (batch, -1, 4)), regions)
    counts = [int(level.shape[0]) for level in rpn.anchors]
    return Trace(
        regions=_array(regions),
        anchors=_array(anchors),
        anchor_levels=np.repeat(np.arange(2, 2 + len(counts)), counts),
        objectness=_array(ops.sigmoid(ops.concatenate(rpn.logits, axis=1))),
        anchor_boxes=_array(moved),
        proposals=Proposals(*map(_array, proposals)),
        roi_levels=_array(_levels(network.config.roi_align, proposals.boxes)),
        scores=_array(_scores(logits, config.class_loss)),
        refined=_array(refined).reshape(batch, num_proposals, num_classes, 4),
        detections=PaddedDetections(*map(_array, detections)),
    )


def sampled_rois(network: Any, batch: dict[str, Any], *, seed: int = 0) -> RoiTargets:
    """The RoIs that a step of training would sample, with their targets, as NumPy arrays.

    Args:
        network: a `Network`.
        batch: the fields of a `Batch` by name.
        seed: of the sampling.
    """
    batch = {name: ops.convert_to_tensor(value) for name, value in batch.items()}
    _, visible = network.regions(batch["images"], batch["sizes"])
    features = network.fpn(network.folded_backbone(network.normalise(batch["images"], batch["sizes"])))
    proposals = network.rpn.propose(network.rpn(features), visible, training=True)
    return RoiTargets(*map(_array, network.roi_sampler.sample(proposals, batch, seed)))


def _scores(logits, kind) -> Any:
    """(B, N, K + 1) background first, which is what the best class leaves where classes have scores of their own."""
    if kind != "federated":
        return ops.softmax(logits, axis=-1)
    scores = class_scores(logits, kind)
    return ops.concatenate([1.0 - ops.max(scores, axis=-1, keepdims=True), scores], axis=-1)


def _levels(config: RoiAlignConfig, boxes: Any) -> Any:
    """(B, N) the level of the pyramid that each box is pooled from."""
    return assign_levels(
        boxes,
        canonical_size=config.canonical_size,
        canonical_level=config.canonical_level,
        min_level=2,
        max_level=5,
        level_epsilon=config.level_epsilon,
        level_shift=config.level_shift,
    )


def _array(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor))
