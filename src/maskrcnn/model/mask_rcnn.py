"""The whole network: images in, detections or losses out. He et al. 2017, figure 1.

Shapes: `B` images, `H W` pixels of the frame, `K` classes, `M` mask side.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Collection, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from maskrcnn.config import fields
from maskrcnn.config import model as configs
from maskrcnn.config.model import ModelConfig
from maskrcnn.model.backbones.build import build_backbone
from maskrcnn.model.backbones.folding import FoldedBackbone
from maskrcnn.model.heads.cascade import make_box_head, make_mask_head
from maskrcnn.model.heads.detect import Detect
from maskrcnn.model.heads.keypoint_head import KeypointHead
from maskrcnn.model.heads.roi_sampler import RoiSampler
from maskrcnn.model.necks.fpn import FPN
from maskrcnn.model.optimizers import HEADS
from maskrcnn.model.rpn import RPN
from maskrcnn.ops import mask_losses as mask_loss_ops
from maskrcnn.ops import native
from maskrcnn.ops import rows as row_ops
from maskrcnn.ops.class_losses import class_scores
from maskrcnn.ops.native import Kernels
from maskrcnn.structures import PaddedDetections

LOSSES = ("rpn_objectness_loss", "rpn_box_loss", "class_loss", "box_loss", "mask_loss")  # of a model with masks alone
VALIDATION_SEED = 0  # validation samples the same anchors and RoIs each time, so that its losses can be compared


class Network(keras.Model):
    """Mask R-CNN as tensors see it. `maskrcnn.MaskRCNN` adds the doors: presets, files and images of any size.

    Args:
        config: every number of the model.
        backbone: a model whose layers and weights become the network's, where `config.backbone.name` is "keras".
        seed: of the sampling of anchors and RoIs in training; None draws one.
    """

    def __init__(self, config: ModelConfig, *, backbone: keras.Model | None = None, seed: int | None = None, **kwargs):
        if keras.config.image_data_format() != "channels_last":
            raise ValueError(
                "A model takes images as (B, H, W, C), and Keras is set to channels_first; call "
                "keras.config.set_image_data_format('channels_last') before a model is made or opened."
            )
        super().__init__(**kwargs)
        self.autocast = False  # under a mixed precision policy boxes stay float32; the layers cast what they compute
        self.config = config
        self.backbone = build_backbone(config.backbone, channels=config.image.channels, model=backbone)
        self.folded_backbone = FoldedBackbone(self.backbone)
        self.fpn = FPN(config.fpn, name="fpn")
        self.rpn = RPN(config.rpn, config.anchors, config.fpn.channels, name="rpn")
        self.roi_sampler = RoiSampler(config.roi_sampler, config.box_head.delta_weights)
        self.box_head = make_box_head(config, seed=seed, name="box_head")
        self.detect_boxes = Detect(config.detect, self.box_head.last_config)
        self.mask_head = make_mask_head(config, name="mask_head")
        self.keypoint_head = None
        if config.keypoint_head.num_keypoints:
            options = {"channels": config.fpn.channels, "name": "keypoint_head"}
            self.keypoint_head = KeypointHead(config.keypoint_head, config.roi_align, **options)
        self.seed = keras.random.SeedGenerator(seed)
        self.loss_names = loss_names(config)
        self.loss_trackers = [keras.metrics.Mean(name=name) for name in self.loss_names]
        self.mask_loss: Any = "binary_crossentropy"
        self.loss_weights: dict[str, float] = {}
        self._build_parts()
        self.jit_compile = native.JIT_COMPILE
        self.kernels = native.KERNELS
        self._process = os.getpid()
        self._turn: Any = threading.Lock() if native.ONE_CALL_AT_A_TIME else contextlib.nullcontext()

    def _build_parts(self) -> None:
        self.fpn.build([output.shape for output in self.backbone.outputs])
        for part in self.parts[2:]:
            part.build(None)
            part.built = True
        self.fpn.built = True
        self.built = True

    def call(self, inputs, training=None):
        """Keras's door: `{"images", "sizes"}` or images alone → `PaddedDetections`; a whole `Batch` as a dict → its losses.

        `{"images", "sizes", "prompts"}` → `PaddedDetections` of the boxes that are given, see `infer_in`.

        What comes in decides what comes out, never `training`: so `fit`, `evaluate` and `predict` of Keras all work unchanged.
        """
        if not isinstance(inputs, dict):
            inputs = {"images": inputs, "sizes": _whole_frame(inputs)}
        if "boxes" in inputs:
            return self.losses_of(inputs, training=bool(training))
        if "prompts" in inputs:
            return self.infer_in(inputs["images"], inputs["sizes"], inputs["prompts"])
        return self.infer(inputs["images"], inputs["sizes"])

    def infer(self, images, sizes, kernels: Kernels | None = None) -> PaddedDetections:
        """The inference path of the paper.

        Args:
            images: (B, H, W, C) 0 to 255, RGB where C is 3; H and W multiples of 32.
            sizes: (B, 2) height, width of the part of the frame that is image.
            kernels: an exporter's, in the place of the backend's own.

        Returns:
            `PaddedDetections`, boxes in pixels of the frame.
        """
        kernels = kernels or self.kernels
        regions, visible = self.regions(images, sizes, kernels)
        features = self.fpn(self.folded_backbone(self.normalise(images, sizes)), kernels=kernels)  # [P2 … P6]
        anchors = self.rpn(features, kernels=kernels)  # RpnOutput, every anchor of five levels
        proposals = self.rpn.propose(anchors, visible, kernels, training=False)  # Proposals, 1000 rows
        rois, logits, deltas = self.box_head.refine(features, proposals.boxes, regions, kernels)  # (B, 1000, …): 4, K+1, (K, 4)
        rois = proposals._replace(boxes=rois)  # the proposals, or what a cascade made of them
        detections = self.detect_boxes(rois, logits, deltas, regions, kernels)  # PaddedDetections, 100 rows
        detections = self.mask_head.add_masks(features, detections, kernels)  # … with masks (B, 100, 28, 28)
        return self.add_heat_maps(features, detections, kernels)  # … and, of a keypoint model, heat maps (B, 100, 17, 56, 56)

    def add_heat_maps(self, features, detections: PaddedDetections, kernels: Kernels = native.KERNELS) -> PaddedDetections:
        """The detections as they are, or with what the keypoint head says of them; features are [P2 … P6]."""
        return detections if self.keypoint_head is None else self.keypoint_head.add_heat_maps(features, detections, kernels)

    def infer_in(self, images, sizes, prompts) -> PaddedDetections:
        """What the heads see in boxes that are given, where `infer` takes the RPN's.

        Args:
            images, sizes: as for `infer`.
            prompts: (B, N, 4) xyxy, pixels of the frame.

        Returns:
            `PaddedDetections` with these boxes, row by row, each with its likeliest class, that one's score and its mask.
        """
        kernels = self.kernels
        regions, _ = self.regions(images, sizes, kernels)
        features = self.fpn(self.folded_backbone(self.normalise(images, sizes)), kernels=kernels)  # [P2 … P6]
        _, logits, _ = self.box_head.refine(features, prompts, regions, kernels)  # (B, N, K+1)
        scores = class_scores(logits, self.config.box_head.class_loss)  # (B, N, K)
        labels = ops.cast(ops.argmax(scores, axis=-1), "int32")  # (B, N)
        detections = PaddedDetections(
            boxes=prompts,
            scores=ops.max(scores, axis=-1),
            labels=labels,
            masks=self.mask_head.masks(features, prompts, labels, kernels=kernels),  # (B, N, 28, 28)
            valid=ops.ones_like(labels, dtype="bool"),
        )
        return self.add_heat_maps(features, detections, kernels)

    def losses_of(self, batch: dict[str, Any], *, training: bool) -> dict[str, Any]:
        """The training path of the paper.

        Args:
            batch: the fields of a `Batch` by name; images of size 0 count nothing.
            training: dropout works, live batch norm learns, the samples are drawn anew; else they are always the same.

        Returns:
            Five named losses, scalars; one less without masks, one more with keypoints, PointRend or mask scoring. Where
            devices have a part of the batch each, these are shares that add up to the losses of all of it.
        """
        seeds = (self.seed,) * 4 if training else tuple(range(VALIDATION_SEED, VALIDATION_SEED + 4))
        kernels = self.kernels
        regions, visible = self.regions(batch["images"], batch["sizes"], kernels)
        batch = {**batch, **{name: ops.cast(batch[name], "bool") for name in ("crowd", "valid")}}  # uint8 on several devices
        if self.config.anchors.ends == "last_pixel":
            batch = {**batch, "boxes": batch["boxes"] - ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0])}
        images = self.normalise(batch["images"], batch["sizes"])
        features = self.fpn(self.folded_backbone(images, training=training), training=training, kernels=kernels)  # [P2 … P6]
        rpn = self.rpn(features, kernels=kernels)
        anchor_targets = self.rpn.sample(rpn, batch, seeds[0], kernels)
        proposals = self.rpn.propose(rpn, visible, kernels, training=True)
        targets = self.roi_sampler.sample(proposals, batch, seeds[1], kernels)  # RoiTargets, 512 rows
        num_positive, per_roi = self.roi_sampler.num_positive, self._per_roi_mask_loss
        losses = {
            **self.rpn.losses_of(rpn, anchor_targets, kernels),
            **self.box_head.losses_on(features, targets, batch, regions, kernels, training=training, seed=seeds[3]),
            **self.mask_head.losses_of(
                features, targets, batch, num_positive, per_roi, kernels, training=training, seed=seeds[2]
            ),
        }
        if self.keypoint_head is not None:
            losses |= self.keypoint_head.losses_of(features, targets, batch, num_positive, kernels)
        return losses

    def normalise(self, images, sizes):
        """Colors as the backbone was trained on them; the padding is 0 after that, or before it (`image.padding`).

        Args:
            images: (B, H, W, C) 0 to 255, RGB where C is 3; uint8 or float, the padding 0.
            sizes: (B, 2) height, width of the part of the frame that is image.

        Returns:
            (B, H, W, C) float32.
        """
        image = self.config.image
        mean, std = (ops.convert_to_tensor(np.array(colour, "float32")) for colour in (image.mean, image.std))
        pixels = (ops.cast(images, "float32") - mean) / std
        if image.channel_order == "bgr":
            pixels = ops.flip(pixels, axis=-1)
        if image.padding == "black":
            return pixels
        inside = []
        for axis in (0, 1):
            first = ops.expand_dims(self._first_pixel(images, sizes)[axis], -1)  # (B, 1)
            pixel = ops.arange(ops.shape(images)[1 + axis], dtype="int32")
            after = first + ops.cast(sizes[:, axis : axis + 1], "int32")
            inside.append(ops.logical_and(pixel >= first, pixel < after))  # (B, H), then (B, W)
        inside = ops.logical_and(ops.expand_dims(inside[0], 2), ops.expand_dims(inside[1], 1))
        return ops.where(ops.expand_dims(inside, -1), pixels, 0.0)

    def regions(self, images, sizes, kernels: Kernels = native.KERNELS):
        """Where boxes may lie: (B, 4) xyxy of the image in its frame, and of what the RPN takes for image.

        The second is the whole frame where the padding is as black as an image may be (matterport).
        """
        top, left = self._first_pixel(images, sizes)  # (B,)
        height, width = ops.unstack(ops.cast(sizes, "int32"), 2, axis=1)
        regions = ops.cast(ops.stack([left, top, left + width, top + height], axis=1), "float32")
        if self.config.anchors.ends == "last_pixel":
            regions = regions - ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0])
        if self.config.image.padding == "mean":
            return regions, regions
        last = 1.0 if self.config.anchors.ends == "last_pixel" else 0.0
        frame_height, frame_width = ops.unstack(ops.cast(_whole_frame(images, kernels), "float32") - last, 2, axis=1)
        zeros = ops.zeros_like(frame_height)
        return regions, ops.stack([zeros, zeros, frame_width, frame_height], axis=1)

    def _first_pixel(self, images, sizes):
        """Row and column of the frame where the image begins, each (B,) int32."""
        sizes = ops.cast(sizes, "int32")
        if self.config.image.place == "corner":
            zeros = ops.zeros_like(sizes[:, 0])  # (B,), of sizes (B, 2)
            return zeros, zeros
        height, width = ops.shape(images)[1:3]
        return (height - sizes[:, 0]) // 2, (width - sizes[:, 1]) // 2

    # ── what learns ──

    @property
    def parts(self) -> list[keras.Layer]:
        """The backbone and every head that the model has."""
        heads = [getattr(self, head) for head in HEADS]
        return [self.backbone, *(head for head in heads if head is not None)]

    def named_layers(self) -> dict[str, keras.Layer]:
        """Every part, and after it those of its layers that have weights, by name: `"fpn"`, `"fpn/lateral2"` and so on."""
        named = {}
        for part in self.parts:
            named[part.name] = part
            layers = part._flatten_layers(include_self=False)
            named.update({_name_of(layer, part): layer for layer in layers if layer.weights})
        return named

    def set_frozen(self, names: Collection[str]) -> None:
        """Freezes these of `named_layers` and no others. Takes effect when the model is compiled."""
        # A part hands its state down to its layers, so they come after it; on TensorFlow only where its state is a new one.
        for name, layer in self.named_layers().items():
            layer.trainable = name not in names

    # ── what Keras asks for ──

    def _check_process(self) -> None:
        """A backend's threads are not there in a forked process, which would wait for them for ever."""
        if os.getpid() != self._process:
            raise RuntimeError(
                f"This model was made in process {self._process} and cannot be used in {os.getpid()}, which was forked: "
                'load the model in the process that uses it, or start that one with multiprocessing.get_context("spawn").'
            )

    def predict_on_batch(self, x):
        """As `keras.Model.predict_on_batch`; several threads may ask one model, but no forked process.

        Raises:
            RuntimeError: in a process that was forked from the one that made the model.
        """
        self._check_process()
        with self._turn:
            return native.in_parts(super().predict_on_batch, self, x)

    def evaluate(self, *args, **kwargs):
        """As `keras.Model.evaluate`; the model outlives what goes wrong in it."""
        self._check_process()
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            synchronize(self)

    def predict(self, *args, **kwargs):
        """As `keras.Model.predict`; the model outlives what goes wrong in it."""
        self._check_process()
        try:
            return super().predict(*args, **kwargs)
        finally:
            synchronize(self)

    def _get_jax_state(self, *, purge_model_variables=False, **groups):
        """As Keras's on JAX, which keeps what it takes out nowhere until a first step is done: an image may fail before."""
        state = super()._get_jax_state(purge_model_variables=purge_model_variables, **groups)
        if purge_model_variables:
            self._jax_state = dict(zip(groups, state, strict=True))
        return state

    def compile(self, optimizer="adam", loss="binary_crossentropy", *, loss_weights=None, jit_compile="auto", **kwargs):
        """As `keras.Model.compile`, with two differences.

        Args:
            loss: the mask loss: `"binary_crossentropy"` (the paper's, or what `config.mask_head.mask_loss` names), the name
                of another Keras loss such as `"dice"`, or a function of (target, probabilities), each (RoIs, M·M), that gives
                one number a RoI.
            loss_weights: factor of each loss by its name, one of `rpn_objectness_loss`, `rpn_box_loss`, `class_loss`,
                `box_loss`, `mask_loss`, `point_loss`, `mask_iou_loss`, `keypoint_loss`; 1 where not given.
            jit_compile: `"auto"` chooses what is measured to be faster on the backend (docs/measurements.md).

        Raises:
            ValueError: for loss weights that are no dict or of an unknown name, or for `metrics`, which have no single target
                here: `maskrcnn.inference.scoring` and the `val_mask_ap` of `maskrcnn.verbs.train` take their place.
        """
        if kwargs.get("metrics") or kwargs.get("weighted_metrics"):
            raise ValueError("compile() takes no metrics: all losses are shown, and maskrcnn.evaluate gives the AP.")
        if loss_weights is not None and not isinstance(loss_weights, Mapping):
            raise ValueError(f"loss_weights are factors by name, such as {{'mask_loss': 2.0}}; received {loss_weights!r:.100}.")
        loss_weights = dict(loss_weights or {})
        if set(loss_weights) - set(self.loss_names):
            unknown = ", ".join(map(repr, sorted(set(loss_weights) - set(self.loss_names))))
            raise ValueError(f"Unknown loss in loss_weights: {unknown}; possible: {', '.join(self.loss_names)}.")
        if jit_compile == "auto":
            jit_compile = native.JIT_COMPILE and not kwargs.get("run_eagerly")
        loss = "binary_crossentropy" if loss is None else loss
        super().compile(optimizer=optimizer, loss=None, jit_compile=jit_compile, **kwargs)
        self.mask_loss = loss if isinstance(loss, str) else keras.losses.get(loss)
        self.loss_weights = loss_weights
        by_xla = jit_compile and not native.JIT_COMPILE  # which can compile neither TensorFlow's own kernel nor rows that vary
        self.kernels = native.PORTABLE if by_xla else native.KERNELS

    def _per_roi_mask_loss(self, target, logits):
        """The mask loss of every RoI: target, logits (B, P, M, M) → (B, P)."""
        if self.mask_loss == "binary_crossentropy":
            return mask_loss_ops.mask_loss(target, logits, self.config.mask_head.mask_loss)
        batch, num_rows, side = ops.shape(logits)[:3]
        loss = keras.losses.get(self.mask_loss)
        loss = loss.call if isinstance(loss, keras.losses.Loss) else loss
        rows = [ops.reshape(values, (-1, 1, side * side)) for values in (target, ops.sigmoid(logits))]
        # One RoI at a time: some of Keras's losses, dice among them, give one number for all rows together.
        per_roi = ops.vectorized_map(lambda row: ops.mean(loss(*row)), rows)
        return ops.reshape(per_roi, (batch, num_rows))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Sum of the named losses, which are shown by name in training and in validation."""
        if not isinstance(y_pred, dict):
            raise ValueError(
                "fit() and evaluate() need batches that hold boxes, labels and masks beside the images; received "
                f"{type(x).__name__}. Make them with maskrcnn.load_dataset(...) or maskrcnn.data.make_loader(...)."
            )
        _, parts = self.kernels.part()
        num_images = self.kernels.total(ops.sum(ops.cast(row_ops.are_images(x["sizes"]), "float32")))
        shown = self.kernels.total(ops.stop_gradient(ops.stack([y_pred[name] for name in self.loss_names])))
        for tracker, value in zip(self.loss_trackers, ops.unstack(shown, len(self.loss_names)), strict=True):
            tracker.update_state(value, sample_weight=num_images)
        losses = [y_pred[name] * self.loss_weights.get(name, 1.0) for name in self.loss_names]
        # Regularisers, where a user adds some: each device has them whole, and gradients are summed over devices.
        losses.extend(self._aggregate_additional_loss(loss) / parts for loss in self.losses)
        return ops.sum(ops.stack(losses))

    def get_metrics_result(self):
        """As Keras's, whose mean of the loss counts images of size 0 and knows this device's part of a batch alone."""
        results = super().get_metrics_result()
        if "loss" in results and not self.losses:
            losses = [results[name] * self.loss_weights.get(name, 1.0) for name in self.loss_names]
            results["loss"] = ops.sum(ops.stack(losses))
        return results

    def get_config(self):
        config = {"config": fields.to_dict(self.config)}
        if self.config.backbone.name == "keras":
            config["backbone"] = keras.saving.serialize_keras_object(self.backbone)
        return config

    @classmethod
    def from_config(cls, config):
        # Layers by name, in Keras's safe mode: a file runs nothing.
        backbone = keras.saving.deserialize_keras_object(config["backbone"]) if "backbone" in config else None
        return cls(configs.from_dict(config["config"]), backbone=backbone)

    def get_compile_config(self):
        config = super().get_compile_config()
        if config:
            config["loss"] = keras.saving.serialize_keras_object(self.mask_loss)
            config["loss_weights"] = self.loss_weights
            # The one in use: float16 wraps what was given to scale its loss.
            config["optimizer"] = keras.saving.serialize_keras_object(self.optimizer)
            config["optimizer_built"] = self.optimizer.built
            config["frozen"] = [name for name, layer in self.named_layers().items() if not layer.trainable]
            if self.jit_compile == native.JIT_COMPILE:
                config["jit_compile"] = "auto"  # the file may be opened on another backend
        return config

    def compile_from_config(self, config):
        config = keras.saving.deserialize_keras_object(config)
        optimizer_built = config.pop("optimizer_built")
        if (frozen := config.pop("frozen", None)) is not None:  # the run's choice, which the optimizer's state rests on
            self.set_frozen(frozen)
        self.compile(**config)
        if optimizer_built:
            self.optimizer.build(self.trainable_variables)  # so that its saved state finds its place


def loss_names(config: ModelConfig) -> tuple[str, ...]:
    """What the losses of such a model are called."""
    names = (name for name in LOSSES if name != "mask_loss" or config.mask_head.kind != "none")
    beside = {"point_rend": ("point_loss",), "scoring": ("mask_iou_loss",)}.get(config.mask_head.kind, ())
    return (*names, *beside, *(["keypoint_loss"] if config.keypoint_head.num_keypoints else []))


def _name_of(layer: keras.Layer, part: keras.Layer) -> str:
    """`part/layer`, and where the layer lies in another one of the part, with that one between them."""
    return layer.path if layer.path.startswith(f"{part.name}/") else f"{part.name}/{layer.name}"


def _whole_frame(images, kernels: Kernels = native.KERNELS):
    """(B, H, W, C) frames that are all image → (B, 2) int32 height, width of each."""
    batch, *sides = ops.shape(images)[:3]
    return ops.tile(ops.stack([kernels.as_scalar(side, "int32") for side in sides])[None], (batch, 1))


def synchronize(model: keras.Model) -> None:
    """On JAX, Keras holds the weights outside of a model while it works; this puts the newest back, after an error too."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()
