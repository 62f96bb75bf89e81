"""Where PyTorch projects keep each part of the same model: one table of names a source, and one reader for all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from maskrcnn.config import fields
from maskrcnn.config.backbones import RESNETS, ResNet
from maskrcnn.config.model import BackboneConfig, Category, ModelConfig
from maskrcnn.weights import layouts
from maskrcnn.weights.categories import categories_of
from maskrcnn.weights.checkpoint import Checkpoint, Layout, Rule, translate

Tensors = Mapping[str, np.ndarray]
Deformable = Literal["none", "offsets", "modulated"]

MAX_COUNT = 100  # of layers in a row: more than any ResNet has blocks


class Unit(NamedTuple):
    """Names of a convolution and of the norm behind it."""

    conv: str
    norm: str


@dataclass(frozen=True)
class ResNetNames:
    """`{layer}` 1 … 4 or `{stage}` 2 … 5, `{block}` from 0, `{number}` 1 … 3 of the convolution."""

    prefix: str  # of every tensor of the backbone
    stem: Unit
    bottleneck: Unit  # or of a basic block, which has two
    shortcut: Unit
    deep_stem: tuple[Unit, ...] = ()  # of a ResNet-D, where the source has any
    averaged_shortcut: Unit | None = None  # of a ResNet-D, behind its pooling
    offsets: str = ""  # of deformable convolutions, where the source has any


@dataclass(frozen=True)
class Names:
    """Layers, without `.weight` and `.bias`: `{index}` from 0 or `{number}` from 1, and `{stage}` 2 … 5 in the pyramid."""

    backbone: ResNetNames
    lateral: Unit
    output: Unit
    rpn_conv: str  # where it is the only one
    rpn_convs: str  # where there are several
    objectness: str
    anchor_deltas: str
    box_conv: Unit
    fully_connected: Mapping[str, tuple[str, ...]]  # by `BoxHeadConfig.kind`
    classes: str
    deltas: str
    mask_conv: Unit
    deconv: str
    masks: str
    # "first": row 0 of the classes, the boxes and the masks. "last": the last row of the classes alone.
    background: Literal["first", "last"]
    keypoint_conv: str = ""  # of sources with keypoints; `{even}` is twice the index
    heat_maps: str = ""
    coarse_head: str = ""  # of sources with PointRend: before the names of its layers
    point_head: str = ""
    mask_ious: str = ""  # of sources with mask scoring: before the names of its layers
    class_counts: str = ""  # of a Seesaw loss, a tensor of K + 1 numbers
    cascade: tuple[str, ...] = ()  # beginnings of the names of heads that a cascade numbers, from 0; (): there is none

    def of_stage(self, stage: int) -> Names:
        """The names of one stage's heads, in the places of the only ones."""

        def numbered(name: str) -> str:
            start = next((start for start in self.cascade if name.startswith(f"{start}.")), "")
            return f"{start}.{stage}{name.removeprefix(start)}" if start else name

        return replace(
            self,
            box_conv=Unit(*map(numbered, self.box_conv)),
            fully_connected={kind: tuple(map(numbered, names)) for kind, names in self.fully_connected.items()},
            classes=numbered(self.classes),
            deltas=numbered(self.deltas),
            mask_conv=Unit(*map(numbered, self.mask_conv)),
            deconv=numbered(self.deconv),
            masks=numbered(self.masks),
            class_counts=numbered(self.class_counts),
        )

    def of_stages(self, file: File) -> list[Names]:
        """Of every stage that the file has; these names alone where it is no cascade."""
        if not self.cascade or f"{self.classes}.weight" in file:
            return [self]
        stages = [self.of_stage(number) for number in range(MAX_COUNT)]
        return [names for names in stages if f"{names.classes}.weight" in file] or [self]


@dataclass(frozen=True, eq=False)
class File:
    """A file's tensors under the names that the source gives them today.

    Attributes:
        tensors: by the name in the file.
        names: names in the file by today's name; tensors that lie beside the model are not among them.
    """

    tensors: Tensors
    names: Mapping[str, str]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def shape(self, name: str, rank: int) -> tuple[int, ...]:
        """Raises ValueError where there is no such tensor, or one of another rank."""
        if name not in self.names:
            raise ValueError(f"The file has no tensor {name!r}; it may be cut off, or of another model.")
        shape = self.tensors[self.names[name]].shape
        if len(shape) != rank or 0 in shape:
            raise ValueError(f"Tensor {self.names[name]!r} has shape {shape}; one of {rank} axes is wanted there.")
        return shape

    def count(self, pattern: str, **at: int) -> int:
        """How many layers there are of a numbered kind, gaps included."""
        found = (n for n in range(MAX_COUNT) if f"{_at(pattern, n, **at)}.weight" in self)
        return max(found, default=-1) + 1

    def norm(self, pattern: str, count: int) -> str:
        """What stands behind numbered convolutions: "none", "group", or "live" for batch norm."""
        names = [_at(pattern, n, stage=n + 2) for n in range(count)]
        if not any(f"{name}.weight" in self for name in names):
            return "none"
        return "live" if any(f"{name}.running_mean" in self for name in names) else "group"


def _at(pattern: str, index: int, **at: int) -> str:
    return pattern.format(**({"index": index, "number": index + 1, "block": index, "even": 2 * index} | at))


def prefix_of(tensors: Tensors, telling: str) -> str | None:
    """What stands before the names of the model that has a tensor `telling`: "", or such as "module."; None without one."""
    found = (name.removesuffix(telling) for name in tensors if name == telling or name.endswith(f".{telling}"))
    return min(found, key=len, default=None)


def open_file(tensors: Tensors, telling: str, rename: Callable[[str], str] = str) -> File:
    """The model that has a tensor named `telling`.

    Args:
        rename: today's name of a tensor, from any that it ever had.

    Raises:
        ValueError: where there is no such tensor.
    """
    prefix = prefix_of(tensors, telling)
    if prefix is None:
        raise ValueError(f"The file has no tensor {telling!r}; it may be cut off, or of another model.")
    return File(tensors, {rename(name.removeprefix(prefix)): name for name in tensors if name.startswith(prefix)})


def backbone_changes(names: ResNetNames, file: File) -> dict[str, Any]:
    """Which ResNet it is.

    Raises:
        ValueError: for any but those of `RESNETS` and their ResNeXt; naming a tensor that those do not have.
    """
    blocks = tuple(file.count(names.bottleneck.conv, layer=stage - 1, stage=stage, number=1) for stage in (2, 3, 4, 5))
    first = file.shape(f"{_at(names.bottleneck.conv, 0, layer=1, stage=2, block=0)}.weight", 4)
    block: Literal["basic", "bottleneck"] = "bottleneck" if first[2:] == (1, 1) else "basic"  # which begins with a 3×3
    is_deep = any(f"{unit.conv}.weight" in file for unit in names.deep_stem) and f"{names.stem.conv}.weight" not in file
    found = ResNet(blocks, block, deep_stem=is_deep, average_shortcut=is_deep)  # type: ignore[arg-type]
    name = next((name for name, known in RESNETS.items() if known == found), None)
    if name is None:
        known = ", ".join(f"{name} with {numbers.blocks}" for name, numbers in RESNETS.items() if numbers.block == block)
        raise ValueError(f"The file's ResNet has {blocks} blocks in its four stages, {block} ones; possible: {known}.")
    deformable = _deformable(names, file)
    ours = {rule.theirs for rule in backbone_rules(names, fields.replace(BackboneConfig(), name=name, deformable=deformable))}
    for tensor in file.names:
        # Attention and the like: arithmetic that this model does not have.
        if tensor.startswith(names.prefix) and tensor not in ours and _is_resnet(tensor.removeprefix(names.prefix)):
            raise ValueError(
                f"Tensor {file.names[tensor]!r} has no place in a plain ResNet, as which {name} was recognized; "
                "ResNets with attention, deformable convolutions elsewhere than in C3 to C5 or another stem are not read."
            )
    channels, width, *_ = file.shape(f"{_at(names.bottleneck.conv, 1, layer=1, stage=2, block=0)}.weight", 4)
    return {
        "backbone__name": name,
        **(
            {"backbone__groups": max(channels // width, 1), "backbone__width_per_group": width} if block == "bottleneck" else {}
        ),
        "backbone__conv_bias": False,
        **({} if deformable == "none" else {"backbone__deformable": deformable}),
        "backbone__epsilon": 1e-5,  # torch.nn.BatchNorm2d, every FrozenBatchNorm2d, torch.nn.GroupNorm
        **({} if _has_statistics(names, file) else {"backbone__norm": "group"}),
    }


def _deformable(names: ResNetNames, file: File) -> Deformable:
    """Of which kind its deformable convolutions are, by those of C3."""
    name = f"{names.offsets.format(layer=2, stage=3, block=0)}.weight"
    if name not in file:
        return "none"
    channels = file.shape(name, 4)[0]
    if channels not in (18, 27):
        raise ValueError(f"Tensor {file.names[name]!r} gives {channels} numbers a pixel; 18, or 27 with factors, are read.")
    return "offsets" if channels == 18 else "modulated"


def _has_statistics(names: ResNetNames, file: File) -> bool:
    """Whether any norm of the backbone stores a mean: group norms never do."""
    return any(tensor.startswith(names.prefix) and tensor.endswith(".running_mean") for tensor in file.names)


def _is_resnet(name: str) -> bool:
    """Whether a tensor takes part in a ResNet's arithmetic: neither a counter nor a classifier behind it."""
    return name.startswith(("conv", "bn", "norm", "stem", "layer", "res")) and not is_counter(name)


def is_counter(name: str) -> bool:
    """Of batches that a batch norm has seen: PyTorch saves it and only needs it where momentum is None."""
    return name.rpartition(".")[2] == "num_batches_tracked"


def model_changes(names: Names, file: File) -> dict[str, Any]:
    """What the shapes tell of the whole model.

    Raises:
        ValueError: for a tensor that is missing or has a shape that no such model has.
    """
    return backbone_changes(names.backbone, file) | detector_changes(names, file)


def detector_changes(names: Names, file: File) -> dict[str, Any]:
    """What the shapes tell of all that stands behind the backbone. Raises as `model_changes`."""
    channels = file.shape(f"{_at(names.lateral.conv, 0, stage=2)}.weight", 4)[0]
    num_rpn_convs = file.count(names.rpn_convs) or 1
    rpn_channels = file.shape(f"{names.objectness}.weight", 4)[1]
    names, *others = names.of_stages(file)
    num_box_convs = file.count(names.box_conv.conv)
    if num_box_convs not in (0, 4):
        raise ValueError(f"The file's box head has {num_box_convs} convolutions; possible: 0 or 4.")
    kind = "4conv1fc" if num_box_convs else "2fc"
    hidden, rows = file.shape(f"{names.fully_connected[kind][0]}.weight", 2)
    pooled = file.shape(f"{_at(names.box_conv.conv, 0)}.weight", 4)[0] if num_box_convs else channels
    num_classes = num_classes_of(names, file)
    one_box = names.background == "last" and file.shape(f"{names.deltas}.weight", 2)[0] == 4
    return {
        "fpn__channels": channels,
        "fpn__norm": file.norm(names.lateral.norm, 4),
        "rpn__num_convs": num_rpn_convs,
        "rpn__channels": 0 if rpn_channels == channels else rpn_channels,
        "box_head__kind": kind,
        "box_head__norm": file.norm(names.box_conv.norm, num_box_convs),
        "box_head__hidden": hidden,
        "box_head__pool_size": max(math.isqrt(rows // pooled), 1),
        "box_head__class_agnostic": one_box and (num_classes > 1 or bool(others)),
        **({"box_head__conv_channels": pooled} if num_box_convs else {}),
        **({"cascade__mask_heads": others[0].masks != names.masks} if others else {}),
        **_seesaw_changes(names, file),
        **_head_changes(names, file, num_classes),
    }


def num_classes_of(names: Names, file: File) -> int:
    """The classes that the logits are for, beside the background and, with a Seesaw loss, an object of any class."""
    return file.shape(f"{names.classes}.weight", 2)[0] - (2 if names.class_counts in file else 1)


def _seesaw_changes(names: Names, file: File) -> dict[str, Any]:
    """Where the file has counted the classes, as a Seesaw loss does while it trains: counts without the background's."""
    if names.class_counts not in file:
        return {}
    counts = np.ravel(file.tensors[file.names[names.class_counts]]).astype(float)
    wanted = num_classes_of(names, file) + 1
    if len(counts) != wanted or not (np.isfinite(counts) & (counts >= 0)).all():
        raise ValueError(f"Tensor {file.names[names.class_counts]!r} holds {counts[:4]}; {wanted} counts are wanted.")
    return {"box_head__class_loss": "seesaw", "box_head__class_counts": tuple(counts[:-1].tolist())}


def _head_changes(names: Names, file: File, num_classes: int) -> dict[str, Any]:
    """The heads that follow the detections: keypoints, and masks, which a model with keypoints may lack."""
    changes: dict[str, Any] = {}
    if f"{names.heat_maps}.weight" in file:
        channels, num_keypoints, *_ = file.shape(f"{names.heat_maps}.weight", 4)
        changes = {
            "keypoint_head__num_keypoints": num_keypoints,
            "keypoint_head__num_convs": file.count(names.keypoint_conv),
            "keypoint_head__channels": channels,
        }
    if changes and f"{names.masks}.weight" not in file:
        return changes | {"mask_head__kind": "none"}
    if names.point_head and f"{names.point_head}.predictor.weight" in file:
        return changes | _point_rend_changes(names, file)
    if names.mask_ious and f"{names.mask_ious}.fc_mask_iou.weight" in file:
        changes |= {
            "mask_head__kind": "scoring",
            "mask_scoring__num_convs": file.count(f"{names.mask_ious}.convs.{{index}}"),
            "mask_scoring__channels": file.shape(f"{names.mask_ious}.convs.0.weight", 4)[0],
            "mask_scoring__hidden": file.shape(f"{names.mask_ious}.fcs.0.weight", 2)[0],
        }
    num_mask_convs = file.count(names.mask_conv.conv)
    num_masks = file.shape(f"{names.masks}.weight", 4)[0]
    return changes | {
        "mask_head__class_agnostic": num_classes > 1 and names.background == "last" and num_masks == 1,
        "mask_head__num_convs": num_mask_convs,
        "mask_head__norm": file.norm(names.mask_conv.norm, num_mask_convs),
        "mask_head__channels": file.shape(f"{names.deconv}.weight", 4)[0],
    }


def cascade_changes(num_stages: int, conventions: Mapping[str, Any]) -> dict[str, Any]:
    """The conventions of a source's cascades, once the file has as many stages as they are for.

    Raises:
        ValueError: for another number of stages.
    """
    wanted = 1 + len(conventions["cascade__positive_ious"])
    if num_stages != wanted:
        raise ValueError(f"The file is a cascade of {num_stages} box heads; those that are read have {wanted}.")
    return dict(conventions)


def _point_rend_changes(names: Names, file: File) -> dict[str, Any]:
    """Of PointRend: the numbers that shapes tell, and masks of 224 pixels, which the model zoo's have."""
    places, hidden = file.shape(f"{names.coarse_head}.prediction.weight", 2)
    num_classes, *_ = file.shape(f"{names.point_head}.predictor.weight", 3)
    channels, *_, side, _ = file.shape(f"{names.coarse_head}.reduce_spatial_dim_conv.weight", 4)
    _, flat = file.shape(f"{names.coarse_head}.fc1.weight", 2)
    if f"{names.coarse_head}.reduce_channel_dim_conv.weight" in file:
        raise ValueError("The file's coarse mask head first reduces its channels; PointRend with such a layer is not read.")
    return {
        "mask_head__kind": "point_rend",
        "mask_head__mask_size": 224,
        "mask_head__channels": channels,
        "mask_head__pool_size": side * max(math.isqrt(flat // channels), 1),
        "point_rend__coarse_size": max(math.isqrt(places // num_classes), 1),
        "point_rend__hidden": hidden,
        "point_rend__num_layers": file.count(f"{names.point_head}.fc{{number}}"),
        "point_rend__channels": file.shape(f"{names.point_head}.fc1.weight", 3)[0],
    }


def backbone_rules(names: ResNetNames, config: BackboneConfig) -> list[Rule]:
    numbers = RESNETS[config.name]
    shortcut = names.averaged_shortcut if numbers.average_shortcut and names.averaged_shortcut else names.shortcut
    statistics = config.norm != "group"
    stem = zip(names.deep_stem, ("conv1_1", "conv1_2", "conv1_3")) if numbers.deep_stem else [(names.stem, "conv1")]
    rules = [rule for unit, ours in stem for rule in _conv_norm(unit, ours, statistics)]
    for stage, num_blocks in enumerate(numbers.blocks, start=2):
        for block in range(num_blocks):
            at, ours = {"layer": stage - 1, "stage": stage, "block": block}, f"conv{stage}_block{block + 1}"
            if block == 0 and (stage > 2 or numbers.block == "bottleneck"):
                rules += _conv_norm(Unit(*(name.format(**at) for name in shortcut)), f"{ours}_0", statistics)
            for number in (1, 2, 3) if numbers.block == "bottleneck" else (1, 2):
                unit = Unit(*(name.format(number=number, **at) for name in names.bottleneck))
                rules += _conv_norm(unit, f"{ours}_{number}", statistics)
            if config.deformable != "none" and stage > 2:
                rules += _layer(names.offsets.format(**at), f"{ours}_2_offset", layouts.CONV)
    return rules


def model_rules(names: Names, config: ModelConfig) -> list[Rule]:
    """A rule for every weight of the model of this configuration."""
    return backbone_rules(names.backbone, config.backbone) + detector_rules(names, config)


def detector_rules(names: Names, config: ModelConfig) -> list[Rule]:
    """A rule for every weight behind the backbone."""
    rules: list[Rule] = []
    for index in range(4):
        at = {"index": index, "stage": index + 2}
        for part, unit in (("lateral", names.lateral), ("output", names.output)):
            rules += _unit(unit, f"fpn/{part}{index + 2}", config.fpn.norm, **at)

    rules += _layer(names.rpn_conv if config.rpn.num_convs == 1 else _at(names.rpn_convs, 0), "rpn/conv", layouts.CONV)
    for index in range(1, config.rpn.num_convs):
        rules += _layer(_at(names.rpn_convs, index), f"rpn/conv{index + 1}", layouts.CONV)
    rules += _layer(names.objectness, "rpn/objectness", layouts.CONV)
    rules += _layer(names.anchor_deltas, "rpn/deltas", layouts.CONV)

    stages = [names]
    if config.cascade.positive_ious:
        stages = [names.of_stage(number) for number in range(1 + len(config.cascade.positive_ious))]
    for number, stage in enumerate(stages, start=1):
        rules += _box_head_rules(stage, "box_head" if number == 1 else f"box_head/stage{number}", config)

    if config.keypoint_head.num_keypoints:
        for index in range(config.keypoint_head.num_convs):
            rules += _layer(_at(names.keypoint_conv, index), f"keypoint_head/conv{index + 1}", layouts.CONV)
        rules += _layer(names.heat_maps, "keypoint_head/heat_maps", layouts.CONV)

    if config.mask_head.kind == "none":
        return rules
    if config.mask_head.kind == "point_rend":
        return rules + _point_rend_rules(names, config)
    for number, stage in enumerate(stages if config.cascade.mask_heads else stages[:1], start=1):
        rules += _mask_head_rules(stage, "mask_head" if number == 1 else f"mask_head/stage{number}", config)
    return rules + (_mask_scoring_rules(names.mask_ious, config) if config.mask_head.kind == "scoring" else [])


def _mask_scoring_rules(theirs: str, config: ModelConfig) -> list[Rule]:
    rules = []
    for index in range(config.mask_scoring.num_convs):
        rules += _layer(f"{theirs}.convs.{index}", f"mask_head/iou_conv{index + 1}", layouts.CONV)
    pooled = (config.mask_head.pool_size + 1) // 2
    rules += _layer(f"{theirs}.fcs.0", "mask_head/iou_fc1", layouts.first_dense(pooled))
    rules += _layer(f"{theirs}.fcs.1", "mask_head/iou_fc2", layouts.DENSE)
    rules.append(Rule(f"{theirs}.fc_mask_iou.weight", "mask_head/class_iou_kernel", layouts.MATRIX))
    return [*rules, Rule(f"{theirs}.fc_mask_iou.bias", "mask_head/class_iou_bias", layouts.VECTOR)]


def _box_head_rules(names: Names, ours: str, config: ModelConfig) -> list[Rule]:
    rules = []
    for index in range(4 if config.box_head.kind == "4conv1fc" else 0):
        rules += _unit(names.box_conv, f"{ours}/conv{index + 1}", config.box_head.norm, index=index, number=index + 1)
    for index, name in enumerate(names.fully_connected[config.box_head.kind]):
        layout = layouts.DENSE if index else layouts.first_dense(config.box_head.pool_size)
        rules += _layer(name, f"{ours}/fc{index + 1}", layout)
    deltas = f"{ours}/shared_deltas" if config.box_head.class_agnostic else f"{ours}/deltas"
    if names.background == "first":
        rules += _layer(names.classes, f"{ours}/classes", layouts.DENSE)
        return rules + _layer(names.deltas, deltas, layouts.DELTAS_AFTER_BACKGROUND, layouts.DELTA_BIAS_AFTER_BACKGROUND)
    if config.box_head.class_loss == "seesaw":
        rules += _layer(names.classes, f"{ours}/classes", layouts.SEESAW_LOGITS, layouts.SEESAW_LOGIT_BIAS)
        rules += _layer(names.classes, f"{ours}/objectness", layouts.SEESAW_OBJECT, layouts.SEESAW_OBJECT_BIAS)
        return rules + _layer(names.deltas, deltas, layouts.DENSE)
    rules += _layer(names.classes, f"{ours}/classes", layouts.LOGITS_BACKGROUND_LAST, layouts.LOGIT_BIAS_BACKGROUND_LAST)
    return rules + _layer(names.deltas, deltas, layouts.DENSE)


def _point_rend_rules(names: Names, config: ModelConfig) -> list[Rule]:
    """A point's fine features and its coarse masks are one input there, and two weights here."""
    coarse, points, pooled = names.coarse_head, names.point_head, config.mask_head.pool_size // 2
    rules = _layer(f"{coarse}.reduce_spatial_dim_conv", "mask_head/shrink", layouts.CONV)
    rules += _layer(f"{coarse}.fc1", "mask_head/coarse_fc1", layouts.first_dense(pooled))
    rules += _layer(f"{coarse}.fc2", "mask_head/coarse_fc2", layouts.DENSE)
    places = config.point_rend.coarse_size**2
    rules.append(Rule(f"{coarse}.prediction.weight", "mask_head/class_coarse_kernel", layouts.by_class(places, rank=2)))
    rules.append(Rule(f"{coarse}.prediction.bias", "mask_head/class_coarse_bias", layouts.by_class(places, rank=1)))
    width = config.fpn.channels
    for number in range(1, config.point_rend.num_layers + 1):
        layer, ours = f"{points}.fc{number}", f"mask_head/point_fc{number}"
        rules.append(Rule(f"{layer}.weight", f"{ours}/kernel", layouts.dense_columns(0, width)))
        rules.append(Rule(f"{layer}.bias", f"{ours}/bias", layouts.VECTOR))
        rules.append(Rule(f"{layer}.weight", f"mask_head/class_point_fc{number}", layouts.dense_columns(width, None)))
        width = config.point_rend.channels
    rules.append(Rule(f"{points}.predictor.weight", "mask_head/class_kernel", layouts.columns(0, width)))
    rules.append(Rule(f"{points}.predictor.weight", "mask_head/class_to_class", layouts.columns(width, None)))
    rules.append(Rule(f"{points}.predictor.bias", "mask_head/class_bias", layouts.VECTOR))
    return rules


def _mask_head_rules(names: Names, ours: str, config: ModelConfig) -> list[Rule]:
    rules = []
    for index in range(config.mask_head.num_convs):
        rules += _unit(names.mask_conv, f"{ours}/conv{index + 1}", config.mask_head.norm, index=index, number=index + 1)
    rules += _layer(names.deconv, f"{ours}/deconv1", layouts.CONV)
    masks = (layouts.MASKS, layouts.VECTOR)
    if names.background == "first":
        masks = (layouts.MASKS_AFTER_BACKGROUND, layouts.MASK_BIAS_AFTER_BACKGROUND)
    kind = "shared" if config.mask_head.class_agnostic else "class"
    kernel, bias = (f"{ours}/{kind}_{part}" for part in ("kernel", "bias"))
    return [*rules, Rule(f"{names.masks}.weight", kernel, masks[0]), Rule(f"{names.masks}.bias", bias, masks[1])]


def _layer(theirs: str, ours: str, kernel: Layout, bias: Layout = layouts.VECTOR) -> list[Rule]:
    return [Rule(f"{theirs}.weight", f"{ours}/kernel", kernel), Rule(f"{theirs}.bias", f"{ours}/bias", bias)]


def _norm(theirs: str, ours: str, *, statistics: bool = True) -> list[Rule]:
    pairs = {"weight": "gamma", "bias": "beta"}
    if statistics:
        pairs |= {"running_mean": "moving_mean", "running_var": "moving_variance"}
    return [Rule(f"{theirs}.{their}", f"{ours}/{our}", layouts.VECTOR) for their, our in pairs.items()]


def _conv_norm(theirs: Unit, ours: str, statistics: bool) -> list[Rule]:
    """As every backbone has it: no bias, a norm behind, which stores statistics unless it is a group norm."""
    norm = _norm(theirs.norm, f"{ours}_bn", statistics=statistics)
    return [Rule(f"{theirs.conv}.weight", f"{ours}_conv/kernel", layouts.CONV), *norm]


def _unit(theirs: Unit, ours: str, norm: str, **at: int) -> list[Rule]:
    """A convolution with a bias or with a norm behind it, as heads have it."""
    kernel, bias = _layer(theirs.conv.format(**at), ours, layouts.CONV)
    if norm == "none":
        return [kernel, bias]
    return [kernel, *_norm(theirs.norm.format(**at), f"{ours}_norm", statistics=norm not in ("group", "layer"))]


def read_model(
    source: str,
    names: Names,
    file: File,
    changes: Mapping[str, Any],
    *,
    published: Mapping[int, tuple[Category, ...]],
    class_names: Sequence[str | Category] | None = None,
    ignored: Sequence[str] = (),
    assumed: Sequence[str] = (),
    backbone: Sequence[Rule] | None = None,
) -> Checkpoint:
    """A whole model.

    Args:
        backbone: the rules of one that is no ResNet.
        changes: of the configuration: what `model_changes` tells, and the source's conventions.
        published: see `categories_of`.
        ignored: beginnings of today's names of tensors that say nothing the changes do not, and are not reported as unused.

    Raises:
        ValueError: naming the first tensor that is missing, not finite, or does not fit the number of classes.
    """
    first = names.of_stages(file)[0]
    num_rows = file.shape(f"{first.classes}.weight", 2)[0]
    num_classes = num_classes_of(first, file)
    extra = int(names.background == "first")
    num_boxes = 1 if changes["box_head__class_agnostic"] else num_classes + extra
    rows = [(f"{first.deltas}.weight", 2, 4 * num_boxes)]
    if changes.get("mask_head__kind") == "point_rend":
        rows.append((f"{names.point_head}.predictor.weight", 3, num_classes))
    elif changes.get("mask_head__kind") != "none":
        rows.append((f"{first.masks}.weight", 4, 1 if changes["mask_head__class_agnostic"] else num_classes + extra))
    for name, rank, wanted in rows:
        found = file.shape(name, rank)
        if found[0] != wanted:
            counted = file.names[f"{first.classes}.weight"]
            raise ValueError(
                f"Tensor {file.names[name]!r} has shape {found}; with {num_rows} rows in {counted!r} it needs {wanted} rows."
            )
    categories = categories_of(num_classes, class_names, published=published)
    num_anchors = file.shape(f"{names.objectness}.weight", 4)[0]
    if num_anchors != ModelConfig(categories).anchors.num_per_place:
        assumed = (
            *assumed,
            f"The file has {num_anchors} anchors at a place and does not say which: give anchors__sizes and anchors__ratios.",
        )
    config = fields.replace(ModelConfig(categories), **changes)
    rules = model_rules(names, config) if backbone is None else [*backbone, *detector_rules(names, config)]
    return checkpoint_of(source, file, rules, categories, dict(changes), ignored, assumed)


def read_backbone(
    source: str, names: ResNetNames, file: File, changes: Mapping[str, Any], *, assumed: Sequence[str] = ()
) -> Checkpoint:
    """A backbone alone. Raises as `read_model`."""
    config = BackboneConfig(name=changes["backbone__name"], norm=changes.get("backbone__norm", "frozen"))
    return checkpoint_of(source, file, backbone_rules(names, config), None, dict(changes), (), assumed)


def checkpoint_of(
    source: str,
    file: File,
    rules: Sequence[Rule],
    categories: tuple[Category, ...] | None,
    changes: dict[str, Any],
    ignored: Sequence[str],
    assumed: Sequence[str],
) -> Checkpoint:
    """The file's tensors by these rules, with what is said of them; see `Checkpoint` and `read_model`."""
    rules = [rule._replace(theirs=file.names.get(rule.theirs, rule.theirs)) for rule in rules]
    arrays, names = translate(file.tensors, rules)
    accounted = set(names.values()) | {theirs for today, theirs in file.names.items() if today.startswith(tuple(ignored))}
    unused = tuple(name for name in file.tensors if name not in accounted and not is_counter(name))
    return Checkpoint(source, categories, changes, arrays, names, unused, tuple(assumed))
