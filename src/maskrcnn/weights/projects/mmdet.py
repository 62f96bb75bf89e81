"""MMDetection's Mask R-CNN on ResNets, ResNeXts, Swin Transformers and ConvNeXts with a feature pyramid, versions 2 and 3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maskrcnn.config import presets
from maskrcnn.config.backbones import CONVNEXTS, SWINS
from maskrcnn.config.model import Category
from maskrcnn.weights import naming
from maskrcnn.weights.categories import COCO
from maskrcnn.weights.checkpoint import Checkpoint, Rule
from maskrcnn.weights.naming import File, Names, Unit
from maskrcnn.weights.projects import convnexts, resnets, swins

NAME = "MMDetection"
TELLING = "rpn_head.rpn_cls.weight"

NAMES = Names(
    backbone=resnets.names("backbone."),
    lateral=Unit("neck.lateral_convs.{index}.conv", "neck.lateral_convs.{index}.bn"),
    output=Unit("neck.fpn_convs.{index}.conv", "neck.fpn_convs.{index}.bn"),
    rpn_conv="rpn_head.rpn_conv",
    rpn_convs="rpn_head.rpn_conv.{index}.conv",
    objectness="rpn_head.rpn_cls",
    anchor_deltas="rpn_head.rpn_reg",
    box_conv=Unit("roi_head.bbox_head.shared_convs.{index}.conv", "roi_head.bbox_head.shared_convs.{index}.bn"),
    fully_connected={
        "2fc": ("roi_head.bbox_head.shared_fcs.0", "roi_head.bbox_head.shared_fcs.1"),
        "4conv1fc": ("roi_head.bbox_head.shared_fcs.0",),
    },
    classes="roi_head.bbox_head.fc_cls",
    deltas="roi_head.bbox_head.fc_reg",
    mask_conv=Unit("roi_head.mask_head.convs.{index}.conv", "roi_head.mask_head.convs.{index}.bn"),
    deconv="roi_head.mask_head.upsample",
    masks="roi_head.mask_head.conv_logits",
    background="last",
    mask_ious="roi_head.mask_iou_head",
    class_counts="roi_head.bbox_head.loss_cls.cum_samples",
    cascade=("roi_head.bbox_head", "roi_head.mask_head"),
)

# Sources: MMDetection's `configs/_base_/models/mask-rcnn_r50_fpn.py` and `configs/_base_/datasets/coco_instance.py`,
# `models/roi_heads/roi_extractors/single_level_roi_extractor.py`, `models/task_modules/coders/delta_xywh_bbox_coder.py`,
# `docs/en/notes/compatibility.md`.
CONVENTIONS: dict[str, Any] = resnets.CONVENTIONS | {
    "image__resize": "mmdet",
    "image__frame": "tight",
    "rpn__min_size": 1e-12,  # strictly above 0
    "rpn__min_scale": 16 / 1000,  # `delta2bbox` with wh_ratio_clip cuts at both ends
    "rpn__box_beta": 0.0,  # L1Loss
    "roi_align__aligned": True,
    "roi_align__sampling_ratio": 0,
    "roi_align__canonical_size": 56.0,  # finest_scale: level 2 from 56 on is FPN's level 4 from 224 on …
    "roi_align__canonical_level": 2,
    "roi_align__level_epsilon": 1e-6,  # … but for this, which is added to side / 56
    "box_head__min_scale": 16 / 1000,
    "box_head__box_beta": 0.0,
    "mask_head__paste": "exact",
    "detect__min_side": 0.0,
}
# `configs/swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py`
# `configs/convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py`.
OTHER_BACKBONES: dict[str, Any] = {"backbone__output_norm": True, "backbone__frozen_stages": 0}
# `configs/_base_/models/cascade-mask-rcnn_r50_fpn.py`: target_stds of the further stages are 0.05, 0.05, 0.1, 0.1 and these.
CASCADE_CONVENTIONS: dict[str, Any] = {
    "cascade__positive_ious": presets.CASCADE.positive_ious,
    "cascade__delta_weights": ((20.0, 20.0, 10.0, 10.0), (1 / 0.033, 1 / 0.033, 1 / 0.067, 1 / 0.067)),
    "cascade__mean": "logits",  # `CascadeRoIHead._refine_roi`
    "rpn__train_proposals": 2000,
}
# `configs/seesaw_loss/mask-rcnn_r50_fpn_seesaw-loss_random-ms-2x_lvis-v1.py`: NormedLinear, and the answer as LVIS counts it.
SEESAW_CONVENTIONS: dict[str, Any] = {
    "box_head__cosine_temperature": 20.0,
    "detect__score": 1e-4,
    "detect__max_detections": 300,
}
# `configs/mask_rcnn/mask-rcnn_x101-32x8d_fpn_1x_coco.py`: "trained with Caffe2 at FB, so the mean and std need to be changed".
CAFFE2_RESNEXT = (32, 8)  # groups, width; the 32x4d and 64x4d are PyTorch's, with PyTorch's colors


def recognise(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether the tensors are named as MMDetection's two-stage detectors."""
    return naming.prefix_of(tensors, TELLING) is not None


def read(tensors: Mapping[str, np.ndarray], *, class_names: Sequence[str | Category] | None = None) -> Checkpoint:
    """The whole model.

    Raises:
        ValueError: naming a tensor that is missing, damaged or of another model; for files of MMDetection 1; for names of
            another number of classes.
    """
    file = naming.open_file(tensors, TELLING)
    if "bbox_head.fc_cls.weight" in file:
        raise ValueError(
            "The file is of MMDetection 1, whose classes and boxes are counted otherwise: bring it to version 2 first, with "
            "its tools/model_converters/upgrade_model_version.py."
        )
    family = _family(file)
    if family is None:
        changes, rules = naming.model_changes(NAMES, file) | CONVENTIONS, None
    else:
        names, rules = family
        changes = naming.detector_changes(NAMES, file) | CONVENTIONS | OTHER_BACKBONES | {"backbone__name": names}
    if family is None and (changes["backbone__groups"], changes["backbone__width_per_group"]) == CAFFE2_RESNEXT:
        changes["image__channel_order"] = "bgr"
    if (num_stages := len(NAMES.of_stages(file))) > 1:
        changes |= naming.cascade_changes(num_stages, CASCADE_CONVENTIONS)
    if changes.get("box_head__class_loss") == "seesaw":
        changes |= SEESAW_CONVENTIONS
    if family is None and changes["fpn__norm"] == "live":  # `mask-rcnn_r50_fpn_syncbn-all_rpn-2conv_*`: norms learn everywhere
        changes["backbone__norm"] = "live"
    assumed = (
        []
        if family
        else [
            f"The backbone is of style 'pytorch' (stride in the 3×3 convolutions, {changes['image__channel_order'].upper()}, "
            "divided by ImageNet's std); of style 'caffe' it needs --set backbone.stride_in=1x1 --set image.channel_order=bgr "
            "--set 'image.std=[1,1,1]'."
        ]
    )
    if changes.get("box_head__class_loss") == "seesaw":
        assumed.append(
            "Class logits are cosines times 20 (NormedLinear), masks are not; of a model with normed masks it needs "
            "--set mask_head.cosine_temperature=20."
        )
    return naming.read_model(
        NAME,
        NAMES,
        file,
        changes,
        published={80: COCO},
        class_names=class_names,
        ignored=("roi_head.bbox_head.loss_cls.", *(swins.derived(file) if family else ())),
        assumed=assumed,
        backbone=rules,
    )


def _family(file: File) -> tuple[str, list[Rule]] | None:
    """Name and rules of a backbone that is no ResNet; None of a ResNet, and of what is taken for one and refused by it."""
    if f"{swins.MMDETECTION.stem[0]}.weight" in file:
        name = swins.variant_of(swins.MMDETECTION, file)
        return name, swins.rules(swins.MMDETECTION, SWINS[name])
    if f"{convnexts.MMDETECTION.stem[0]}.weight" in file:
        name = convnexts.variant_of(convnexts.MMDETECTION, file)
        return name, convnexts.rules(convnexts.MMDETECTION, CONVNEXTS[name])
    return None
