"""The parts of Mask R-CNN as plain Keras layers, to be used one by one in a `keras.Model` of your own.

Each takes and gives tensors, is saved with the model, and runs on TensorFlow, JAX and PyTorch. `MaskRCNN` is made of the same
parts and adds what a detector needs around them: sampling, losses, and images of any size.

    images = keras.Input((256, 256, 3))
    resnet = keras.applications.ResNet50(include_top=False, weights="imagenet", input_tensor=images)
    levels = [resnet.get_layer(f"conv{stage}_out").output for stage in ("2_block3", "3_block4", "4_block6", "5_block3")]
    pyramid = FPN(256)(levels)
    objectness, deltas, proposals = RPN(num_anchors=9)(pyramid)
    model = keras.Model(images, {"objectness": objectness, "deltas": deltas})
    model.compile(optimizer="adam", loss={"objectness": "binary_crossentropy", "deltas": "huber"})

Shapes: `B` images, `C` channels, `T` anchors of all levels, `N` boxes, `P` pooled side, `K` classes, `M` mask side. Boxes are
xyxy in pixels of the image that the model was given.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from maskrcnn.config.model import (
    AnchorConfig,
    BoxHeadConfig,
    FpnConfig,
    MaskHeadConfig,
    Norm,
    RoiAlignConfig,
    RpnConfig,
)
from maskrcnn.model import rpn
from maskrcnn.model.heads import box_head, mask_head, roi_pooler
from maskrcnn.model.necks import fpn
from maskrcnn.ops import anchors as anchor_ops
from maskrcnn.ops import boxes as box_ops
from maskrcnn.ops import matching, nms
from maskrcnn.ops import rows as row_ops

__all__ = ["FPN", "RPN", "RoIAlign", "BoxHead", "MaskHead", "NMS"]

_serializable = keras.saving.register_keras_serializable(package="maskrcnn.layers")
_RATIOS = 3  # heights to widths, of `AnchorConfig.ratios`


@_serializable
class FPN(keras.layers.Layer):
    """Feature pyramid network (Lin et al. 2017, section 3): [C2, C3, C4, C5] → [P2, P3, P4, P5, P6].

    Args:
        channels: of every level of the pyramid.
        norm: behind each convolution: "none", "live" (batch norm), "frozen" or "group".
    """

    def __init__(self, channels: int = 256, norm: Norm = "none", **kwargs: Any):
        super().__init__(**kwargs)
        self.channels = channels
        self.neck = fpn.FPN(FpnConfig(channels=channels, norm=norm), dtype=self.dtype_policy, name="neck")

    def build(self, input_shape):
        self.neck.build(input_shape)
        self.neck.built = True

    def call(self, features, training=None):
        """Adds what coarse maps know to fine ones.

        Args:
            features: [C2, C3, C4, C5], (B, H/4, W/4, ·) … (B, H/32, W/32, ·).
            training: whether batch norm, if it is live, uses the batch's own statistics.

        Returns:
            [P2 … P6], (B, H/4, W/4, channels) … (B, H/64, W/64, channels).
        """
        return self.neck(features, training=training)

    def compute_output_shape(self, input_shape):
        shapes = [(*shape[:3], self.channels) for shape in input_shape]
        batch, height, width, _ = shapes[-1]
        return [*shapes, (batch, *(side and (side + 1) // 2 for side in (height, width)), self.channels)]


@_serializable
class RPN(keras.layers.Layer):
    """Region proposal network (Ren et al. 2015, section 3.1) on every level of a pyramid.

    Args:
        num_anchors: at each place, a multiple of 3: the aspect ratios 0.5, 1 and 2 at one size for 3, at three sizes within an
            octave for 9 (RetinaNet, Lin et al. 2017, section 4).
        num_proposals: boxes an image, after suppression, into which twice as many of each level go.
        nms_iou: a proposal is removed where it overlaps a better one by more.
    """

    def __init__(self, num_anchors: int = 9, num_proposals: int = 1000, nms_iou: float = 0.7, **kwargs: Any):
        super().__init__(**kwargs)
        if num_anchors < _RATIOS or num_anchors % _RATIOS:
            raise ValueError(f"num_anchors is a multiple of {_RATIOS}, one for each aspect ratio; received {num_anchors}.")
        self.num_anchors, self.num_proposals = num_anchors, num_proposals
        sizes = num_anchors // _RATIOS
        self.anchor_config = AnchorConfig(
            sizes=tuple(tuple(size * 2 ** (step / sizes) for step in range(sizes)) for (size,) in AnchorConfig().sizes)
        )
        counts = {"proposals": num_proposals, "train_proposals": num_proposals}
        counts |= {
            "top_k": 2 * num_proposals,
            "train_top_k": 2 * num_proposals,
        }  # a level; Detectron's FPN settings in training
        self.rpn_config = RpnConfig(**counts, nms_iou=nms_iou)

    def build(self, input_shape):
        channels = input_shape[0][-1]
        self.head = rpn.RPN(self.rpn_config, self.anchor_config, channels, dtype=self.dtype_policy, name="head")
        self.head.build(None)
        self.head.built = True

    def call(self, features, training=None):
        """Looks at every anchor.

        Args:
            features: [P2 … P6].
            training: as of every Keras layer.

        Returns:
            objectness (B, T, 1), probabilities; deltas (B, T, 4) from the anchors to the objects; proposals (B, N, 4), best
            first, where rows of zeros are padding.
        """
        output = self.head(features)
        batch, height, width = ops.shape(features[0])[:3]
        sides = [ops.cast(side * fpn.STRIDES[0], "float32") for side in (width, height)]
        frame = ops.tile(ops.reshape(ops.stack([sides[0] * 0, sides[1] * 0, *sides]), (1, 4)), (batch, 1))
        proposals = self.head.propose(output, frame, training=bool(training))
        logits, deltas = ops.concatenate(output.logits, axis=1), ops.concatenate(output.deltas, axis=1)
        return ops.expand_dims(ops.sigmoid(logits), -1), deltas, proposals.boxes

    def compute_output_spec(self, features, training=None):
        shapes = [feature.shape for feature in features]
        counts = [shape[1] * shape[2] * self.num_anchors if shape[1] and shape[2] else None for shape in shapes]
        total = None if None in counts else sum(counts)
        batch = shapes[0][0]
        answers = ((batch, total, 1), (batch, total, 4), (batch, self.num_proposals, 4))
        return tuple(keras.KerasTensor(shape, "float32") for shape in answers)

    def anchor_targets(self, height: int, width: int, boxes):
        """What the network should say of images with these objects: sections 3.1.2 and 3.1.3.

        Args:
            height, width: of the images, multiples of 32.
            boxes: (B, N, 4) of the objects; rows of zeros are padding.

        Returns:
            Targets and sample weights for `fit`, two dicts of "objectness" and "deltas": labels (B, T, 1), 1 for an anchor on
            an object, weighted (B, T) with 0 where it is neither on it nor off it; deltas (B, T, 4), which count where it is.
        """
        sides = [(-(-height // stride), -(-width // stride)) for stride in fpn.STRIDES]
        anchors = ops.concatenate([self._anchors(level, *side) for level, side in enumerate(sides)], axis=0)  # (T, 4)
        boxes = ops.convert_to_tensor(boxes, dtype="float32")
        valid = boxes[..., 2] > boxes[..., 0]
        ious = {"positive_iou": self.rpn_config.positive_iou, "negative_iou": self.rpn_config.negative_iou}
        crowd = ops.zeros_like(valid)
        found = matching.match(ops.expand_dims(anchors, 0), boxes, valid, crowd, **ious, best_is_positive=True)
        on, counts = (ops.cast(rows, "float32") for rows in (found.positive, ops.logical_or(found.positive, found.negative)))
        deltas = box_ops.encode(row_ops.gather(boxes, found.object), anchors, self.rpn_config.delta_weights)
        deltas = ops.where(ops.expand_dims(found.positive, -1), deltas, 0.0)
        return {"objectness": ops.expand_dims(on, -1), "deltas": deltas}, {"objectness": counts, "deltas": on}

    def _anchors(self, level: int, height: int, width: int):
        """(T_l, 4) of one level."""
        stride = fpn.STRIDES[level]
        cells = anchor_ops.cell_anchors(self.anchor_config.sizes[level], self.anchor_config.ratios)
        return anchor_ops.level_anchors(cells, (stride, stride), height, width)


@_serializable
class RoIAlign(keras.layers.Layer):
    """RoIAlign (He et al. 2017, section 3), from the level of the pyramid that a box's size chooses (FPN paper, eq. 1).

    Args:
        pool_size: side of what is cut out: 7 for boxes, 14 for masks.
        sampling_ratio: samples a bin along each axis; 0: as many as it has pixels.
        aligned: whether pixel centers lie at half a pixel.
    """

    def __init__(self, pool_size: int = 7, sampling_ratio: int = 2, aligned: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.pool_size = pool_size
        config = RoiAlignConfig(sampling_ratio=sampling_ratio, aligned=aligned)
        self.pool = roi_pooler.RoiPooler(config, pool_size)

    def call(self, features, boxes):
        """Cuts the features of each box out of its level.

        Args:
            features: [P2 … P5] or [P2 … P6]; P6 is not used.
            boxes: (B, N, 4) xyxy, pixels of the image.

        Returns:
            (B, N, P, P, C).
        """
        batch, num_rows = ops.shape(boxes)[:2]
        pooled = self.pool(features, boxes)
        return ops.reshape(pooled, (batch, num_rows, self.pool_size, self.pool_size, features[0].shape[-1]))

    def compute_output_spec(self, features, boxes):
        shape = (*boxes.shape[:2], self.pool_size, self.pool_size, features[0].shape[-1])
        return keras.KerasTensor(shape, self.compute_dtype)


@_serializable
class BoxHead(keras.layers.Layer):
    """Two fully connected layers on what RoIAlign cut out, then the class and the box of each class. Fast R-CNN, section 2.

    Args:
        num_classes: K, background not counted.
        hidden: width of the two layers.
    """

    def __init__(self, num_classes: int, hidden: int = 1024, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_classes, self.hidden = num_classes, hidden

    def build(self, input_shape):
        config = BoxHeadConfig(hidden=self.hidden, pool_size=input_shape[2])
        sizes = {"num_classes": self.num_classes, "channels": input_shape[-1]}
        self.head = box_head.BoxHead(config, RoiAlignConfig(), dtype=self.dtype_policy, name="head", **sizes)
        self.head.pool = _as_rows
        self.head.build(None)
        self.head.built = True

    def call(self, pooled, training=None):
        """Classifies each box and refines it.

        Args:
            pooled: (B, N, P, P, C), of `RoIAlign`.
            training: as of every Keras layer.

        Returns:
            scores (B, N, K + 1), background first, that add up to 1; and deltas (B, N, K, 4), for each class from the box that
            was pooled to the object's.
        """
        logits, deltas = self.head(pooled, pooled, training=training)
        return ops.softmax(logits), deltas

    def compute_output_spec(self, pooled, training=None):
        rows = pooled.shape[:2]
        answers = ((*rows, self.num_classes + 1), (*rows, self.num_classes, 4))
        return tuple(keras.KerasTensor(shape, "float32") for shape in answers)


@_serializable
class MaskHead(keras.layers.Layer):
    """Four convolutions and a deconvolution on what RoIAlign cut out, then one mask. He et al. 2017, figure 4.

    Args:
        num_classes: K, background not counted.
        channels: of the convolutions.
    """

    def __init__(self, num_classes: int, channels: int = 256, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_classes, self.channels = num_classes, channels

    def build(self, input_shape):
        self.side = 2 * input_shape[2]
        config = MaskHeadConfig(channels=self.channels, pool_size=input_shape[2], mask_size=self.side)
        sizes = {"num_classes": self.num_classes, "channels": input_shape[-1]}
        self.head = mask_head.MaskHead(config, RoiAlignConfig(), dtype=self.dtype_policy, name="head", **sizes)
        self.head.pool = _as_rows
        self.head.build(None)
        self.head.built = True

    def call(self, pooled, labels, training=None):
        """Draws the mask of each box.

        Args:
            pooled: (B, N, P, P, C), of `RoIAlign`.
            labels: (B, N) the class of each row, 0 … K − 1, whose mask is wanted.
            training: as of every Keras layer.

        Returns:
            (B, N, M, M) probabilities, M = 2 P, each mask stretched over its box.
        """
        return ops.sigmoid(self.head(pooled, pooled, ops.cast(labels, "int32"), training=training))

    def compute_output_spec(self, pooled, labels, training=None):
        return keras.KerasTensor((*pooled.shape[:2], 2 * pooled.shape[2], 2 * pooled.shape[2]), "float32")


@_serializable
class NMS(keras.layers.Layer):
    """Greedy non-maximum suppression, exact, of all images at once; the number of rows stays fixed.

    Args:
        iou: a box is removed where it overlaps a better one by more.
        max_boxes: rows of the answer.
    """

    def __init__(self, iou: float = 0.5, max_boxes: int = 100, **kwargs: Any):
        super().__init__(**kwargs)
        self.iou, self.max_boxes = iou, max_boxes

    def call(self, boxes, scores):
        """Keeps the best of boxes that overlap.

        Args:
            boxes: (B, N, 4) xyxy, in any order.
            scores: (B, N).

        Returns:
            boxes (B, max_boxes, 4) and scores (B, max_boxes), best first, and which rows hold a box (B, max_boxes); the others
            are zeros.
        """
        scores, order, valid = row_ops.top(scores, boxes.shape[1])
        boxes = row_ops.gather(boxes, order)
        kept = nms.nms(boxes, valid, self.iou)
        scores, order, valid = row_ops.top(ops.where(kept, scores, -float("inf")), self.max_boxes)
        boxes = ops.where(ops.expand_dims(valid, -1), row_ops.gather(boxes, order), 0.0)
        return boxes, ops.where(valid, scores, 0.0), valid

    def compute_output_spec(self, boxes, scores):
        batch = boxes.shape[0]
        rows = (batch, self.max_boxes)
        return (
            keras.KerasTensor((*rows, 4), boxes.dtype),
            keras.KerasTensor(rows, scores.dtype),
            keras.KerasTensor(rows, "bool"),
        )


def _as_rows(pooled, *_):
    """(B, N, P, P, C) → (B N, P, P, C): in the place of a head's own pooling, whose other arguments say nothing here."""
    return ops.reshape(pooled, (-1, *pooled.shape[2:]))
