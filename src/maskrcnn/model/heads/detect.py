"""From the box head's answers to at most so many detections an image. Fast R-CNN, section 3.1; Mask R-CNN, section 3.1."""

from __future__ import annotations

from keras import ops

from maskrcnn.config.model import BoxHeadConfig, DetectConfig
from maskrcnn.ops import boxes as box_ops
from maskrcnn.ops import native, nms
from maskrcnn.ops import rows as row_ops
from maskrcnn.ops.class_losses import class_scores
from maskrcnn.ops.native import KERNELS, Kernels
from maskrcnn.structures import PaddedDetections, Proposals


class Detect:
    """No weights, so no layer: a function with its numbers."""

    def __init__(self, config: DetectConfig, box_head: BoxHeadConfig):
        self.config = config
        self.box_head = box_head

    def __call__(self, proposals: Proposals, logits, deltas, regions, kernels: Kernels = KERNELS) -> PaddedDetections:
        """Scores every class of every proposal, moves the boxes, removes doubles. Masks come later and are None.

        Args:
            proposals: (B, N).
            logits: (B, N, K + 1), background first.
            deltas: (B, N, K, 4), or (B, N, 1, 4) for all classes.
            regions: (B, 4) xyxy, where the image lies in the frame.
            kernels: whose loop removes doubles.
        """
        batch, _, num_logits = ops.shape(logits)
        num_classes = num_logits - 1
        scores = class_scores(logits, self.box_head.class_loss)  # (B, N, K)
        good = scores > self.config.score
        if self.config.classes == "best":
            # Not argmax: on TensorFlow it looks at the sign bit of zeros, for which ONNX and LiteRT have no operator.
            _, best = native.top_k(logits, 1)  # (B, N, 1), 0 is background
            good = ops.logical_and(good, ops.equal(ops.cast(best, "int32") - 1, ops.arange(num_classes, dtype="int32")))
        good = ops.logical_and(good, ops.expand_dims(proposals.valid, -1))
        scores = ops.reshape(ops.where(good, scores, -float("inf")), (batch, -1))  # (B, N K)
        count = scores.shape[1]
        rows = min(self.config.candidates, count) if isinstance(count, int) else self.config.candidates
        scores, pairs, valid = row_ops.top(scores, rows)  # (B, R)
        labels = pairs % num_classes
        reference = row_ops.gather(proposals.boxes, pairs // num_classes)
        moved = pairs if deltas.shape[2] == num_classes else pairs // num_classes
        deltas = row_ops.gather(ops.reshape(deltas, (batch, -1, 4)), moved)
        limits = {"max_scale": self.box_head.max_scale, "min_scale": self.box_head.min_scale}
        boxes = box_ops.decode(deltas, reference, self.box_head.delta_weights, **limits)
        boxes = box_ops.clip(boxes, regions)
        if self.config.drop_thin == "before_nms":
            valid = ops.logical_and(valid, self._is_large(boxes))
        kinds = labels if self.config.nms == "per_class" else None  # (B, R)
        scores = self._without_doubles(boxes, scores, valid, kinds, kernels)  # (B, R)
        scores, indices, valid = row_ops.top(scores, self.config.max_detections)
        if self.config.drop_thin == "at_the_end":
            large = self._is_large(row_ops.gather(boxes, indices))
            scores, kept, valid = row_ops.top(ops.where(large, scores, -float("inf")), self.config.max_detections)
            indices = row_ops.gather(indices, kept)
        return PaddedDetections(
            boxes=ops.where(ops.expand_dims(valid, -1), row_ops.gather(boxes, indices), 0.0),
            scores=ops.where(valid, scores, 0.0),
            labels=row_ops.gather(labels, indices),
            masks=None,
            valid=valid,
        )

    def _is_large(self, boxes):
        """(B, R) bool, of boxes (B, R, 4)."""
        x1, y1, x2, y2 = ops.unstack(boxes, 4, axis=-1)
        return ops.logical_and(x2 - x1 >= self.config.min_side, y2 - y1 >= self.config.min_side)

    def _without_doubles(self, boxes, scores, valid, kinds, kernels: Kernels):
        """(B, R) scores, -inf of what is none or the double of a better one; under Soft-NMS doubles keep a part of theirs."""
        if self.config.soft_nms == "none":
            keep = nms.nms(boxes, valid, self.config.nms_iou, kinds, while_loop=kernels.while_loop)
            return ops.where(keep, scores, -float("inf"))
        kept = nms.soft_nms(
            boxes,
            ops.where(valid, scores, -float("inf")),
            kinds,
            num=self.config.max_detections,
            kind=self.config.soft_nms,
            iou_threshold=self.config.nms_iou,
            sigma=self.config.soft_nms_sigma,
            while_loop=kernels.while_loop,
        )
        return ops.where(kept > self.config.score, kept, -float("inf"))
