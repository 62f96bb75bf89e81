"""Swin Transformers of torchvision and timm, as ImageNet taught them, and the names that detectors have for them."""

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
    """`{stage}` and `{block}` from 0; `{before}` is the stage before, `{odd}` and `{even}` the places of a stage and of what is
    before it."""

    source: str
    stem: tuple[str, str]  # a convolution and a norm
    downsample: str
    block: str
    expand: str
    project: str
    attention: str = "attn"
    output_norm: str = ""  # of detectors, `{stage}` from 0
    merged_by_channel: bool = False  # the inputs of patch merging, see `layouts.MERGED`


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
TABLE = "relative_position_bias_table"
DETECTRON2 = Names(  # detectron2's `modeling/backbone/swin.py`
    source="detectron2",
    stem=("backbone.bottom_up.patch_embed.proj", "backbone.bottom_up.patch_embed.norm"),
    downsample="backbone.bottom_up.layers.{before}.downsample",
    block="backbone.bottom_up.layers.{stage}.blocks.{block}",
    expand="mlp.fc1",
    project="mlp.fc2",
    output_norm="backbone.bottom_up.norm{stage}",
)
MMDETECTION = Names(  # MMDetection's `models/backbones/swin.py` and `models/layers/transformer/utils.py`, PatchMerging
    source="MMDetection",
    stem=("backbone.patch_embed.projection", "backbone.patch_embed.norm"),
    downsample="backbone.stages.{before}.downsample",
    block="backbone.stages.{stage}.blocks.{block}",
    expand="ffn.layers.0.0",
    project="ffn.layers.1",
    attention="attn.w_msa",
    output_norm="backbone.norm{stage}",
    merged_by_channel=True,
)


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
    fits = variant_of(names, file)
    changes = {"backbone__name": fits, **families.IMAGENET_COLOURS}
    return families.checkpoint(f"{NAME} ({names.source})", file, rules(names, SWINS[fits]), changes, ignored=derived(file))


def derived(file: naming.File) -> list[str]:
    """Names of tensors that follow from the window alone; timm does not save them."""
    return [name for name in file.names if name.endswith(("relative_position_index", "attn_mask"))]


def variant_of(names: Names, file: naming.File) -> str:
    """Which of `SWINS` a file holds under these names. Raises ValueError for none of them."""
    table = f"{names.block}.{names.attention}.{TABLE}"
    blocks = tuple(families.count(file, table, stage=stage, odd=2 * stage + 1) for stage in range(4))
    rows, heads = file.shape(table.format(stage=0, odd=1, block=0), 2)
    width = file.shape(f"{names.stem[0]}.weight", 4)[0]
    found = (blocks, width, heads, rows)
    return families.variant(
        file,
        "Swin Transformer",
        SWINS,
        lambda known: (known.blocks, known.channels, known.heads[0], (2 * known.window - 1) ** 2) == found,
    )


def rules(names: Names, numbers: Swin) -> list[Rule]:
    """A rule for each weight."""
    found = [*layer(names.stem[0], "stem_conv", layouts.CONV), *layer_norm(names.stem[1], "stem_norm")]
    for stage, num_blocks in enumerate(numbers.blocks):
        at = {"stage": stage, "before": stage - 1, "even": 2 * stage, "odd": 2 * stage + 1}
        ours = f"stage{stage + 1}"
        if stage:
            downsample = names.downsample.format(**at)
            dense, vector = layouts.DENSE, layouts.VECTOR
            if names.merged_by_channel:
                dense, vector = layouts.MERGED, layouts.MERGED_VECTOR
            norm = layer_norm(f"{downsample}.norm", f"{ours}_downsample_norm")
            found += [rule._replace(layout=vector) for rule in norm]
            found += layer(f"{downsample}.reduction", f"{ours}_downsample_reduce", dense, bias=False)
        for block in range(num_blocks):
            theirs, our = names.block.format(block=block, **at), f"{ours}_block{block + 1}"
            found += layer_norm(f"{theirs}.norm1", f"{our}_norm1") + layer_norm(f"{theirs}.norm2", f"{our}_norm2")
            attention = f"{theirs}.{names.attention}"
            found.append(Rule(f"{attention}.{TABLE}", f"{our}_attention/bias_table", layouts.MATRIX))
            found += layer(f"{attention}.qkv", f"{our}_attention/qkv", layouts.DENSE)
            found += layer(f"{attention}.proj", f"{our}_attention/project", layouts.DENSE)
            found += layer(f"{theirs}.{names.expand}", f"{our}_expand", layouts.DENSE)
            found += layer(f"{theirs}.{names.project}", f"{our}_project", layouts.DENSE)
        if names.output_norm:
            found += layer_norm(names.output_norm.format(**at), f"output{stage + 2}_norm")
    return found
