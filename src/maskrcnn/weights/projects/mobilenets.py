"""MobileNetV3-Large of torchvision by itself, as ImageNet taught it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from maskrcnn.config.backbones import MOBILENET_V3S, MobileNetV3
from maskrcnn.weights import layouts, naming
from maskrcnn.weights.checkpoint import Checkpoint, Layout, Rule
from maskrcnn.weights.projects import families
from maskrcnn.weights.projects.families import batch_norm, layer

NAME = "torchvision's MobileNetV3"
TELLING = "features.4.block.2.fc1.weight"


def recognise(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether there is a MobileNetV3 among the tensors."""
    return naming.prefix_of(tensors, TELLING) is not None


def read(tensors: Mapping[str, np.ndarray]) -> Checkpoint:
    """The backbone, without its classifier.

    Raises:
        ValueError: naming a tensor that is missing or damaged; for one of another size than `MOBILENET_V3S`.
    """
    file = naming.open_file(tensors, TELLING)
    found = len([name for name in file.names if name.startswith("features.") and ".block.0.0.weight" in name])
    name = families.variant(file, "MobileNetV3", MOBILENET_V3S, lambda known: len(known.blocks) == found)
    changes = {"backbone__name": name, **families.IMAGENET_COLOURS}
    return families.checkpoint(NAME, file, rules(MOBILENET_V3S[name]), changes)


def rules(numbers: MobileNetV3) -> list[Rule]:
    """A rule for each weight, as torchvision's `models/mobilenetv3.py` names them."""
    found, channels = _unit("features.0", "stem", layouts.CONV), numbers.stem
    for block, (_, inner, width, squeezed, _, _) in enumerate(numbers.blocks, start=1):
        theirs, ours, part = f"features.{block}.block", f"block{block}", 0
        if inner != channels:
            found += _unit(f"{theirs}.{part}", f"{ours}_expand", layouts.CONV)
            part += 1
        found += _unit(f"{theirs}.{part}", f"{ours}_depthwise", layouts.DEPTHWISE)
        part += 1
        if squeezed:
            found += layer(f"{theirs}.{part}.fc1", f"{ours}_squeeze_reduce", layouts.CONV)
            found += layer(f"{theirs}.{part}.fc2", f"{ours}_squeeze_expand", layouts.CONV)
            part += 1
        found += _unit(f"{theirs}.{part}", f"{ours}_project", layouts.CONV)
        channels = width
    return found + _unit(f"features.{len(numbers.blocks) + 1}", "head", layouts.CONV)


def _unit(theirs: str, ours: str, kernel: Layout) -> list[Rule]:
    return layer(f"{theirs}.0", f"{ours}_conv", kernel, bias=False) + batch_norm(f"{theirs}.1", f"{ours}_bn")
