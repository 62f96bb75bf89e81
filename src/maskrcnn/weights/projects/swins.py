"""Swin Transformers of torchvision and timm by themselves, as ImageNet taught them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from maskrcnn.config.backbones import SWINS, Swin
from maskrcnn.weights import layouts, naming
from maskrcnn.weights.checkpoint import Checkpoint, Rule
from maskrcnn.weights.projects import families
from maskrcnn.weights.projects.families import layer, layer_norm

NAME = "a PyTorch Swin Transformer"


class Names(NamedTuple):
    """`{stage}` and `{block}` from 0; `{odd}` and `{even}` are the places of a stage and of what is before it."""

    source: str
    stem: tuple[str, str]  # a convolution and a norm
    downsample: str
    block: str
    expand: str
    project: str


# Sources: torchvision's `models/swin_transformer.py`; timm's `models/swin_transformer.py`.
NAMES = {
    "features.1.0.attn.relative_position_bias_table": Names(
        source="torchvision",
        stem=("features.0.0", "features.0.2"),
        downsample="features.{even}",
        block="features.{odd}.{block}",
        expand="mlp.0",
        project="mlp.3",
    ),
    "layers.0.blocks.0.attn.relative_position_bias_table": Names(
        source="timm",
        stem=("patch_embed.proj", "patch_embed.norm"),
        downsample="layers.{stage}.downsample",
        block="layers.{stage}.blocks.{block}",
        expand="mlp.fc1",
        project="mlp.fc2",
    ),
}
TABLE = "attn.relative_position_bias_table"


def recognise(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether there is such a Swin Transformer among the tensors."""
    return families.first_telling(tensors, NAMES) is not None


def read(tensors: Mapping[str, np.ndarray]) -> Checkpoint:
    """The backbone, without its classifier.

    Raises:
        ValueError: naming a tensor that is missing or damaged; for one of another size than `SWINS`.
    """
    telling = families.first_telling(tensors, NAMES) or next(iter(NAMES))
    names, file = NAMES[telling], naming.open_file(tensors, telling)
    blocks = tuple(families.count(file, f"{names.block}.{TABLE}", stage=stage, odd=2 * stage + 1) for stage in range(4))
    rows, heads = file.shape(telling, 2)
    width = file.shape(f"{names.stem[0]}.weight", 4)[0]
    found = (blocks, width, heads, rows)
    fits = families.variant(
        file,
        "Swin Transformer",
        SWINS,
        lambda known: (known.blocks, known.channels, known.heads[0], (2 * known.window - 1) ** 2) == found,
    )
    changes = {"backbone__name": fits, **families.IMAGENET_COLOURS}
    # What follows from the window alone; timm does not save it.
    ignored = [name for name in file.names if name.endswith(("relative_position_index", "attn_mask"))]
    return families.checkpoint(f"{NAME} ({names.source})", file, rules(names, SWINS[fits]), changes, ignored=ignored)


def rules(names: Names, numbers: Swin) -> list[Rule]:
    """A rule for each weight."""
    found = [*layer(names.stem[0], "stem_conv", layouts.CONV), *layer_norm(names.stem[1], "stem_norm")]
    for stage, num_blocks in enumerate(numbers.blocks):
        at, ours = {"stage": stage, "even": 2 * stage, "odd": 2 * stage + 1}, f"stage{stage + 1}"
        if stage:
            downsample = names.downsample.format(**at)
            found += layer_norm(f"{downsample}.norm", f"{ours}_downsample_norm")
            found += layer(f"{downsample}.reduction", f"{ours}_downsample_reduce", layouts.DENSE, bias=False)
        for block in range(num_blocks):
            theirs, our = names.block.format(block=block, **at), f"{ours}_block{block + 1}"
            found += layer_norm(f"{theirs}.norm1", f"{our}_norm1") + layer_norm(f"{theirs}.norm2", f"{our}_norm2")
            found.append(Rule(f"{theirs}.{TABLE}", f"{our}_attention/bias_table", layouts.MATRIX))
            found += layer(f"{theirs}.attn.qkv", f"{our}_attention/qkv", layouts.DENSE)
            found += layer(f"{theirs}.attn.proj", f"{our}_attention/project", layouts.DENSE)
            found += layer(f"{theirs}.{names.expand}", f"{our}_expand", layouts.DENSE)
            found += layer(f"{theirs}.{names.project}", f"{our}_project", layouts.DENSE)
    return found
