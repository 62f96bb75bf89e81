"""torchvision's `maskrcnn_resnet50_fpn`, `maskrcnn_resnet50_fpn_v2`, and back; and `keypointrcnn_resnet50_fpn`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from maskrcnn.config import fields
from maskrcnn.config.backbones import RESNETS
from maskrcnn.config.model import Category, ModelConfig
from maskrcnn.weights import naming
from maskrcnn.weights.categories import COCO_PERSON, COCO_WITH_GAPS
from maskrcnn.weights.checkpoint import Checkpoint
from maskrcnn.weights.naming import Names, Unit
from maskrcnn.weights.projects import resnets

NAME = "torchvision"
TELLING = "rpn.head.cls_logits.weight"

NAMES = Names(
    backbone=resnets.names("backbone.body."),
    lateral=Unit("backbone.fpn.inner_blocks.{index}.0", "backbone.fpn.inner_blocks.{index}.1"),
    output=Unit("backbone.fpn.layer_blocks.{index}.0", "backbone.fpn.layer_blocks.{index}.1"),
    rpn_conv="rpn.head.conv.0.0",
    rpn_convs="rpn.head.conv.{index}.0",
    objectness="rpn.head.cls_logits",
    anchor_deltas="rpn.head.bbox_pred",
    box_conv=Unit("roi_heads.box_head.{index}.0", "roi_heads.box_head.{index}.1"),
    fully_connected={
        "2fc": ("roi_heads.box_head.fc6", "roi_heads.box_head.fc7"),
        "4conv1fc": ("roi_heads.box_head.5",),  # behind the four convolutions and a Flatten
    },
    classes="roi_heads.box_predictor.cls_score",
    deltas="roi_heads.box_predictor.bbox_pred",
    mask_conv=Unit("roi_heads.mask_head.{index}.0", "roi_heads.mask_head.{index}.1"),
    deconv="roi_heads.mask_predictor.conv5_mask",
    masks="roi_heads.mask_predictor.mask_fcn_logits",
    keypoint_conv="roi_heads.keypoint_head.{even}",  # a ReLU stands between
    heat_maps="roi_heads.keypoint_predictor.kps_score_lowres",
    background="first",
)

# Sources: torchvision's `models/detection/{mask_rcnn,faster_rcnn,rpn,roi_heads,transform,anchor_utils}.py`, `ops/poolers.py`.
CONVENTIONS: dict[str, Any] = resnets.CONVENTIONS | {
    "image__resize": "torchvision",
    "image__frame": "tight",
    "anchors__rounded": True,
    "anchors__strides": "frame",
    "rpn__train_proposals": 2000,
    "rpn__min_size": 1e-3,
    "rpn__box_beta": 1 / 9,
    "roi_align__aligned": False,
    "roi_align__sampling_ratio": 2,
    "roi_align__level_epsilon": 0.0,
    "roi_align__level_shift": 1e-6,  # LevelMapper
    "box_head__box_beta": 1 / 9,
    "mask_head__paste": "torchvision",
    "detect__min_side": 1e-2,
}
NORM_EPSILON = 1e-5  # of every norm that torchvision makes; of the COCO v1 weights' 0, see `read`


def recognise(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether the tensors are named as torchvision's R-CNNs."""
    return naming.prefix_of(tensors, TELLING) is not None


def read(tensors: Mapping[str, np.ndarray], *, class_names: Sequence[str | Category] | None = None) -> Checkpoint:
    """The whole model.

    A v1's batch norm that counted batches was live; without counters it is FrozenBatchNorm2d, whose epsilon no file tells.

    Raises:
        ValueError: naming a tensor that is missing, damaged or of another model; for names of another number of classes.
    """
    file = naming.open_file(tensors, TELLING, _todays_name)
    changes = naming.model_changes(NAMES, file) | CONVENTIONS
    published = {90: COCO_WITH_GAPS} if "keypoint_head__num_keypoints" not in changes else {1: (COCO_PERSON,)}
    assumed = []
    is_v2 = changes["fpn__norm"] == "live"
    if is_v2:
        changes["backbone__norm"] = "live"  # which is torch.nn.BatchNorm2d: stored statistics in inference, as ever
    elif f"{NAMES.backbone.stem.norm}.num_batches_tracked" in file:
        changes |= {"backbone__norm": "live", "backbone__frozen_stages": 0}  # made with weights_backbone=None
    elif changes["backbone__name"] == "resnet50" and "backbone__norm" not in changes:
        # `maskrcnn_resnet50_fpn(weights="DEFAULT")` calls overwrite_eps(model, 0.0), so models that were fine-tuned from it
        # have it too, as in PyTorch's own tutorial.
        changes["backbone__epsilon"] = 0.0
        if file.shape(f"{NAMES.classes}.weight", 2)[0] - 1 not in published:
            assumed.append(
                "The model was fine-tuned from torchvision's COCO weights, whose norms have epsilon 0; "
                "if only its backbone was pretrained, --set backbone.epsilon=1e-5 is right."
            )
    return naming.read_model(
        f"{NAME} v{2 if is_v2 else 1}",
        NAMES,
        file,
        changes,
        published=published,
        class_names=class_names,
        assumed=assumed,
    )


def _todays_name(name: str) -> str:
    """Of a tensor in a file from before 2022, such as the published v1, as torchvision renames it when it loads one."""
    name = re.sub(r"^(backbone\.fpn\.\w+_blocks\.\d)\.(weight|bias)$", r"\1.0.\2", name)
    name = re.sub(r"^rpn\.head\.conv\.(weight|bias)$", r"rpn.head.conv.0.0.\1", name)
    return re.sub(r"^roi_heads\.mask_head\.mask_fcn(\d)\.", lambda found: f"roi_heads.mask_head.{int(found[1]) - 1}.0.", name)


# What a caller of torchvision's constructors can choose: `torchvision_arguments`.
_ARGUMENTS = {
    "image.short_side": "min_size",
    "image.long_side": "max_size",
    "rpn.top_k": "rpn_pre_nms_top_n_test",
    "rpn.proposals": "rpn_post_nms_top_n_test",
    "rpn.nms_iou": "rpn_nms_thresh",
    "box_head.delta_weights": "bbox_reg_weights",
    "detect.score": "box_score_thresh",
    "detect.nms_iou": "box_nms_thresh",
    "detect.max_detections": "box_detections_per_img",
}
# What may differ: those, what only training reads, and what moves into the weights or says nothing of the answers.
_FREE = {
    *_ARGUMENTS,
    *("image.mean", "image.std", "image.channel_order", "image.scaling", "image.frame", "image.stride"),
    *("backbone.name", "backbone.groups", "backbone.width_per_group", "backbone.conv_bias", "backbone.epsilon"),
    *("backbone.norm", "backbone.frozen_stages", "fpn.epsilon", "box_head.epsilon", "mask_head.epsilon"),
    *("rpn.positive_iou", "rpn.negative_iou", "rpn.num_sampled", "rpn.positive_fraction", "rpn.train_top_k"),
    *("rpn.train_proposals", "rpn.box_beta", "box_head.box_beta", "box_head.dropout"),
    *("mask_head.truth_size", "detect.candidates"),
}
_V1 = CONVENTIONS | {"backbone__name": "resnet50"}
_V2 = _V1 | {
    "fpn__norm": "live",
    "rpn__num_convs": 2,
    "box_head__kind": "4conv1fc",
    "box_head__norm": "live",
    "mask_head__norm": "live",
}


def to_torchvision(
    arrays: Mapping[str, np.ndarray] | keras.Model, config: ModelConfig, *, epsilon: float = NORM_EPSILON
) -> dict[str, np.ndarray]:
    """The model as a state dict for torchvision, loaded with `strict=True`.

    It is for `maskrcnn_resnet50_fpn`, or `maskrcnn_resnet50_fpn_v2` where the heads have norms, made with
    `**torchvision_arguments(config)`. What torchvision keeps elsewhere moves, so that the answers stay: BGR kernels are turned
    to RGB, biases of convolutions go into the means of the norms behind them, and norms of another epsilon are rescaled.
    Background's rows of the boxes and masks, which nothing reads, are zeros.

    Args:
        arrays: weights by path, or the `Network` itself.
        config: of the model.
        epsilon: of the norms of the model that will load it: 0 for one that was made with torchvision's COCO v1 weights.

    Returns:
        float32 arrays by torchvision's names, and int64 counters of batches.

    Raises:
        ValueError: naming the first field of the configuration that torchvision's model cannot have.
    """
    _check(config)
    if isinstance(arrays, keras.Model):
        arrays = {weight.path: keras.ops.convert_to_numpy(weight) for weight in arrays.weights}
    arrays = _with_epsilon(_without_conv_biases(arrays), config, epsilon)
    tensors: dict[str, np.ndarray] = {}
    for rule in naming.model_rules(NAMES, config):
        if rule.ours not in arrays:
            raise ValueError(f"The model's weights lack {rule.ours!r}, from which {rule.theirs!r} is made.")
        tensor = np.ascontiguousarray(rule.layout.to_theirs(np.asarray(arrays[rule.ours], np.float32)))
        if not np.isfinite(tensor).all():
            raise ValueError(f"Weight {rule.ours!r} becomes values that are not finite (NaN or infinite).")
        tensors[rule.theirs] = tensor
        if rule.theirs.endswith(".running_var"):
            tensors[f"{rule.theirs.removesuffix('running_var')}num_batches_tracked"] = np.zeros((), np.int64)
    if config.image.channel_order == "bgr":
        stem = f"{NAMES.backbone.stem.conv}.weight"
        tensors[stem] = np.ascontiguousarray(tensors[stem][:, ::-1])
    return tensors


def torchvision_arguments(config: ModelConfig) -> dict[str, Any]:
    """Keyword arguments of `maskrcnn_resnet50_fpn` and `_v2` that make it answer as this model; colors from 0 to 1."""
    values = {theirs: _field(config, ours) for ours, theirs in _ARGUMENTS.items()}
    colours = {f"image_{name}": [round(value / 255, 12) for value in getattr(config.image, name)] for name in ("mean", "std")}
    return {"num_classes": config.num_classes + 1, **colours, **values}


def _check(config: ModelConfig) -> None:
    """Raises ValueError for the first field that neither of torchvision's models, as its constructors make them, can have."""
    numbers = RESNETS.get(config.backbone.name)
    if numbers is None or numbers.deep_stem:
        raise ValueError(
            f"torchvision's Mask R-CNN cannot have backbone.name={config.backbone.name!r} with these weights; it takes ResNets."
        )
    wanted = fields.replace(ModelConfig(config.categories), **(_V1 if config.fpn.norm == "none" else _V2))
    for section in dataclasses.fields(wanted):
        part = getattr(wanted, section.name)
        for field in dataclasses.fields(part) if dataclasses.is_dataclass(part) else ():
            name = f"{section.name}.{field.name}"
            ours, theirs = _field(config, name), _field(wanted, name)
            same = ours == theirs or {ours, theirs} == {"frozen", "live"} if field.name == "norm" else ours == theirs
            if section.name != "roi_sampler" and name not in _FREE and not same:
                raise ValueError(f"torchvision's Mask R-CNN cannot have {name}={ours!r}; its own is {theirs!r}.")


def _field(config: ModelConfig, name: str) -> Any:
    section, field = name.split(".")
    return getattr(getattr(config, section), field)


def _without_conv_biases(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The backbone's biases, where it has any, moved into the means of the norms behind: (x + b) - m = x - (m - b)."""
    moved = dict(arrays)
    for path in arrays:
        if path.endswith("_conv/bias"):
            mean = f"{path.removesuffix('_conv/bias')}_bn/moving_mean"
            moved[mean] = arrays[mean] - arrays[path]
            del moved[path]
    return moved


def _with_epsilon(arrays: Mapping[str, np.ndarray], config: ModelConfig, epsilon: float) -> dict[str, np.ndarray]:
    """Norms whose scale answers with `epsilon` as it did with the model's own."""
    scaled = dict(arrays)
    for path, variance in arrays.items():
        if not path.endswith("/moving_variance"):
            continue
        section = path.partition("/")[0]
        own = (getattr(config, section) if section in ("fpn", "box_head", "mask_head") else config.backbone).epsilon
        if own != epsilon:
            gamma, variance = path.replace("moving_variance", "gamma"), np.asarray(variance, np.float64)
            with np.errstate(divide="ignore", invalid="ignore"):  # a variance of 0: the caller finds what is not finite
                scaled[gamma] = (arrays[gamma] * np.sqrt((variance + epsilon) / (variance + own))).astype(np.float32)
    return scaled
