"""Says of each RoI what it is and where exactly. Fast R-CNN, section 2; FPN, section 4.2."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from keras import initializers, layers, ops

from maskrcnn.config.model import BoxHeadConfig, RoiAlignConfig
from maskrcnn.model.conv import Conv2D, Dense
from maskrcnn.model.cosine import CosineDense
from maskrcnn.model.heads.roi_pooler import RoiPooler
from maskrcnn.model.norm import make_norms, normed_relu
from maskrcnn.ops import boxes as box_ops
from maskrcnn.ops import class_losses as class_loss_ops
from maskrcnn.ops import gradients as gradient_ops
from maskrcnn.ops import losses as loss_ops
from maskrcnn.ops.native import KERNELS, Kernels
from maskrcnn.structures import RoiTargets


class BoxHead(layers.Layer):
    """RoIAlign, then two fully connected layers, or four convolutions and one, then class logits and deltas.

    Args:
        gradient_scale: in training, what reaches the pyramid of this head's gradients.
    """

    def __init__(
        self,
        config: BoxHeadConfig,
        roi_align_config: RoiAlignConfig,
        *,
        num_classes: int,
        channels: int,
        seed: int | None = None,
        gradient_scale: float = 1.0,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.config = config
        self.pool = RoiPooler(roi_align_config, config.pool_size)
        self.num_classes = num_classes
        self.channels = channels
        self.gradient_scale = gradient_scale
        num_convs, num_hidden = {"2fc": (0, 2), "4conv1fc": (4, 1)}[config.kind]
        conv = {"padding": "same", "use_bias": config.norm == "none", "kernel_initializer": "he_normal"}
        self.convs = [Conv2D(config.conv_channels, 3, **conv, name=f"conv{i + 1}") for i in range(num_convs)]
        self.hidden = [Dense(config.hidden, name=f"fc{i + 1}") for i in range(num_hidden)]
        normed = self.convs or self.hidden
        self.norms = make_norms(config.norm, config.epsilon, [f"{layer.name}_norm" for layer in normed])
        self.dropout = layers.Dropout(
            config.dropout, seed=seed, name="dropout"
        )  # without one PyTorch draws from its global state
        self.classes = self._logits(num_classes + 1, "classes")
        self.objectness = self._logits(1, "objectness") if config.class_loss == "seesaw" else None
        self.num_boxes = 1 if config.class_agnostic else num_classes
        self.deltas = Dense(
            4 * self.num_boxes,
            kernel_initializer=initializers.RandomNormal(stddev=0.001),  # Fast R-CNN, 4.2
            name="shared_deltas" if config.class_agnostic else "deltas",  # the others have rows for each class
        )

    def _logits(self, units: int, name: str) -> layers.Layer:
        kernel_initializer = initializers.RandomNormal(stddev=0.01)  # Fast R-CNN, 4.2
        if temperature := self.config.cosine_temperature:
            return CosineDense(units, temperature=temperature, kernel_initializer=kernel_initializer, name=name)
        return Dense(units, kernel_initializer=kernel_initializer, name=name)

    def build(self, input_shape):
        pool, width = self.config.pool_size, self.channels
        for conv in self.convs:
            conv.build((None, pool, pool, width))
            width = self.config.conv_channels
        width = pool * pool * width
        for layer in self.hidden:
            layer.build((None, width))
            width = self.config.hidden
        for norm in self.norms:
            norm.build((None, pool, pool, self.config.conv_channels) if self.convs else (None, width))
        self.dropout.build((None, width))
        self.classes.build((None, width))
        if self.objectness is not None:
            self.objectness.build((None, width))
        self.deltas.build((None, width))

    def call(self, features, boxes, training=None, kernels: Kernels = KERNELS):
        """Looks at RoIs.

        Args:
            features: [P2 … P6]; P6 is for the RPN alone.
            boxes: (B, N, 4) xyxy, pixels of the frame.
            kernels: what pools.

        Returns:
            logits (B, N, K + 1), background first, and deltas (B, N, K, 4), or (B, N, 1, 4) for all classes; both float32.
            `ops.class_losses.class_scores` makes scores of the logits.
        """
        x = self.pool(features, boxes, kernels)  # (B N, P, P, C)
        if training and self.gradient_scale != 1.0:
            x = gradient_ops.scale_gradient(x, self.gradient_scale)
        batch, num_rows = ops.shape(boxes)[:2]
        conv_norms, hidden_norms = (self.norms, []) if self.convs else ([], self.norms)
        for conv, norm in zip_longest(self.convs, conv_norms):
            x = normed_relu(conv(x), norm, training)
        x = ops.reshape(x, (-1, x.shape[1] * x.shape[2] * x.shape[3]))  # (B N, P P C)
        for layer, norm in zip_longest(self.hidden, hidden_norms):
            x = self.dropout(normed_relu(layer(x), norm, training), training=training)
        logits = ops.cast(ops.reshape(self.classes(x), (batch, num_rows, self.num_classes + 1)), "float32")
        if self.objectness is not None:
            objectness = ops.cast(ops.reshape(self.objectness(x), (batch, num_rows, 1)), "float32")
            logits = class_loss_ops.with_objectness(logits, objectness)
        deltas = ops.reshape(self.deltas(x), (batch, num_rows, self.num_boxes, 4))
        return logits, ops.cast(deltas, "float32")

    @property
    def last_config(self) -> BoxHeadConfig:
        """Of the head whose deltas move the boxes of the answer: this one."""
        return self.config

    def refine(self, features, boxes, regions, kernels: Kernels = KERNELS):
        """The boxes that the answer's deltas move, here those that were given, with the answer of `call`: inference.

        Args:
            features, boxes, kernels: as of `call`.
            regions: (B, 4) xyxy, where the image lies in the frame.

        Returns:
            boxes (B, N, 4), logits and deltas.
        """
        logits, deltas = self(features, boxes, kernels=kernels)
        return boxes, logits, deltas

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
        """What `losses_of` says of the sampled RoIs.

        Args:
            features: [P2 … P6].
            targets: of the sampler.
            truth: the fields of a `Batch` by name.
            regions: (B, 4) xyxy, where the image lies in the frame.
            kernels: what pools, and what adds up over devices.
            seed: of the classes that the federated loss draws.
        """
        logits, deltas = self(features, targets.rois, training=training, kernels=kernels)  # (B, S, K + 1), (B, S, K, 4)
        return self.losses_of(logits, deltas, targets, kernels, counted=self.counted(targets, truth, kernels, seed))

    def counted(self, targets: RoiTargets, truth: dict[str, Any], kernels: Kernels, seed):
        """(B, K) bool or (1, K): classes whose absence the federated loss counts; None where the loss is another one."""
        if self.config.class_loss != "federated":
            return None
        options = {"num_sampled": self.config.federated_classes, "seed": seed, "total": kernels.total}
        numbers = self.config.class_counts, self.num_classes
        chosen = class_loss_ops.federated_classes(targets.classes, targets.valid, *numbers, **options)
        marks = truth.get("class_marks", ())
        return ops.expand_dims(chosen, 0) if isinstance(marks, tuple) else class_loss_ops.counted_classes(chosen, marks)

    def losses_of(
        self, logits, deltas, targets: RoiTargets, kernels: Kernels = KERNELS, *, counted: Any = None
    ) -> dict[str, Any]:
        """Named losses, scalars. Fast R-CNN, section 2.3.

        Args:
            logits: (B, S, K + 1) of `call` on `targets.rois`.
            deltas: (B, S, K, 4) or (B, S, 1, 4).
            kernels: what adds up over devices.
            counted: of `counted`.
        """
        deltas = self.deltas_of(deltas, ops.maximum(targets.classes - 1, 0))  # of the true class
        if self.config.box_loss == "smooth_l1":
            rows = targets.deltas, targets.positive, targets.valid
            box_loss = loss_ops.box_loss(deltas, *rows, self.config.box_beta, kernels.total)
        else:
            boxes, objects = (self.decode(each, targets.rois) for each in (deltas, targets.deltas))
            rows = targets.positive, targets.valid
            box_loss = loss_ops.iou_box_loss(boxes, objects, *rows, self.config.box_loss, kernels.total)
        return {"class_loss": self._class_loss(logits, targets, kernels, counted), "box_loss": box_loss}

    def _class_loss(self, logits, targets: RoiTargets, kernels: Kernels, counted):
        config, rows = self.config, (logits, targets.classes, targets.valid)
        if config.class_loss == "federated":
            return class_loss_ops.federated_loss(*rows, counted, kernels.total)
        if config.class_loss == "seesaw":
            return class_loss_ops.seesaw_loss(*rows, config.class_counts, kernels.total)
        options = {
            "class_weights": config.class_weights,
            "focal_gamma": config.focal_gamma,
            "label_smoothing": config.label_smoothing,
        }
        return loss_ops.class_loss(*rows, **options, total=kernels.total)

    def deltas_of(self, deltas, labels):
        """The deltas of one class for each RoI: (B, S, K, 4) or (B, S, 1, 4), and labels (B, S) in 0 … K-1, → (B, S, 4)."""
        if self.num_boxes == 1:
            return deltas[:, :, 0]
        return ops.einsum("bsk,bskd->bsd", ops.one_hot(labels, self.num_boxes, dtype=deltas.dtype), deltas)

    def decode(self, deltas, rois):
        """RoIs moved by deltas, both (B, S, 4), → (B, S, 4)."""
        limits = {"max_scale": self.config.max_scale, "min_scale": self.config.min_scale}
        return box_ops.decode(deltas, rois, self.config.delta_weights, **limits)
