"""RegNetXs of timm by themselves, as ImageNet taught them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from maskrcnn.config.backbones import REGNETS, RegNet
from maskrcnn.weights import layouts, naming
from maskrcnn.weights.checkpoint import Checkpoint, Rule
from maskrcnn.weights.projects import families
from maskrcnn.weights.projects.families import batch_norm, layer

NAME = "a PyTorch RegNetX (timm)"
TELLING = "s1.b1.conv2.conv.weight"


def recognise(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether there is a RegNet without squeeze-and-excitation among the tensors."""
    return naming.prefix_of(tensors, TELLING) is not None and not any("se" in name.split(".") for name in tensors)


def read(tensors: Mapping[str, np.ndarray]) -> Checkpoint:
    """The backbone, without its classifier.

    Raises:
        ValueError: naming a tensor that is missing or damaged; for one of another size than `REGNETS`.
    """
    file = naming.open_file(tensors, TELLING)
    blocks = tuple(
        sum(f"s{stage}.b{block}.conv2.conv.weight" in file for block in range(1, naming.MAX_COUNT)) for stage in (1, 2, 3, 4)
    )
    width, group_width = file.shape(TELLING, 4)[:2]
    found = (blocks, width, group_width)
    name = families.variant(
        file, "RegNetX", REGNETS, lambda known: (known.blocks, known.channels[0], known.group_width) == found
    )
    return families.checkpoint(NAME, file, rules(REGNETS[name]), {"backbone__name": name, **families.IMAGENET_COLOURS})


def rules(numbers: RegNet) -> list[Rule]:
    """A rule for each weight, as timm's `models/regnet.py` names them."""
    found = _unit("stem", "stem")
    for stage, num_blocks in enumerate(numbers.blocks, start=1):
        for block in range(1, num_blocks + 1):
            theirs, ours = f"s{stage}.b{block}", f"stage{stage}_block{block}"
            if block == 1:
                found += _unit(f"{theirs}.downsample", f"{ours}_0")
            for number in (1, 2, 3):
                found += _unit(f"{theirs}.conv{number}", f"{ours}_{number}")
    return found


def _unit(theirs: str, ours: str) -> list[Rule]:
    return layer(f"{theirs}.conv", f"{ours}_conv", layouts.CONV, bias=False) + batch_norm(f"{theirs}.bn", f"{ours}_bn")
