"""Box heads in a row, each on the boxes of the one before; mask heads side by side. Cai & Vasconcelos 2018, section 4."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from keras import ops

from maskrcnn.config.model import (
    BoxHeadConfig,
    CascadeConfig,
    MaskHeadConfig,
    ModelConfig,
    RoiAlignConfig,
    RoiSamplerConfig,
)
from maskrcnn.model.heads.box_head import BoxHead
from maskrcnn.model.heads.mask_head import MaskHead
from maskrcnn.model.heads.mask_scoring import MaskScoringHead
from maskrcnn.model.heads.no_masks import NoMasks
from maskrcnn.model.heads.point_rend import PointRendHead
from maskrcnn.model.heads.roi_sampler import RoiSampler
from maskrcnn.ops import boxes as box_ops
from maskrcnn.ops import class_losses as class_loss_ops
from maskrcnn.ops import native
from maskrcnn.ops.native import KERNELS, Kernels
from maskrcnn.structures import RoiTargets

MASK_HEADS: dict[str, Any] = {"fcn": MaskHead, "none": NoMasks}  # by `MaskHeadConfig.kind`; others take more numbers


def make_box_head(config: ModelConfig, *, seed: int | None = None, **kwargs) -> BoxHead:
    """The box head of this configuration, or a cascade of them."""
    sizes = {"num_classes": config.num_classes, "channels": config.fpn.channels}
    if not config.cascade.positive_ious:
        return BoxHead(config.box_head, config.roi_align, seed=seed, **sizes, **kwargs)
    return Cascade(config.box_head, config.roi_align, config.cascade, config.roi_sampler, seed=seed, **sizes, **kwargs)


def make_mask_head(config: ModelConfig, **kwargs) -> MaskHead | NoMasks | PointRendHead:
    """The mask head of this configuration, or one for each stage of its cascade."""
    kwargs |= {"num_classes": config.num_classes, "channels": config.fpn.channels}
    if config.mask_head.kind == "scoring":
        return MaskScoringHead(config.mask_head, config.roi_align, scoring=config.mask_scoring, **kwargs)
    if config.mask_head.kind == "point_rend":
        return PointRendHead(config.mask_head, config.point_rend, **kwargs)
    if config.mask_head.kind == "none" or not config.cascade.mask_heads:
        return MASK_HEADS[config.mask_head.kind](config.mask_head, config.roi_align, **kwargs)
    return MaskCascade(config.mask_head, config.roi_align, num_heads=1 + len(config.cascade.positive_ious), **kwargs)


class Cascade(BoxHead):
    """A box head, and further ones that look at where it moved its boxes; all have their say in what a box shows.

    Every stage counts fully in the losses and for a part, one over their number, in what the pyramid learns, as in detectron2.

    Args:
        config, roi_align_config: of every stage, but for the weights of its deltas.
        cascade: what the further stages differ in.
        roi_sampler: what stands for what, but for the IoU of the positives.
    """

    def __init__(
        self,
        config: BoxHeadConfig,
        roi_align_config: RoiAlignConfig,
        cascade: CascadeConfig,
        roi_sampler: RoiSamplerConfig,
        *,
        seed: int | None = None,
        **kwargs,
    ):
        scale = 1.0 / (1 + len(cascade.positive_ious))
        super().__init__(config, roi_align_config, seed=seed, gradient_scale=scale, **kwargs)
        self.cascade = cascade
        sizes = {"num_classes": self.num_classes, "channels": self.channels, "dtype": self.dtype_policy}
        self.later = [
            BoxHead(
                replace(config, delta_weights=weights),
                roi_align_config,
                seed=None if seed is None else seed + number,
                gradient_scale=scale,
                name=f"stage{number}",
                **sizes,
            )
            for number, weights in enumerate(cascade.delta_weights, start=2)
        ]
        self.samplers = [
            RoiSampler(replace(roi_sampler, positive_iou=iou), stage.config.delta_weights)
            for iou, stage in zip(cascade.positive_ious, self.later, strict=True)
        ]

    def build(self, input_shape):
        super().build(input_shape)
        for stage in self.later:
            stage.build(input_shape)
            stage.built = True

    @property
    def last_config(self) -> BoxHeadConfig:
        """Of the last stage, whose deltas move the boxes of the answer."""
        return self.later[-1].config if self.later else self.config

    def refine(self, features, boxes, regions, kernels: Kernels = KERNELS):
        """The boxes that the last stage looked at, its deltas, and what all stages together say: inference.

        Args:
            features: [P2 … P6].
            boxes: (B, N, 4) xyxy, pixels of the frame.
            regions: (B, 4) xyxy, where the image lies in the frame.
            kernels: what pools.

        Returns:
            boxes (B, N, 4); logits (B, N, K + 1), whose scores are the mean of the stages' scores, or which are the mean of
            their logits (`CascadeConfig.mean`); deltas (B, N, K, 4) or (B, N, 1, 4).
        """
        logits, deltas = self(features, boxes, kernels=kernels)
        every = [logits]
        for before, stage in zip((self, *self.later), self.later):
            boxes = _moved(before, boxes, logits, deltas, regions)
            logits, deltas = stage(features, boxes, kernels=kernels)
            every.append(logits)
        return boxes, self._mean(every), deltas

    def losses_on(
        self,
        features,
        targets: RoiTargets,
        truth: dict[str, Any],
        regions,
        kernels: Kernels = KERNELS,
        *,
        training: bool,
        seed: Any = None,
    ) -> dict[str, Any]:
        """The losses of all stages, added up by name; the arguments are those of `BoxHead.losses_on`.

        Each stage learns from the RoIs of the one before as that one moved them, with a stricter IoU of its own. Nothing flows
        back through the boxes.
        """
        logits, deltas = self(features, targets.rois, training=training, kernels=kernels)
        losses = self.losses_of(logits, deltas, targets, kernels, counted=self.counted(targets, truth, kernels, seed))
        for before, stage, sampler in zip((self, *self.later), self.later, self.samplers):
            rois = _moved(before, targets.rois, logits, deltas, regions)
            targets = sampler.label(rois, targets.valid, truth)
            logits, deltas = stage(features, rois, training=training, kernels=kernels)
            counted = stage.counted(targets, truth, kernels, seed)
            own = stage.losses_of(logits, deltas, targets, kernels, counted=counted)
            losses = {name: losses[name] + loss for name, loss in own.items()}
        return losses

    def _mean(self, every):
        """Of the logits of all stages, (B, N, K + 1) each: (B, N, K + 1)."""
        if len(every) == 1:
            return every[0]
        if self.cascade.mean == "logits":
            return sum(every) / len(every)
        return class_loss_ops.mean_logits(every, self.config.class_loss)


class MaskCascade(MaskHead):
    """Several mask heads on the same boxes, whose mean is the answer.

    MMDetection trains each on the boxes of its stage; here all learn from those that are sampled, as detectron2's only one.
    """

    def __init__(self, config: MaskHeadConfig, roi_align_config: RoiAlignConfig, *, num_heads: int, **kwargs):
        super().__init__(config, roi_align_config, **kwargs)
        sizes = {"num_classes": self.num_classes, "channels": self.channels, "dtype": self.dtype_policy}
        self.later = [MaskHead(config, roi_align_config, name=f"stage{n}", **sizes) for n in range(2, num_heads + 1)]

    def build(self, input_shape):
        super().build(input_shape)
        for head in self.later:
            head.build(input_shape)
            head.built = True

    def masks(self, features, boxes, labels, kernels: Kernels = KERNELS):
        """(B, N, M, M) probabilities, the mean of all heads'; the arguments are those of `call`."""
        masks = super().masks(features, boxes, labels, kernels)
        return sum((head.masks(features, boxes, labels, kernels) for head in self.later), masks) / (1 + len(self.later))

    def losses_of(self, *args, **kwargs) -> dict[str, Any]:
        """The means of the heads' losses; the arguments are those of `MaskHead.losses_of`."""
        losses = super().losses_of(*args, **kwargs)
        for head in self.later:
            losses = {name: losses[name] + loss for name, loss in head.losses_of(*args, **kwargs).items()}
        return {name: loss / (1 + len(self.later)) for name, loss in losses.items()}


def _moved(head: BoxHead, boxes, logits, deltas, regions):
    """Where a head moves its boxes (B, N, 4): by the deltas of the likeliest class, cut to the image, without a gradient."""
    labels = None  # of class-agnostic boxes, as detectron2's are
    if head.num_boxes > 1:  # MMDetection has such, and in training takes the true class of positives
        labels = ops.cast(ops.squeeze(native.top_k(logits[:, :, 1:], 1)[1], -1), "int32")  # (B, N); not argmax, see `Detect`
    moved = head.decode(head.deltas_of(deltas, labels), boxes)
    return ops.stop_gradient(box_ops.clip(moved, regions))
