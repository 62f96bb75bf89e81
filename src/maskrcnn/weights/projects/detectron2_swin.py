"""detectron2's Mask R-CNN on Swin Transformers: the model zoo's, beside ViTDet, and those trained like them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maskrcnn.config.backbones import SWINS
from maskrcnn.config.model import Category
from maskrcnn.weights import naming
from maskrcnn.weights.categories import COCO
from maskrcnn.weights.checkpoint import Checkpoint
from maskrcnn.weights.projects import detectron2, swins, vitdet

NAME = "detectron2 Swin"
TELLING = "backbone.bottom_up.layers.0.blocks.0.attn.relative_position_bias_table"
# Sources: detectron2's `projects/ViTDet/configs/COCO/cascade_mask_rcnn_swin_b_in21k_50ep.py` and what it is made of.
CONVENTIONS: dict[str, Any] = vitdet.CONVENTIONS | {"fpn__top_down": True, "backbone__output_norm": True}


def recognise(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether the tensors are named as a detectron2 R-CNN on a Swin Transformer."""
    return detectron2.recognise(tensors) and naming.prefix_of(tensors, TELLING) is not None


def read(tensors: Mapping[str, np.ndarray], *, class_names: Sequence[str | Category] | None = None) -> Checkpoint:
    """The whole model. Raises as `detectron2.read`; also for a Swin Transformer of another size than `SWINS`."""
    file = naming.open_file(tensors, detectron2.TELLING)
    fits = swins.variant_of(swins.DETECTRON2, file)
    changes = {"backbone__name": fits, **naming.detector_changes(detectron2.NAMES, file), **CONVENTIONS}
    return naming.read_model(
        NAME,
        detectron2.NAMES,
        file,
        changes | vitdet.heads_changes(file),
        published={80: COCO},
        class_names=class_names,
        ignored=(*detectron2.PIXELS, *swins.derived(file)),
        assumed=[
            "Images are 1024 pixels square and RGB, as the model zoo's Swin Transformers take them; the file does not say."
        ],
        backbone=swins.rules(swins.DETECTRON2, SWINS[fits]),
    )
