"""Plain vision transformers by themselves, in timm's names: timm's, DeiT's, and what MAE learned without labels."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from keras import ops

from maskrcnn.config.backbones import VITDETS, ViTDet
from maskrcnn.model.backbones.vitdet import resized
from maskrcnn.weights import naming
from maskrcnn.weights.checkpoint import Checkpoint, Layout, Rule
from maskrcnn.weights.projects import families, vitdet

NAME = "a plain vision transformer"
TELLING = "pos_embed"
FIRST, PATCHES = "blocks.0.attn.qkv.weight", "patch_embed.proj.weight"
NET = "backbone.net."  # what stands before these names in detectron2's ViTDet
ASSUMED = (
    "The colors are MAE's and DeiT's: RGB with ImageNet's mean and standard deviation; for timm's augreg models set "
    "image.mean and image.std to 127.5."
)
NEW = "Offsets of the attention begin at zero, and what scales the map at random: no classifier has them."


def recognise(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether there is a transformer of patches, all of one size, among the tensors."""
    prefix = naming.prefix_of(tensors, TELLING)
    return prefix is not None and f"{prefix}{FIRST}" in tensors


def read(tensors: Mapping[str, np.ndarray]) -> Checkpoint:
    """A ViTDet's transformer, without class token, last norm and classifier. Its offsets begin at zero, as in detectron2.

    Raises:
        ValueError: naming a tensor that is missing, damaged, or has no place in a ViTDet of `VITDETS`; for one of another size.
    """
    file = naming.open_file(tensors, TELLING)
    depth = families.count(file, "blocks.{block}.attn.qkv.weight")
    width, _, patch, _ = file.shape(PATCHES, 4)
    name = families.variant(
        file,
        "vision transformer",
        VITDETS,
        lambda known: (known.blocks, known.channels, known.patch) == (depth, width, patch),
    )
    found = rules(VITDETS[name], file.shape(TELLING, 3)[1])
    known = {rule.theirs for rule in found}
    unknown = next((name for name in file.names if name.startswith("blocks.") and name not in known), None)
    if unknown is not None:
        raise ValueError(
            f"Tensor {file.names[unknown]!r} has no place in {name}: the transformer's blocks are of another kind, such as "
            "those of DINOv2 or BEiT, which scale their layers."
        )
    changes = {"backbone__name": name, **families.IMAGENET_COLOURS}
    added = {rule.ours for rule in vitdet.rules(VITDETS[name])} - {rule.ours for rule in found}
    return families.checkpoint(NAME, file, found, changes, assumed=(ASSUMED, NEW), added=frozenset(added))


def rules(numbers: ViTDet, num_positions: int) -> list[Rule]:
    """A rule for each weight that a classifier shares with ViTDet.

    Args:
        num_positions: for which the file has a row, those of a square grid, with or without the class token's.
    """
    shared = [rule for rule in vitdet.rules(numbers) if rule.theirs.startswith(NET) and "rel_pos" not in rule.theirs]
    found = [rule._replace(theirs=rule.theirs.removeprefix(NET)) for rule in shared]
    return [
        rule._replace(layout=_positions(num_positions, numbers.positions)) if rule.theirs == TELLING else rule for rule in found
    ]


def _positions(num_rows: int, size: int) -> Layout:
    """(1, rows, C) ↔ (size, size, C), where another number of places is resized, bicubic. One row too many is the class's."""
    side = math.isqrt(num_rows)
    has_class = side**2 != num_rows

    def to_ours(table: np.ndarray) -> np.ndarray:
        table = table[0, int(has_class) :].reshape(side, side, -1)
        return table if side == size else ops.convert_to_numpy(resized(table, size, size))

    def to_theirs(table: np.ndarray) -> np.ndarray:
        if side != size:
            raise ValueError(f"A table of {size}×{size} places is not written as one of {side}×{side}.")
        return np.concatenate([np.zeros_like(table[:1, 0])] * has_class + [table.reshape(-1, table.shape[-1])])[None]

    return Layout(to_ours, to_theirs)
