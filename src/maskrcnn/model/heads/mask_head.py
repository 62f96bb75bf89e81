"""Draws each object inside its box. Mask R-CNN, section 3 and figure 4 (right)."""

from __future__ import annotations

from functools import partial
from itertools import zip_longest
from typing import Any

from keras import layers, ops

from maskrcnn.config.model import MaskHeadConfig, RoiAlignConfig
from maskrcnn.model.conv import Conv2D, Conv2DTranspose, interleave
from maskrcnn.model.cosine import unit
from maskrcnn.model.heads.roi_pooler import RoiPooler
from maskrcnn.model.heads.used_rows import of_used_rows
from maskrcnn.model.norm import make_norms, normed_relu
from maskrcnn.ops import losses as loss_ops
from maskrcnn.ops import rows as row_ops
from maskrcnn.ops.mask_targets import mask_targets
from maskrcnn.ops.native import KERNELS, Kernels
from maskrcnn.structures import PaddedDetections, RoiTargets


class MaskHead(layers.Layer):
    """RoIAlign 14×14, four 3×3 convolutions, a deconvolution for each doubling, a 1×1 convolution a class or one for all."""

    def __init__(self, config: MaskHeadConfig, roi_align_config: RoiAlignConfig, *, num_classes: int, channels: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.config = config
        self.pool = RoiPooler(roi_align_config, config.pool_size)
        self.num_classes = num_classes
        self.channels = channels
        names = [f"conv{i + 1}" for i in range(config.num_convs)]
        conv = {"padding": "same", "use_bias": config.norm == "none", "kernel_initializer": "he_normal"}
        self.convs = [Conv2D(config.channels, 3, **conv, name=name) for name in names]
        self.norms = make_norms(config.norm, config.epsilon, [f"{name}_norm" for name in names])
        num_doublings = (config.mask_size // config.pool_size).bit_length() - 1
        self.deconvs = [
            Conv2DTranspose(config.channels, activation="relu", kernel_initializer="he_normal", name=f"deconv{i + 1}")
            for i in range(num_doublings)
        ]

    def build(self, input_shape):
        width = self.channels
        for layer in (*self.convs, *self.deconvs):
            layer.build((None, None, None, width))
            width = self.config.channels
        for norm in self.norms:
            norm.build((None, None, None, width))
        # The last 1×1 convolution, one row a class, so that only the class asked for need be computed; or one for all.
        num_masks, kind = (1, "shared") if self.config.class_agnostic else (self.num_classes, "class")
        self.class_kernel = self.add_weight(name=f"{kind}_kernel", shape=(num_masks, width), initializer="glorot_uniform")
        self.class_bias = self.add_weight(name=f"{kind}_bias", shape=(num_masks,), initializer="zeros")

    def call(self, features, boxes, labels, training=None, kernels: Kernels = KERNELS):
        """Mask logits of one class for each box.

        Args:
            features: [P2 … P6].
            boxes: (B, N, 4) xyxy, pixels of the frame.
            labels: (B, N) int32 in 0 … K-1, the class whose mask is wanted; of no account where one mask is for all.
            kernels: what pools.

        Returns:
            (B, N, M, M) float32.
        """
        return self.draw(self.pool(features, boxes, kernels), labels, training)

    def draw(self, pooled, labels, training=None):
        """As `call`, of the RoIs' features (B N, P, P, C)."""
        x, (batch, num_rows) = pooled, ops.shape(labels)[:2]
        for conv, norm in zip_longest(self.convs, self.norms):
            x = normed_relu(conv(x), norm, training)
        for deconv in self.deconvs:
            x = deconv(x)  # (B N, P, P, 4, C), then (B N, P, P, 4, 4, C)
        labels = ops.reshape(ops.zeros_like(labels) if self.config.class_agnostic else labels, (-1,))
        kernel = ops.take(ops.convert_to_tensor(self.class_kernel), labels, axis=0)  # (B N, C)
        bias = ops.take(ops.convert_to_tensor(self.class_bias), labels, axis=0)  # (B N,)
        side = self.config.mask_size
        x = ops.reshape(x, (-1, side * side, self.config.channels))  # pixels in the deconvolutions' order
        if temperature := self.config.cosine_temperature:
            x, kernel = temperature * unit(ops.cast(x, "float32"), -1), unit(ops.cast(kernel, "float32"), -1)
        logits = ops.matmul(x, ops.cast(ops.expand_dims(kernel, -1), x.dtype))  # (B N, M M, 1)
        logits = ops.cast(logits, "float32") + ops.reshape(ops.cast(bias, "float32"), (-1, 1, 1))
        logits = interleave(logits, self.config.pool_size, len(self.deconvs))
        return ops.reshape(logits, (batch, num_rows, side, side))

    def masks(self, features, boxes, labels, kernels: Kernels = KERNELS):
        """Probabilities of a mask of one class for each box, in the arguments and the shape of `call`."""
        return ops.sigmoid(self(features, boxes, labels, kernels=kernels))

    def add_masks(self, features, detections: PaddedDetections, kernels: Kernels = KERNELS) -> PaddedDetections:
        """The detections with masks of their classes, (B, N, M, M) probabilities. Mask R-CNN, section 3.1, inference.

        Only the first rows, which hold what was found, are computed where shapes may vary; masks of the others are 0.
        """
        look = partial(self.masks, features, kernels=kernels)
        return detections._replace(masks=of_used_rows(look, detections, kernels))  # (B, N, M, M)

    def losses_of(
        self,
        features,
        targets: RoiTargets,
        truth,
        num_rows: int,
        mask_loss,
        kernels: Kernels = KERNELS,
        *,
        training: bool,
        seed: Any = None,
    ) -> dict[str, Any]:
        """L_mask: the mean over the positive RoIs of the loss of their true class's mask. Mask R-CNN, section 3.

        Args:
            features: [P2 … P6].
            targets: of the sampler.
            truth: the fields of a `Batch` by name.
            num_rows: the positives stand within the first so many rows of `targets`.
            mask_loss: (target, logits), each (B, P, M, M) → (B, P).
            kernels: what pools, how many of the rows are looked at, and what adds up over devices.
            seed: not used; heads that draw points take it.
        """
        num_rows = kernels.num_used(targets.positive[:, :num_rows])
        rois, matched = targets.rois[:, :num_rows], targets.matched[:, :num_rows]
        target = mask_targets(
            row_ops.gather(truth["masks"], matched), row_ops.gather(truth["boxes"], matched), rois, self.config.mask_size
        )  # (B, P, M, M)
        labels = ops.maximum(targets.classes[:, :num_rows] - 1, 0)
        pooled = self.pool(features, rois, kernels)  # (B P, p, p, C)
        logits = self.draw(pooled, labels, training)  # (B, P, M, M)
        per_roi = mask_loss(ops.stop_gradient(target), logits)  # (B, P)
        losses = {"mask_loss": loss_ops.weighted_mean(per_roi, targets.positive[:, :num_rows], kernels.total)}
        return losses | self.losses_beside(pooled, logits, target, targets, truth, kernels)

    def losses_beside(
        self, pooled, logits, target, targets: RoiTargets, truth: dict[str, Any], kernels: Kernels
    ) -> dict[str, Any]:
        """Losses of what a kind of mask head has beside the masks: none here.

        Args:
            pooled: (B P, p, p, C) features of the positives' rows, the first P.
            logits, target: (B, P, M, M), the masks and what they should be.
            targets, truth, kernels: as of `losses_of`.
        """
        return {}
