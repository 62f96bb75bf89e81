"""State dicts as each project's own model has them: names, shapes, and small random values.

Written out project by project, apart from the tables that the package reads with. torchvision's are checked against the real
ones (`tests/golden/torchvision_names.json`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

Shapes = dict[str, tuple[int, ...]]

NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Sizes:
    """Of the model. `narrow()` has the same layers and few channels."""

    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    stem: int = 64
    groups: int = 1
    width_per_group: int = 64
    channels: int = 256
    hidden: int = 1024
    num_classes: int = 80
    pool: int = 7


R50, R101 = Sizes(), Sizes(blocks=(3, 4, 23, 3))
X101 = Sizes(blocks=(3, 4, 23, 3), groups=32, width_per_group=8)


def narrow(num_classes: int = 3, **sizes) -> Sizes:
    options = {"stem": 4, "width_per_group": 4, "channels": 6, "hidden": 10, "pool": 3, "num_classes": num_classes}
    return Sizes(**(options | sizes))


def torchvision(sizes: Sizes, *, v2: bool = False, live: bool = False, num_classes: int | None = None) -> Shapes:
    """`maskrcnn_resnet50_fpn` as made for trained weights, or `live` with norms that learn; `maskrcnn_resnet50_fpn_v2`."""
    rows, channels = (sizes.num_classes if num_classes is None else num_classes) + 1, sizes.channels
    shapes = dict(_torchvision_resnet(sizes, "backbone.body.", counted=live or v2))
    for index, width in enumerate(_outer_widths(sizes)):
        for kind, size, width_in in (("inner", 1, width), ("layer", 3, channels)):
            name = f"backbone.fpn.{kind}_blocks.{index}"
            shapes |= _conv(f"{name}.0", (channels, width_in, size, size), bias=not v2)
            shapes |= _norm(f"{name}.1", channels, counted=True) if v2 else {}
    for index in range(2 if v2 else 1):
        shapes |= _conv(f"rpn.head.conv.{index}.0", (channels, channels, 3, 3))
    shapes |= _conv("rpn.head.cls_logits", (3, channels, 1, 1)) | _conv("rpn.head.bbox_pred", (12, channels, 1, 1))
    if v2:
        for index in range(4):
            shapes |= _conv(f"roi_heads.box_head.{index}.0", (channels, channels, 3, 3), bias=False)
            shapes |= _norm(f"roi_heads.box_head.{index}.1", channels, counted=True)
    first, *others = ("box_head.5",) if v2 else ("box_head.fc6", "box_head.fc7")
    shapes |= _conv(f"roi_heads.{first}", (sizes.hidden, channels * sizes.pool**2))
    for name in others:
        shapes |= _conv(f"roi_heads.{name}", (sizes.hidden, sizes.hidden))
    shapes |= _conv("roi_heads.box_predictor.cls_score", (rows, sizes.hidden))
    shapes |= _conv("roi_heads.box_predictor.bbox_pred", (4 * rows, sizes.hidden))
    for index in range(4):
        shapes |= _conv(f"roi_heads.mask_head.{index}.0", (channels, channels, 3, 3), bias=not v2)
        shapes |= _norm(f"roi_heads.mask_head.{index}.1", channels, counted=True) if v2 else {}
    shapes |= _conv("roi_heads.mask_predictor.conv5_mask", (channels, channels, 2, 2))
    return shapes | _conv("roi_heads.mask_predictor.mask_fcn_logits", (rows, channels, 1, 1))


def keypoint_rcnn(sizes: Sizes, *, num_keypoints: int = 17, channels: int = 512) -> Shapes:
    """torchvision's `keypointrcnn_resnet50_fpn` as made for trained weights: a keypoint head in the mask head's place."""
    shapes = {name: shape for name, shape in torchvision(sizes, num_classes=1).items() if ".mask_" not in name}
    for index in range(8):
        shapes |= _conv(f"roi_heads.keypoint_head.{2 * index}", (channels, channels if index else sizes.channels, 3, 3))
    shapes |= {"roi_heads.keypoint_predictor.kps_score_lowres.weight": (channels, num_keypoints, 4, 4)}
    return shapes | {"roi_heads.keypoint_predictor.kps_score_lowres.bias": (num_keypoints,)}


def torchvision_of_2019(name: str) -> str:
    """The name that a tensor of a v1 model had then."""
    for kind in ("inner", "layer"):
        for index in range(4):
            name = name.replace(f"fpn.{kind}_blocks.{index}.0.", f"fpn.{kind}_blocks.{index}.")
    name = name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
    for index in range(4):
        name = name.replace(f"roi_heads.mask_head.{index}.0.", f"roi_heads.mask_head.mask_fcn{index + 1}.")
    return name


def torch_resnet(sizes: Sizes) -> Shapes:
    """torchvision's and timm's, with the classifier."""
    return dict(_torchvision_resnet(sizes, "", counted=True)) | _conv("fc", (1000, _outer_widths(sizes)[-1]))


def detectron2(sizes: Sizes, *, lsj: bool = False, stages: int = 0) -> Shapes:
    """The zoo's R50, R101 and X101-FPN, a model of `new_baselines`, or a cascade of so many stages."""
    channels, classes = sizes.channels, sizes.num_classes
    shapes = _conv("backbone.bottom_up.stem.conv1", (sizes.stem, 3, 7, 7), bias=False)
    shapes |= _norm("backbone.bottom_up.stem.conv1.norm", sizes.stem, counted=lsj)
    for stage, block, number, shape in _bottlenecks(sizes):
        name = f"backbone.bottom_up.res{stage}.{block}.{f'conv{number}' if number else 'shortcut'}"
        shapes |= _conv(name, shape, bias=False) | _norm(f"{name}.norm", shape[0], counted=lsj)
    for stage, width in enumerate(_outer_widths(sizes), start=2):
        for kind, size, width_in in (("lateral", 1, width), ("output", 3, channels)):
            shapes |= _conv(f"backbone.fpn_{kind}{stage}", (channels, width_in, size, size), bias=not lsj)
            shapes |= _norm(f"backbone.fpn_{kind}{stage}.norm", channels, counted=True) if lsj else {}
    for name in ("conv.conv0", "conv.conv1") if lsj else ("conv",):
        shapes |= _conv(f"proposal_generator.rpn_head.{name}", (channels, channels, 3, 3))
    shapes |= _conv("proposal_generator.rpn_head.objectness_logits", (3, channels, 1, 1))
    shapes |= _conv("proposal_generator.rpn_head.anchor_deltas", (12, channels, 1, 1))
    for stage in [f".{number}" for number in range(stages)] or [""]:
        for number in (1, 2, 3, 4) if lsj else ():
            shapes |= _conv(f"roi_heads.box_head{stage}.conv{number}", (channels, channels, 3, 3), bias=False)
            shapes |= _norm(f"roi_heads.box_head{stage}.conv{number}.norm", channels, counted=True)
        shapes |= _conv(f"roi_heads.box_head{stage}.fc1", (sizes.hidden, channels * sizes.pool**2))
        shapes |= {} if lsj else _conv(f"roi_heads.box_head{stage}.fc2", (sizes.hidden, sizes.hidden))
        shapes |= _conv(f"roi_heads.box_predictor{stage}.cls_score", (classes + 1, sizes.hidden))
        shapes |= _conv(f"roi_heads.box_predictor{stage}.bbox_pred", (4 if stages else 4 * classes, sizes.hidden))
    for number in (1, 2, 3, 4):
        shapes |= _conv(f"roi_heads.mask_head.mask_fcn{number}", (channels, channels, 3, 3), bias=not lsj)
        shapes |= _norm(f"roi_heads.mask_head.mask_fcn{number}.norm", channels, counted=True) if lsj else {}
    shapes |= _conv("roi_heads.mask_head.deconv", (channels, channels, 2, 2))
    return shapes | _conv("roi_heads.mask_head.predictor", (classes, channels, 1, 1))


def point_rend(sizes: Sizes, *, hidden: int = 1024, width: int = 256) -> Shapes:
    """detectron2's PointRend: a coarse and a point head in the mask head's place."""
    shapes = {name: shape for name, shape in detectron2(sizes).items() if ".mask_head." not in name}
    channels, classes = sizes.channels, sizes.num_classes
    shapes |= _conv("roi_heads.mask_head.coarse_head.reduce_spatial_dim_conv", (channels, channels, 2, 2))
    for number, rows in ((1, channels * 49), (2, hidden)):
        shapes |= _conv(f"roi_heads.mask_head.coarse_head.fc{number}", (hidden, rows))
    shapes |= _conv("roi_heads.mask_head.coarse_head.prediction", (classes * 49, hidden))
    for number in (1, 2, 3):
        shapes |= _conv(f"roi_heads.mask_head.point_head.fc{number}", (width, (width if number > 1 else channels) + classes, 1))
    return shapes | _conv("roi_heads.mask_head.point_head.predictor", (classes, width + classes, 1))


def mmdet(sizes: Sizes, *, norms: bool = False, stages: int = 0, seesaw: bool = False, scoring: bool = False) -> Shapes:
    """`mask-rcnn_r50_fpn` and its kin: with `norms` the `syncbn-all_rpn-2conv` ones, a cascade of so many stages, `ms-rcnn`."""
    channels, classes = sizes.channels, sizes.num_classes
    shapes = dict(_torchvision_resnet(sizes, "backbone.", counted=True))
    for index, width in enumerate(_outer_widths(sizes)):
        for kind, size, width_in in (("lateral_convs", 1, width), ("fpn_convs", 3, channels)):
            shapes |= _conv(f"neck.{kind}.{index}.conv", (channels, width_in, size, size), bias=not norms)
            shapes |= _norm(f"neck.{kind}.{index}.bn", channels, counted=True) if norms else {}
    for name in ("rpn_conv.0.conv", "rpn_conv.1.conv") if norms else ("rpn_conv",):
        shapes |= _conv(f"rpn_head.{name}", (channels, channels, 3, 3))
    shapes |= _conv("rpn_head.rpn_cls", (3, channels, 1, 1)) | _conv("rpn_head.rpn_reg", (12, channels, 1, 1))
    for stage in [f".{number}" for number in range(stages)] or [""]:
        for index in range(4 if norms else 0):
            shapes |= _conv(f"roi_head.bbox_head{stage}.shared_convs.{index}.conv", (channels, channels, 3, 3), bias=False)
            shapes |= _norm(f"roi_head.bbox_head{stage}.shared_convs.{index}.bn", channels, counted=True)
        shapes |= _conv(f"roi_head.bbox_head{stage}.shared_fcs.0", (sizes.hidden, channels * sizes.pool**2))
        shapes |= {} if norms else _conv(f"roi_head.bbox_head{stage}.shared_fcs.1", (sizes.hidden, sizes.hidden))
        shapes |= _conv(f"roi_head.bbox_head{stage}.fc_cls", (classes + 1 + seesaw, sizes.hidden))
        shapes |= {f"roi_head.bbox_head{stage}.loss_cls.cum_samples": (classes + 1,)} if seesaw else {}
        shapes |= _conv(f"roi_head.bbox_head{stage}.fc_reg", (4 if stages else 4 * classes, sizes.hidden))
        for index in range(4):
            shapes |= _conv(f"roi_head.mask_head{stage}.convs.{index}.conv", (channels, channels, 3, 3), bias=not norms)
            shapes |= _norm(f"roi_head.mask_head{stage}.convs.{index}.bn", channels, counted=True) if norms else {}
        shapes |= _conv(f"roi_head.mask_head{stage}.upsample", (channels, channels, 2, 2))
        shapes |= _conv(f"roi_head.mask_head{stage}.conv_logits", (classes, channels, 1, 1))
    if scoring:
        for index in range(4):
            shapes |= _conv(f"roi_head.mask_iou_head.convs.{index}", (channels, channels + (index == 0), 3, 3))
        shapes |= _conv("roi_head.mask_iou_head.fcs.0", (sizes.hidden, channels * 49))
        shapes |= _conv("roi_head.mask_iou_head.fcs.1", (sizes.hidden, sizes.hidden))
        shapes |= _conv("roi_head.mask_iou_head.fc_mask_iou", (classes, sizes.hidden))
    return shapes


def fill(shapes: Shapes, seed: int = 0) -> dict[str, np.ndarray]:
    """Small values, as weights have them: kernels keep the size of what goes through; variances are positive."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = np.array(7, np.int64)
        elif name.endswith("running_var"):
            tensors[name] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        else:
            scale = np.float32(1 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.1)
            is_gamma = len(shape) == 1 and name.endswith("weight")
            tensors[name] = rng.standard_normal(shape, np.float32) * scale + np.float32(is_gamma)
    return tensors


def zeros(shapes: Shapes) -> dict[str, np.ndarray]:
    """Without memory behind them, for tests of names and shapes alone."""
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


def _conv(name: str, shape: tuple[int, ...], *, bias: bool = True) -> Shapes:
    """Any layer; a transposed convolution has its outputs second, and here as many as inputs."""
    return {f"{name}.weight": shape} | ({f"{name}.bias": shape[:1]} if bias else {})


def _norm(name: str, channels: int, *, counted: bool) -> Shapes:
    counter: Shapes = {f"{name}.num_batches_tracked": ()} if counted else {}
    return {f"{name}.{part}": (channels,) for part in NORM} | counter


def _outer_widths(sizes: Sizes) -> tuple[int, ...]:
    return tuple(4 * sizes.stem * 2**stage for stage in range(4))


def _bottlenecks(sizes: Sizes) -> Iterator[tuple[int, int, int, tuple[int, ...]]]:
    """stage 2 … 5, block, number of the convolution (0 is the shortcut), shape."""
    width_in = sizes.stem
    for stage, (num_blocks, width_out) in enumerate(zip(sizes.blocks, _outer_widths(sizes)), start=2):
        in_group = sizes.width_per_group * 2 ** (stage - 2)
        width = sizes.groups * in_group
        for block in range(num_blocks):
            yield stage, block, 1, (width, width_in, 1, 1)
            yield stage, block, 2, (width, in_group, 3, 3)
            yield stage, block, 3, (width_out, width, 1, 1)
            if block == 0:
                yield stage, block, 0, (width_out, width_in, 1, 1)
            width_in = width_out


def _torchvision_resnet(sizes: Sizes, prefix: str, *, counted: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _conv(f"{prefix}conv1", (sizes.stem, 3, 7, 7), bias=False).items()
    yield from _norm(f"{prefix}bn1", sizes.stem, counted=counted).items()
    for stage, block, number, shape in _bottlenecks(sizes):
        name = f"{prefix}layer{stage - 1}.{block}"
        conv, norm = (f"conv{number}", f"bn{number}") if number else ("downsample.0", "downsample.1")
        yield from _conv(f"{name}.{conv}", shape, bias=False).items()
        yield from _norm(f"{name}.{norm}", shape[0], counted=counted).items()
