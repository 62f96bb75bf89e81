"""Draws masks as images are rendered: coarse everywhere, fine where it matters. PointRend (Kirillov et al. 2020)."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
from keras import layers, ops

from maskrcnn.config.model import MaskHeadConfig, PointRendConfig
from maskrcnn.model.conv import Conv2D, Dense
from maskrcnn.model.heads.used_rows import of_used_rows
from maskrcnn.model.necks.fpn import STRIDES
from maskrcnn.ops import losses as loss_ops
from maskrcnn.ops import points as point_ops
from maskrcnn.ops import rows as row_ops
from maskrcnn.ops.mask_targets import mask_targets
from maskrcnn.ops.native import KERNELS, Kernels
from maskrcnn.structures import PaddedDetections, RoiTargets


class PointRendHead(layers.Layer):
    """A coarse mask a class out of 14×14 points of P2, and a point head that says of any point whether it is mask.

    A point is known by P2 there (fine) and by the coarse masks of all classes there, which go into every layer. Of the weights
    that know the classes each class has a row, so that rows can be carried over to a model of other classes.

    Shapes: `R` RoIs of all images, `Q` points of a RoI, `S` side of the coarse mask, `K` classes.
    """

    def __init__(self, config: MaskHeadConfig, point_rend: PointRendConfig, *, num_classes: int, channels: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.config = config
        self.point_rend = point_rend
        self.num_classes = num_classes
        self.channels = channels
        hidden, width = point_rend.hidden, point_rend.channels
        he = {"activation": "relu", "kernel_initializer": "he_normal"}
        self.shrink = Conv2D(config.channels, 2, strides=2, **he, name="shrink")
        self.coarse_hidden = [Dense(hidden, activation="relu", name=f"coarse_fc{i + 1}") for i in range(2)]
        self.point_hidden = [
            Dense(width, kernel_initializer="he_normal", name=f"point_fc{i + 1}") for i in range(point_rend.num_layers)
        ]

    def build(self, input_shape):
        side, width = self.config.pool_size // 2, self.channels
        self.shrink.build((None, None, None, width))
        width = self.config.channels * side * side
        for layer in self.coarse_hidden:
            layer.build((None, width))
            width = self.point_rend.hidden
        width = self.channels
        for layer in self.point_hidden:
            layer.build((None, None, width))
            width = self.point_rend.channels
        count, places = self.num_classes, self.point_rend.coarse_size**2
        draw = partial(keras.initializers.RandomNormal, stddev=0.001)  # one for each weight: it gives the same numbers again
        self.coarse_kernel = self.add_weight(
            name="class_coarse_kernel", initializer=draw(), shape=(count, places, self.point_rend.hidden)
        )
        self.coarse_bias = self.add_weight(name="class_coarse_bias", shape=(count, places), initializer="zeros")
        # What each layer of the point head takes of the coarse masks, and at last each class of them.
        self.coarse_inputs = [
            self.add_weight(name=f"class_point_fc{i + 1}", shape=(count, width), initializer="he_normal")
            for i in range(len(self.point_hidden))
        ]
        self.class_kernel = self.add_weight(name="class_kernel", initializer=draw(), shape=(count, width))
        self.class_bias = self.add_weight(name="class_bias", shape=(count,), initializer="zeros")
        self.class_to_class = self.add_weight(name="class_to_class", initializer=draw(), shape=(count, count))

    def coarse_masks(self, features, boxes):
        """(B, N, 4) boxes, pixels of the frame → (B N, S, S, K) float32 logits of every class."""
        pool, size = self.config.pool_size, self.point_rend.coarse_size
        points = ops.broadcast_to(point_ops.grid(pool), (*ops.shape(boxes)[:2], pool * pool, 2))
        x = ops.reshape(self._fine(features, boxes, points), (-1, pool, pool, self.channels))
        x = self.shrink(x)  # (R, 7, 7, C)
        x = ops.reshape(x, (-1, x.shape[1] * x.shape[2] * x.shape[3]))
        for layer in self.coarse_hidden:
            x = layer(x)
        kernel = ops.reshape(ops.convert_to_tensor(self.coarse_kernel), (-1, self.point_rend.hidden))
        logits = ops.matmul(x, ops.cast(ops.transpose(kernel), x.dtype))  # (R, K S S)
        logits = ops.cast(logits, "float32") + ops.reshape(ops.convert_to_tensor(self.coarse_bias), (-1,))
        return ops.transpose(ops.reshape(logits, (-1, self.num_classes, size, size)), (0, 2, 3, 1))

    def point_logits(self, features, boxes, coarse, points, labels):
        """What the point head says of points.

        Args:
            features: [P2 … P6].
            boxes: (B, N, 4) xyxy, pixels of the frame.
            coarse: (R, S, S, K) of these boxes.
            points: (R, Q, 2) x, y in the boxes' squares 0 to 1.
            labels: (R,) int32, the class that is asked for.

        Returns:
            (R, Q) float32.
        """
        num_points = ops.shape(points)[1]
        in_boxes = ops.reshape(points, (*ops.shape(boxes)[:2], num_points, 2))
        x = ops.reshape(self._fine(features, boxes, in_boxes), (-1, num_points, self.channels))  # (R, Q, C)
        coarse = point_ops.read_at(coarse, points * self.point_rend.coarse_size)  # (R, Q, K)
        for layer, taken in zip(self.point_hidden, self.coarse_inputs, strict=True):
            x = layer(x)
            taken = ops.cast(ops.convert_to_tensor(taken), x.dtype)
            x = ops.relu(x + ops.matmul(ops.cast(coarse, x.dtype), taken))
        rows = [ops.take(ops.convert_to_tensor(weight), labels, axis=0) for weight in (self.class_kernel, self.class_to_class)]
        fine, rough = (ops.expand_dims(ops.cast(row, x.dtype), -1) for row in rows)  # (R, C, 1), (R, K, 1)
        logits = ops.matmul(x, fine) + ops.matmul(ops.cast(coarse, x.dtype), rough)
        bias = ops.take(ops.convert_to_tensor(self.class_bias), labels, axis=0)
        return ops.cast(ops.squeeze(logits, -1), "float32") + ops.expand_dims(ops.cast(bias, "float32"), -1)

    def call(self, features, boxes, labels, kernels: Kernels = KERNELS):
        """Mask logits of one class for each box, by subdivision. PointRend, section 3.1, inference.

        From 28×28 points on each side is doubled until it is the mask's: bilinearly, but for the 28² points of which the last
        mask is least certain, which the point head says anew.

        Args:
            features: [P2 … P6].
            boxes: (B, N, 4) xyxy, pixels of the frame.
            labels: (B, N) int32 in 0 … K-1, the class whose mask is wanted.
            kernels: not used; every mask head takes them.

        Returns:
            (B, N, M, M) float32.
        """
        batch, num_rows = ops.shape(boxes)[:2]
        labels = ops.reshape(labels, (-1,))
        coarse = self.coarse_masks(features, boxes)
        side, count = self.point_rend.first_size, self.point_rend.subdivision_points
        points = ops.broadcast_to(point_ops.grid(side), (ops.shape(coarse)[0], side * side, 2))
        logits = self.point_logits(features, boxes, coarse, points, labels)  # (R, side²)
        while side < self.config.mask_size:
            logits = point_ops.double(ops.reshape(logits, (-1, side, side, 1)))
            side = 2 * side
            logits = ops.reshape(logits, (-1, side * side))
            places = point_ops.most_uncertain(logits, min(count, side * side))  # (R, Q)
            points = ops.take(point_ops.grid(side), places, axis=0)  # (R, Q, 2)
            logits = point_ops.put_at(logits, places, self.point_logits(features, boxes, coarse, points, labels))
        return ops.reshape(logits, (batch, num_rows, side, side))

    def masks(self, features, boxes, labels, kernels: Kernels = KERNELS):
        """Probabilities of a mask of one class for each box, in the arguments and the shape of `call`."""
        return ops.sigmoid(self(features, boxes, labels))

    def add_masks(self, features, detections: PaddedDetections, kernels: Kernels = KERNELS) -> PaddedDetections:
        """The detections with masks of their classes, (B, N, M, M) probabilities; see `MaskHead.add_masks`."""
        return detections._replace(masks=of_used_rows(partial(self.masks, features), detections, kernels))

    def losses_of(
        self,
        features,
        targets: RoiTargets,
        truth: dict[str, Any],
        num_rows: int,
        mask_loss,
        kernels: Kernels = KERNELS,
        *,
        training: bool,
        seed: Any = 0,
    ) -> dict[str, Any]:
        """The coarse mask's loss, and that of the points where it is least certain. PointRend, section 3.1, training.

        Args:
            features, targets, truth, num_rows, mask_loss, kernels, training: as for `MaskHead.losses_of`.
            seed: of the points.
        """
        num_rows = kernels.num_used(targets.positive[:, :num_rows])
        rois, matched, positive = (values[:, :num_rows] for values in (targets.rois, targets.matched, targets.positive))
        labels = ops.reshape(ops.maximum(targets.classes[:, :num_rows] - 1, 0), (-1,))  # (R,)
        masks, boxes = row_ops.gather(truth["masks"], matched), row_ops.gather(truth["boxes"], matched)
        coarse = self.coarse_masks(features, rois)
        own = ops.take_along_axis(coarse, ops.reshape(labels, (-1, 1, 1, 1)), axis=-1)  # (R, S, S, 1)
        size = self.point_rend.coarse_size
        target = mask_targets(masks, boxes, rois, size)  # (B, P, S, S)
        batch = ops.shape(rois)[0]
        per_roi = mask_loss(ops.stop_gradient(target), ops.reshape(own, (batch, num_rows, size, size)))  # (B, P)

        points = ops.stop_gradient(self._training_points(own, seed))  # (R, Q, 2)
        logits = self.point_logits(features, rois, coarse, points, labels)  # (R, Q)
        count = points.shape[1]
        places = point_ops.in_frame(ops.reshape(points, (batch, num_rows, count, 2)), rois)
        side = masks.shape[-1]
        places = ops.reshape(point_ops.in_box(places, boxes) * side, (-1, count, 2))
        truth_masks = ops.cast(ops.reshape(masks, (-1, side, side, 1)), "float32")
        target = ops.stop_gradient(ops.squeeze(point_ops.read_at(truth_masks, places), -1))  # (R, Q) in [0, 1]
        per_point = ops.mean(loss_ops.binary_crossentropy(target, logits), axis=-1)  # (R,)
        return {
            "mask_loss": loss_ops.weighted_mean(per_roi, positive, kernels.total),
            "point_loss": loss_ops.weighted_mean(ops.reshape(per_point, (batch, num_rows)), positive, kernels.total),
        }

    def _training_points(self, own, seed):
        """(R, Q, 2): of k times as many random points those nearest to the border, and the rest anywhere."""
        config, num_rows = self.point_rend, ops.shape(own)[0]
        near = int(config.importance * config.num_points)
        drawn = keras.random.uniform(
            (num_rows, config.oversampling * config.num_points + config.num_points - near, 2), seed=seed
        )
        anywhere, candidates = drawn[:, : config.num_points - near], drawn[:, config.num_points - near :]
        logits = ops.squeeze(point_ops.read_at(own, candidates * config.coarse_size), -1)
        chosen = row_ops.gather(candidates, point_ops.most_uncertain(logits, near))
        return ops.concatenate([chosen, anywhere], axis=1)

    def _fine(self, features, boxes, points):
        """P2 at points (B, N, Q, 2) of the boxes' squares: (B, N Q, C)."""
        batch, num_rows, count = ops.shape(points)[:3]
        places = ops.reshape(point_ops.in_frame(points, boxes), (batch, num_rows * count, 2)) / STRIDES[0]
        return point_ops.read_at(features[0], places)
