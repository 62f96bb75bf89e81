"""ConvNeXts of torchvision and timm by themselves, as ImageNet taught them, and the names that MMDetection has for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from maskrcnn.config.backbones import CONVNEXTS, ConvNeXt
from maskrcnn.weights import layouts, naming
from maskrcnn.weights.checkpoint import Checkpoint, Layout, Rule
from maskrcnn.weights.projects import families
from maskrcnn.weights.projects.families import layer, layer_norm

NAME = "a PyTorch ConvNeXt"


class Names(NamedTuple):
    """`{stage}` and `{block}` from 0; `{odd}` and `{even}` are the places of a stage and of what is before it."""

    source: str
    stem: tuple[str, str]  # a convolution and a norm
    downsample: tuple[str, str]  # a norm and a convolution
    block: str
    depthwise: str
    norm: str
    expand: str
    project: str
    scale: str
    scale_layout: Layout
    output_norm: str = ""  # of detectors, `{stage}` from 0


# Sources: torchvision's `models/convnext.py`; timm's `models/convnext.py`, `checkpoint_filter_fn`.
NAMES = {
    "features.1.0.layer_scale": Names(
        source="torchvision",
        stem=("features.0.0", "features.0.1"),
        downsample=("features.{even}.0", "features.{even}.1"),
        block="features.{odd}.{block}",
        depthwise="block.0",
        norm="block.2",
        expand="block.3",
        project="block.5",
        scale="layer_scale",
        scale_layout=layouts.CHANNEL_FACTORS,
    ),
    "stages.0.blocks.0.gamma": Names(
        source="timm",
        stem=("stem.0", "stem.1"),
        downsample=("stages.{stage}.downsample.0", "stages.{stage}.downsample.1"),
        block="stages.{stage}.blocks.{block}",
        depthwise="conv_dw",
        norm="norm",
        expand="mlp.fc1",
        project="mlp.fc2",
        scale="gamma",
        scale_layout=layouts.VECTOR,
    ),
}

MMDETECTION = Names(  # MMClassification's `models/backbones/convnext.py`, which MMDetection's configurations name
    source="MMDetection",
    stem=("backbone.downsample_layers.0.0", "backbone.downsample_layers.0.1"),
    downsample=("backbone.downsample_layers.{stage}.0", "backbone.downsample_layers.{stage}.1"),
    block="backbone.stages.{stage}.{block}",
    depthwise="depthwise_conv",
    norm="norm",
    expand="pointwise_conv1",
    project="pointwise_conv2",
    scale="gamma",
    scale_layout=layouts.VECTOR,
    output_norm="backbone.norm{stage}",
)


def recognise(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether there is such a ConvNeXt among the tensors."""
    return families.first_telling(tensors, NAMES) is not None


def read(tensors: Mapping[str, np.ndarray]) -> Checkpoint:
    """The backbone, without its classifier.

    Raises:
        ValueError: naming a tensor that is missing or damaged; for one of another size than `CONVNEXTS`.
    """
    telling = families.first_telling(tensors, NAMES) or next(iter(NAMES))
    names, file = NAMES[telling], naming.open_file(tensors, telling)
    fits = variant_of(names, file)
    changes = {"backbone__name": fits, **families.IMAGENET_COLOURS}
    return families.checkpoint(f"{NAME} ({names.source})", file, rules(names, CONVNEXTS[fits]), changes)


def variant_of(names: Names, file: naming.File) -> str:
    """Which of `CONVNEXTS` a file holds under these names. Raises ValueError for none of them."""
    blocks = tuple(families.count(file, f"{names.block}.{names.scale}", stage=stage, odd=2 * stage + 1) for stage in range(4))
    width = file.shape(f"{names.stem[0]}.weight", 4)[0]
    return families.variant(file, "ConvNeXt", CONVNEXTS, lambda known: (known.blocks, known.channels[0]) == (blocks, width))


def rules(names: Names, numbers: ConvNeXt) -> list[Rule]:
    """A rule for each weight."""
    found = [*layer(names.stem[0], "stem_conv", layouts.CONV), *layer_norm(names.stem[1], "stem_norm")]
    for stage, num_blocks in enumerate(numbers.blocks):
        at, ours = {"stage": stage, "even": 2 * stage, "odd": 2 * stage + 1}, f"stage{stage + 1}"
        if stage:
            norm, conv = (name.format(**at) for name in names.downsample)
            found += layer_norm(norm, f"{ours}_downsample_norm") + layer(conv, f"{ours}_downsample_conv", layouts.CONV)
        for block in range(num_blocks):
            theirs, our = names.block.format(block=block, **at), f"{ours}_block{block + 1}"
            found += layer(f"{theirs}.{names.depthwise}", f"{our}_depthwise", layouts.DEPTHWISE)
            found += layer_norm(f"{theirs}.{names.norm}", f"{our}_norm")
            found += layer(f"{theirs}.{names.expand}", f"{our}_expand", layouts.DENSE)
            found += layer(f"{theirs}.{names.project}", f"{our}_project", layouts.DENSE)
            found.append(Rule(f"{theirs}.{names.scale}", f"{our}_scale/gamma", names.scale_layout))
        if names.output_norm:
            found += layer_norm(names.output_norm.format(**at), f"output{stage + 2}_norm")
    return found
