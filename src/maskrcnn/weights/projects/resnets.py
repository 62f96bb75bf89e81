"""ResNets of torchvision and timm by themselves, as ImageNet taught them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from maskrcnn.weights import naming
from maskrcnn.weights.checkpoint import Checkpoint
from maskrcnn.weights.naming import ResNetNames, Unit

NAME = "a PyTorch ResNet"
TELLING = "layer1.0.conv1.weight"

# What PyTorch's ResNets share that no tensor tells. Sources: torchvision's `models/resnet.py` ("places the stride … at 3x3")
# and the transforms of its weights; timm's `resnet.py` and IMAGENET_DEFAULT_MEAN.
CONVENTIONS: dict[str, Any] = {
    "backbone__stride_in": "3x3",
    "backbone__stem_pool": "symmetric",
    "image__channel_order": "rgb",
    "image__mean": (123.675, 116.28, 103.53),
    "image__std": (58.395, 57.12, 57.375),
}


def names(prefix: str) -> ResNetNames:
    """As torchvision names its layers; timm and MMDetection followed."""
    block = f"{prefix}layer{{layer}}.{{block}}"
    return ResNetNames(
        prefix=prefix,
        stem=Unit(f"{prefix}conv1", f"{prefix}bn1"),
        bottleneck=Unit(f"{block}.conv{{number}}", f"{block}.bn{{number}}"),
        shortcut=Unit(f"{block}.downsample.0", f"{block}.downsample.1"),
        # timm's ResNet-D, "resnet50d": `conv1` is a sequence of convolutions, norms and activations.
        deep_stem=tuple(
            Unit(f"{prefix}conv1.{conv}", f"{prefix}{norm}") for conv, norm in ((0, "conv1.1"), (3, "conv1.4"), (6, "bn1"))
        ),
        offsets=f"{block}.conv2.conv_offset",  # MMDetection
        averaged_shortcut=Unit(f"{block}.downsample.1", f"{block}.downsample.2"),
    )


def recognise(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether there is such a ResNet among the tensors; whole models have one too, so ask this last."""
    return naming.prefix_of(tensors, TELLING) is not None


def read(tensors: Mapping[str, np.ndarray]) -> Checkpoint:
    """The backbone, without its classifier.

    Raises:
        ValueError: naming a tensor that is missing, damaged, or has no place in a ResNet of `RESNETS`.
    """
    file = naming.open_file(tensors, TELLING)
    changes = naming.backbone_changes(names(""), file) | CONVENTIONS
    assumed = ["The colors are torchvision's and timm's usual ones: RGB with ImageNet's mean and standard deviation."]
    return naming.read_backbone(NAME, names(""), file, changes, assumed=assumed)
