"""detectron2's Mask R-CNN on ResNet-50, 101 and ResNeXt-101 with a pyramid: the model zoo's, and those trained like them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maskrcnn.config import presets
from maskrcnn.config.model import Category
from maskrcnn.weights import naming
from maskrcnn.weights.categories import COCO, COCO_PERSON
from maskrcnn.weights.checkpoint import Checkpoint
from maskrcnn.weights.naming import File, Names, ResNetNames, Unit

NAME = "detectron2"
TELLING = "proposal_generator.rpn_head.objectness_logits.weight"

_BLOCK = "backbone.bottom_up.res{stage}.{block}"
NAMES = Names(
    backbone=ResNetNames(
        prefix="backbone.bottom_up.",
        stem=Unit("backbone.bottom_up.stem.conv1", "backbone.bottom_up.stem.conv1.norm"),
        bottleneck=Unit(f"{_BLOCK}.conv{{number}}", f"{_BLOCK}.conv{{number}}.norm"),
        shortcut=Unit(f"{_BLOCK}.shortcut", f"{_BLOCK}.shortcut.norm"),
        offsets=f"{_BLOCK}.conv2_offset",
    ),
    lateral=Unit("backbone.fpn_lateral{stage}", "backbone.fpn_lateral{stage}.norm"),
    output=Unit("backbone.fpn_output{stage}", "backbone.fpn_output{stage}.norm"),
    rpn_conv="proposal_generator.rpn_head.conv",
    rpn_convs="proposal_generator.rpn_head.conv.conv{index}",
    objectness="proposal_generator.rpn_head.objectness_logits",
    anchor_deltas="proposal_generator.rpn_head.anchor_deltas",
    box_conv=Unit("roi_heads.box_head.conv{number}", "roi_heads.box_head.conv{number}.norm"),
    fully_connected={
        "2fc": ("roi_heads.box_head.fc1", "roi_heads.box_head.fc2"),
        "4conv1fc": ("roi_heads.box_head.fc1",),
    },
    classes="roi_heads.box_predictor.cls_score",
    deltas="roi_heads.box_predictor.bbox_pred",
    mask_conv=Unit("roi_heads.mask_head.mask_fcn{number}", "roi_heads.mask_head.mask_fcn{number}.norm"),
    deconv="roi_heads.mask_head.deconv",
    masks="roi_heads.mask_head.predictor",
    keypoint_conv="roi_heads.keypoint_head.conv_fcn{number}",
    heat_maps="roi_heads.keypoint_head.score_lowres",
    coarse_head="roi_heads.mask_head.coarse_head",
    point_head="roi_heads.mask_head.point_head",
    background="last",
    cascade=("roi_heads.box_head", "roi_heads.box_predictor"),
)

# Sources: detectron2's `config/defaults.py`, `configs/Base-RCNN-FPN.yaml`, `configs/common/models/mask_rcnn_fpn.py`,
# `modeling/{poolers,box_regression,proposal_generator/rpn}.py`.
CONVENTIONS: dict[str, Any] = {
    "image__resize": "detectron2",
    "image__frame": "tight",
    "image__channel_order": "bgr",  # INPUT.FORMAT
    "image__mean": (123.675, 116.28, 103.53),  # PIXEL_MEAN, there in BGR order
    "image__std": (1.0, 1.0, 1.0),  # PIXEL_STD of the MSRA ResNets, whose first kernels have it in them
    "backbone__stride_in": "1x1",  # RESNETS.STRIDE_IN_1X1
    "backbone__stem_pool": "symmetric",
    "rpn__min_size": 1e-12,  # strictly above 0
    "rpn__box_beta": 0.0,  # SMOOTH_L1_BETA: the absolute difference
    "roi_align__aligned": True,  # ROIAlignV2
    "roi_align__sampling_ratio": 0,  # POOLER_SAMPLING_RATIO
    "roi_align__level_epsilon": 1e-8,  # assign_boxes_to_levels
    "box_head__box_beta": 0.0,
    "mask_head__paste": "exact",
    "detect__min_side": 1e-12,  # `detector_postprocess` keeps what is nonempty …
    "detect__drop_thin": "at_the_end",  # … of the best 100
}
# `configs/COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x.yaml`: trained in Caffe2 on colors divided by ImageNet's std.
RESNEXT_CONVENTIONS: dict[str, Any] = {
    "image__std": (58.395, 57.12, 57.375),  # PIXEL_STD, there in BGR order
    "backbone__stride_in": "3x3",
}
# `configs/Misc/mask_rcnn_R_50_FPN_3x_gn.yaml`: a backbone trained in Caffe2, whose colors are not divided all the same.
GROUP_NORM_CONVENTIONS: dict[str, Any] = {"backbone__stride_in": "3x3"}
# ROI_BOX_CASCADE_HEAD in `config/defaults.py`; `configs/Misc/cascade_mask_rcnn_R_50_FPN_3x.yaml`.
CASCADE_CONVENTIONS: dict[str, Any] = {
    "cascade__positive_ious": presets.CASCADE.positive_ious,
    "cascade__delta_weights": presets.CASCADE.delta_weights,
    "rpn__train_proposals": 2000,  # RPN.POST_NMS_TOPK_TRAIN
}
CELL_ANCHORS = "proposal_generator.anchor_generator."  # in old files: what the configuration says anyway
PIXELS = ("pixel_mean", "pixel_std")


def recognise(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether the tensors are named as detectron2's R-CNNs."""
    return naming.prefix_of(tensors, TELLING) is not None


def read(tensors: Mapping[str, np.ndarray], *, class_names: Sequence[str | Category] | None = None) -> Checkpoint:
    """The whole model. Old files' cell anchors are ignored; `pixel_mean` and `pixel_std`, where a file has them, count.

    Raises:
        ValueError: naming a tensor that is missing, damaged or of another model; for names of another number of classes.
    """
    file = naming.open_file(tensors, TELLING, _todays_name)
    if not any(name.startswith("backbone.fpn_") for name in file.names):
        raise ValueError(
            "The file has no feature pyramid: detectron2's C4 and DC5 models are another architecture, which is not read."
        )
    shapes = naming.model_changes(NAMES, file)
    changes = shapes | CONVENTIONS
    assumed = []
    if shapes["backbone__groups"] > 1:
        changes |= RESNEXT_CONVENTIONS
    if shapes.get("backbone__norm") == "group":
        changes |= GROUP_NORM_CONVENTIONS
    if shapes["fpn__norm"] == "live":  # LSJ: `configs/new_baselines`, SyncBN everywhere, trained from scratch
        changes |= {"backbone__norm": "live", "backbone__frozen_stages": 0}
    if (num_stages := len(NAMES.of_stages(file))) > 1:
        changes |= naming.cascade_changes(num_stages, CASCADE_CONVENTIONS)
    told = {f"image__{name.removeprefix('pixel_')}": _colour(file, name) for name in PIXELS if name in file}
    changes |= told
    if len(told) < len(PIXELS):
        backbone = "ResNeXts" if shapes["backbone__groups"] > 1 else "ResNets"
        backbone += " with group norm" if shapes.get("backbone__norm") == "group" else ""
        assumed.append(
            f"Colors and strides are those of the model zoo's {backbone}: BGR, std {changes['image__std']} in RGB order, "
            f"stride in the {changes['backbone__stride_in']} convolutions. The file does not say; a run's config.yaml does "
            "(INPUT.FORMAT, MODEL.PIXEL_STD, MODEL.RESNETS.STRIDE_IN_1X1)."
        )
    return naming.read_model(
        NAME,
        NAMES,
        file,
        changes,
        published={1: (COCO_PERSON,)} if "keypoint_head__num_keypoints" in changes else {80: COCO},
        class_names=class_names,
        ignored=(CELL_ANCHORS, *PIXELS),
        assumed=assumed,
    )


def _todays_name(name: str) -> str:
    """Of a tensor in an early file of PointRend, as detectron2's `PointRendROIHeads` renames it when it loads one."""
    name = name.replace("roi_heads.mask_point_head.", "roi_heads.mask_head.point_head.")
    name = name.replace("roi_heads.mask_coarse_head.", "roi_heads.mask_head.coarse_head.")
    return name.replace(".coarse_head.coarse_mask_fc", ".coarse_head.fc")


def _colour(file: File, name: str) -> tuple[float, ...]:
    """A mean or std of the file, there in BGR order, in RGB order."""
    values = np.ravel(file.tensors[file.names[name]])
    if values.shape != (3,) or not np.isfinite(values).all() or (name == "pixel_std" and not (values > 0).all()):
        raise ValueError(f"Tensor {file.names[name]!r} holds {values[:4]}; three finite numbers are wanted, a std above 0.")
    return tuple(round(float(value), 4) for value in values[::-1])
