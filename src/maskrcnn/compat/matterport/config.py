"""The configuration class of matterport/Mask_RCNN, its names and its numbers."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

LOSSES = {
    "rpn_class_loss": "rpn_objectness_loss",
    "rpn_bbox_loss": "rpn_box_loss",
    "mrcnn_class_loss": "class_loss",
    "mrcnn_bbox_loss": "box_loss",
    "mrcnn_mask_loss": "mask_loss",
}


class Config:
    """A run's numbers, as class attributes that users' subclasses override. Each means what it means in matterport.

    Without a counterpart here, and so without effect: `USE_MINI_MASK`, `MINI_MASK_SHAPE` (true masks are cropped to their boxes
    in any case), `MAX_GT_INSTANCES`, `MASK_SHAPE` (it follows from `MASK_POOL_SIZE`) and `COMPUTE_BACKBONE_SHAPE`.
    """

    NAME: Any = None
    GPU_COUNT = 1
    IMAGES_PER_GPU = 2
    STEPS_PER_EPOCH = 1000
    VALIDATION_STEPS = 50
    BACKBONE = "resnet101"
    COMPUTE_BACKBONE_SHAPE = None
    BACKBONE_STRIDES: Any = (4, 8, 16, 32, 64)
    FPN_CLASSIF_FC_LAYERS_SIZE = 1024
    TOP_DOWN_PYRAMID_SIZE = 256
    NUM_CLASSES = 1
    RPN_ANCHOR_SCALES: Any = (32, 64, 128, 256, 512)
    RPN_ANCHOR_RATIOS: Any = (0.5, 1, 2)
    RPN_ANCHOR_STRIDE = 1
    RPN_NMS_THRESHOLD = 0.7
    RPN_TRAIN_ANCHORS_PER_IMAGE = 256
    PRE_NMS_LIMIT = 6000
    POST_NMS_ROIS_TRAINING = 2000
    POST_NMS_ROIS_INFERENCE = 1000
    USE_MINI_MASK = True
    MINI_MASK_SHAPE: Any = (56, 56)
    IMAGE_RESIZE_MODE = "square"
    IMAGE_MIN_DIM = 800
    IMAGE_MAX_DIM = 1024
    IMAGE_MIN_SCALE: Any = 0
    IMAGE_CHANNEL_COUNT = 3
    MEAN_PIXEL: Any = np.array([123.7, 116.8, 103.9])
    TRAIN_ROIS_PER_IMAGE = 200
    ROI_POSITIVE_RATIO = 0.33
    POOL_SIZE = 7
    MASK_POOL_SIZE = 14
    MASK_SHAPE: Any = (28, 28)
    MAX_GT_INSTANCES = 100
    RPN_BBOX_STD_DEV: Any = np.array([0.1, 0.1, 0.2, 0.2])
    BBOX_STD_DEV: Any = np.array([0.1, 0.1, 0.2, 0.2])
    DETECTION_MAX_INSTANCES = 100
    DETECTION_MIN_CONFIDENCE: Any = 0.7
    DETECTION_NMS_THRESHOLD = 0.3
    LEARNING_RATE = 0.001
    LEARNING_MOMENTUM = 0.9
    WEIGHT_DECAY = 0.0001
    LOSS_WEIGHTS: Any = dict.fromkeys(LOSSES, 1.0)
    USE_RPN_ROIS = True
    TRAIN_BN: Any = False
    GRADIENT_CLIP_NORM = 5.0

    def __init__(self) -> None:
        self.BATCH_SIZE = self.IMAGES_PER_GPU * self.GPU_COUNT
        side = self.IMAGE_MIN_DIM if self.IMAGE_RESIZE_MODE == "crop" else self.IMAGE_MAX_DIM
        self.IMAGE_SHAPE = np.array([side, side, self.IMAGE_CHANNEL_COUNT])
        self.IMAGE_META_SIZE = 1 + 3 + 3 + 4 + 1 + self.NUM_CLASSES

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in sorted(dir(self)) if name.isupper()}

    def display(self) -> None:
        """Prints every number."""
        sys.stdout.write("\nConfigurations:\n")
        for name, value in self.to_dict().items():
            sys.stdout.write(f"{name:30} {value}\n")
        sys.stdout.write("\n")
