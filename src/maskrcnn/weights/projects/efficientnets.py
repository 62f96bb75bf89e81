"""EfficientNets and EfficientNetV2s by themselves, as ImageNet taught them: torchvision's and timm's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from maskrcnn.config.backbones import EFFICIENTNETS, EfficientNet
from maskrcnn.model.backbones.efficientnet import block_name, depthwise_name, num_blocks, round_width
from maskrcnn.weights import layouts, naming
from maskrcnn.weights.checkpoint import Checkpoint, Layout, Rule
from maskrcnn.weights.projects import families
from maskrcnn.weights.projects.families import batch_norm, layer

TIMM, TORCHVISION = "blocks.1.0.conv_pwl.weight", "features.1.0.block.0.0.weight"
TELLING = {TIMM: "timm", TORCHVISION: "torchvision"}

# Sources: torchvision's `models/efficientnet.py`; timm's, where `tf_efficientnetv2_*` are the only V2s of these sizes with
# published weights, and `efficientnet_b*` and `tf_efficientnet_b*` have tensors of the same names.
SAME, SYMMETRIC = ({"backbone__padding": padding, "backbone__epsilon": 1e-3} for padding in ("same", "symmetric"))
HALVES: dict[str, Any] = {**families.IMAGENET_COLOURS, "image__mean": (127.5,) * 3, "image__std": (127.5,) * 3}
OF_TENSORFLOW = (
    "Convolutions are padded, and norms have the epsilon, as in timm's efficientnet_b0 … b3; for its tf_efficientnet_b0 … b3 "
    'set backbone.padding to "same" and backbone.epsilon to 0.001.'
)


def recognise(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether there is an EfficientNet with squeeze-and-excitation among the tensors."""
    telling = families.first_telling(tensors, TELLING)
    squeezes = {"se"} if telling == TIMM else {"fc1"}
    return telling is not None and any(squeezes.intersection(name.split(".")) for name in tensors)


def read(tensors: Mapping[str, np.ndarray]) -> Checkpoint:
    """The backbone, without its classifier.

    Raises:
        ValueError: naming a tensor that is missing or damaged; for one of another size than `EFFICIENTNETS`.
    """
    telling = families.first_telling(tensors, TELLING) or TIMM
    file = naming.open_file(tensors, telling)
    rules_of: Callable[[EfficientNet], list[Rule]] = {TIMM: timm_rules, TORCHVISION: torchvision_rules}[telling]

    found = {name for name in file.names if _is_of_block(name)}

    def fits(numbers: EfficientNet) -> bool:
        rules = rules_of(numbers)
        head = next(rule.theirs for rule in rules if rule.ours == "top_conv/kernel")
        wanted = {rule.theirs for rule in rules if _is_of_block(rule.theirs)}
        return wanted == found and head in file and file.shape(head, 4)[0] == round_width(numbers, numbers.head)

    name = families.variant(file, "EfficientNet", EFFICIENTNETS, fits)
    conventions, assumed = _conventions(TELLING[telling], name)
    changes = {"backbone__name": name, **conventions}
    source = f"{TELLING[telling]}'s EfficientNet"
    return families.checkpoint(source, file, rules_of(EFFICIENTNETS[name]), changes, assumed=assumed)


def _conventions(source: str, name: str) -> tuple[dict[str, Any], list[str]]:
    """Colors, padding and epsilon of a project's model, and what of them the file does not say."""
    numbers, large = EFFICIENTNETS[name], name in ("efficientnet_v2_s", "efficientnet_v2_m")
    if source == "torchvision":
        epsilon = {} if numbers.is_v2 else {"backbone__epsilon": 1e-5}
        return {**families.IMAGENET_COLOURS, **SYMMETRIC, **epsilon}, [families.ASSUMED_COLOURS]
    if large:
        return {**HALVES, **SAME}, ["The colors are those of timm's tf_efficientnetv2: RGB from -1 to 1."]
    if numbers.is_v2:
        return {**families.IMAGENET_COLOURS, **SAME}, [families.ASSUMED_COLOURS]
    return {**families.IMAGENET_COLOURS, **SYMMETRIC, "backbone__epsilon": 1e-5}, [families.ASSUMED_COLOURS, OF_TENSORFLOW]


def _is_of_block(name: str) -> bool:
    return name.startswith(("blocks.", "features.")) and name.endswith(".weight")


def torchvision_rules(numbers: EfficientNet) -> list[Rule]:
    """A rule for each weight, as torchvision's `models/efficientnet.py` names them: parts of a block count from 0."""
    found = _unit("features.0.0", "features.0.1", "stem_conv", "stem")
    for stage, block in _blocks(numbers):
        for number, part in enumerate(_parts(numbers, stage)):
            theirs, ours = f"features.{stage}.{block}.block.{number}", block_name(stage, block)
            if part == "se":
                found += _squeeze_excite(f"{theirs}.fc1", f"{theirs}.fc2", ours)
            else:
                found += _part(numbers, f"{theirs}.0", f"{theirs}.1", ours, part)
    head = f"features.{len(numbers.stages) + 1}"
    return found + _unit(f"{head}.0", f"{head}.1", "top_conv", "top")


def timm_rules(numbers: EfficientNet) -> list[Rule]:
    """A rule for each weight, as timm's `models/efficientnet.py` names them: norms of a block count from 1."""
    found = _unit("conv_stem", "bn1", "stem_conv", "stem")
    for stage, block in _blocks(numbers):
        theirs, ours, norm = f"blocks.{stage - 1}.{block}", block_name(stage, block), 0
        kind, *_, expansion, _ = numbers.stages[stage - 1]
        names = {"expand": "conv_exp" if kind == "fused" else "conv_pw", "depthwise": "conv_dw", "project": "conv_pwl"}
        if expansion == 1:
            names["project"] = "conv" if kind == "fused" else "conv_pw"
        for part in _parts(numbers, stage):
            if part == "se":
                found += _squeeze_excite(f"{theirs}.se.conv_reduce", f"{theirs}.se.conv_expand", ours)
            else:
                norm += 1
                found += _part(numbers, f"{theirs}.{names[part]}", f"{theirs}.bn{norm}", ours, part)
    return found + _unit("conv_head", "bn2", "top_conv", "top")


def _blocks(numbers: EfficientNet) -> Iterator[tuple[int, int]]:
    """Every stage, counted from 1, with every block, counted from 0."""
    for stage in range(1, len(numbers.stages) + 1):
        for block in range(num_blocks(numbers, stage)):
            yield stage, block


def _parts(numbers: EfficientNet, stage: int) -> tuple[str, ...]:
    """What a block of this stage is made of, in order."""
    kind, *_, expansion, _ = numbers.stages[stage - 1]
    expand = () if expansion == 1 else ("expand",)
    return (*expand, "project") if kind == "fused" else (*expand, "depthwise", "se", "project")


def _part(numbers: EfficientNet, conv: str, norm: str, ours: str, part: str) -> list[Rule]:
    if part == "depthwise":
        return _unit(conv, norm, f"{ours}_{depthwise_name(numbers)}", ours, layouts.DEPTHWISE)
    return _unit(conv, norm, f"{ours}_{part}_conv", f"{ours}_{part}")


def _squeeze_excite(reduce: str, expand: str, ours: str) -> list[Rule]:
    return layer(reduce, f"{ours}_se_reduce", layouts.CONV) + layer(expand, f"{ours}_se_expand", layouts.CONV)


def _unit(conv: str, norm: str, our_conv: str, ours: str, kernel: Layout = layouts.CONV) -> list[Rule]:
    return layer(conv, our_conv, kernel, bias=False) + batch_norm(norm, f"{ours}_bn")
