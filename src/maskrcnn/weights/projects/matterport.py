"""Weights of matterport/Mask_RCNN, Keras 2 `.h5` files: the published COCO ones and those that people trained.

The file holds arrays alone. What its model was told besides (sizes, anchors, mean color, thresholds) stood in the user's
`Config` class; `read` takes those numbers by matterport's names, and its defaults where they are not given. Facts:
`mrcnn/config.py` and `mrcnn/model.py` of that project.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from maskrcnn.config.model import Category
from maskrcnn.weights.categories import COCO, categories_of
from maskrcnn.weights.checkpoint import Checkpoint, Layout, Rule, translate
from maskrcnn.weights.projects.matterport_layouts import (
    DENSE_1X1,
    FOREGROUND,
    KEEP,
    MASK_CLASSES,
    SWAPPED,
    delta_weights,
    dense,
    floats,
    less_bias,
    without_first,
)

NAME = "matterport"

Tensors = Mapping[str, np.ndarray]

# matterport's `Config`, as far as a model depends on it and the file does not say it.
DEFAULTS: dict[str, Any] = {
    "IMAGE_RESIZE_MODE": "square",
    "IMAGE_MIN_DIM": 800,
    "IMAGE_MAX_DIM": 1024,
    "IMAGE_MIN_SCALE": 0,
    "MEAN_PIXEL": (123.7, 116.8, 103.9),
    "BACKBONE_STRIDES": (4, 8, 16, 32, 64),
    "RPN_ANCHOR_SCALES": (32, 64, 128, 256, 512),
    "RPN_ANCHOR_RATIOS": (0.5, 1, 2),  # width / height
    "RPN_ANCHOR_STRIDE": 1,
    "RPN_NMS_THRESHOLD": 0.7,
    "RPN_TRAIN_ANCHORS_PER_IMAGE": 256,
    "PRE_NMS_LIMIT": 6000,
    "POST_NMS_ROIS_TRAINING": 2000,
    "POST_NMS_ROIS_INFERENCE": 1000,
    "RPN_BBOX_STD_DEV": (0.1, 0.1, 0.2, 0.2),  # dy, dx, dh, dw
    "BBOX_STD_DEV": (0.1, 0.1, 0.2, 0.2),
    "USE_RPN_ROIS": True,
    "TRAIN_ROIS_PER_IMAGE": 200,
    "ROI_POSITIVE_RATIO": 0.33,
    "TRAIN_BN": False,
    "MASK_POOL_SIZE": 14,
    "DETECTION_MIN_CONFIDENCE": 0.7,
    "DETECTION_NMS_THRESHOLD": 0.3,
    "DETECTION_MAX_INSTANCES": 100,
}
# What the shapes say. A user may give these too; then they are compared.
FROM_SHAPES = ("NUM_CLASSES", "BACKBONE", "TOP_DOWN_PYRAMID_SIZE", "POOL_SIZE", "FPN_CLASSIF_FC_LAYERS_SIZE")
# Named in `Checkpoint.assumed` where they were not given: answers change with them, and people do change them.
TELLING = (
    "IMAGE_MIN_DIM", "IMAGE_MAX_DIM", "IMAGE_RESIZE_MODE", "IMAGE_MIN_SCALE", "MEAN_PIXEL", "RPN_ANCHOR_SCALES",
    "RPN_ANCHOR_RATIOS", "DETECTION_MIN_CONFIDENCE",
)  # fmt: skip

BACKBONES = {6: "resnet50", 23: "resnet101"}  # by the blocks of stage 4
LETTERS = "abcdefghijklmnopqrstuvw"  # of the blocks
NO_LIMIT = 1e6  # of enlarging a box: from one pixel beyond every frame, and float32 still holds its square
NO_LONGEST_SIDE = 1 << 16  # pixels, for the modes that know no longest side: the most that a configuration may say


class Shapes(NamedTuple):
    """What the shapes say of the model."""

    num_classes: int  # background not counted
    backbone: str
    blocks: tuple[tuple[str, ...], ...]  # letters of the blocks of stages 2 … 5
    pyramid: int  # channels
    rpn: int  # channels
    num_anchors: int  # a place
    pool_size: int  # of the box head
    hidden: int  # of the box head
    mask: int  # channels of the mask head


def shapes_of(config: Any) -> Shapes:
    """What the shapes of a file would say whose model was made with this `Config`."""
    stage4 = {name: count for count, name in BACKBONES.items()}
    if config.BACKBONE not in stage4:
        raise ValueError(f"BACKBONE is one of {', '.join(map(repr, stage4))}; received {config.BACKBONE!r}.")
    return Shapes(
        num_classes=int(config.NUM_CLASSES) - 1,
        backbone=config.BACKBONE,
        blocks=tuple(tuple(LETTERS[:count]) for count in (3, 4, stage4[config.BACKBONE], 3)),
        pyramid=config.TOP_DOWN_PYRAMID_SIZE,
        rpn=512,
        num_anchors=len(config.RPN_ANCHOR_RATIOS),
        pool_size=config.POOL_SIZE,
        hidden=config.FPN_CLASSIF_FC_LAYERS_SIZE,
        mask=256,
    )


def layer_names(shapes: Shapes) -> dict[str, str]:
    """matterport's name of each layer with weights, by ours: "res2a_branch1" for "conv2_block1_0_conv"."""
    return {rule.ours.rpartition("/")[0]: rule.theirs.partition("/")[0] for rule in _rules({}, shapes)}


def recognise(tensors: Tensors) -> bool:
    """Whether a file's tensors have matterport's names."""
    return {"rpn_class_raw/kernel", "mrcnn_class_conv1/kernel", "mrcnn_class_logits/kernel"} <= set(tensors)


def read(tensors: Tensors, *, class_names: Sequence[str | Category] | None = None, config: Any = None) -> Checkpoint:
    """The file understood.

    Args:
        tensors: as `files.read_tensors` gives them: `conv1/kernel`, `bn_conv1/gamma`, …
        class_names: of the foreground classes in their order, with or without a first "BG". Where None, 80 classes are
            COCO's, and others are known by number.
        config: the numbers that the model was made with, in matterport's names (`IMAGE_MAX_DIM`, `RPN_ANCHOR_SCALES` …): a
            dict, or an object that has them as attributes, such as the user's `Config`. `DEFAULTS` stand in for the rest.

    Raises:
        ValueError: for a tensor that is missing or misshapen, for numbers that contradict the file, and for settings that no
            model here can follow.
    """
    given = _given(config)
    shapes = _shapes(tensors)
    _compare(given, shapes)
    numbers = {**DEFAULTS, **given}
    arrays, names = translate(tensors, _rules(tensors, shapes))
    names |= _add_missing_biases(arrays)
    folded = {f"mrcnn_mask_conv{i}/bias" for i in range(1, 5)}
    used = set(names.values()) | folded
    categories, assumed = _categories(shapes.num_classes, class_names)
    for name in TELLING:
        if name not in given:
            value = numbers[name]
            assumed += (f"{name} is {list(value) if isinstance(value, tuple) else value}, matterport's default.",)
    return Checkpoint(
        source=NAME,
        categories=categories,
        changes=changes(numbers, shapes),
        arrays=arrays,
        names=names,
        unused=tuple(name for name in tensors if name not in used),
        assumed=assumed,
    )


def changes(numbers: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """Fields of `ModelConfig` that make a model behave as matterport's with these numbers.

    Raises:
        ValueError: for settings that no model here can follow.
    """
    _check(numbers, shapes)
    ratios = floats(numbers["RPN_ANCHOR_RATIOS"])
    norm = "frozen" if numbers["TRAIN_BN"] is False else "live"  # None is matterport's word for live
    return {
        **_image_changes(numbers),
        "backbone__name": shapes.backbone,
        "backbone__stride_in": "1x1",
        "backbone__conv_bias": True,
        "backbone__stem_pool": "same",
        "backbone__epsilon": 1e-3,  # Keras's BatchNormalization
        "backbone__norm": norm,
        "fpn__channels": shapes.pyramid,
        "anchors__sizes": tuple((float(scale),) for scale in numbers["RPN_ANCHOR_SCALES"]),
        "anchors__ratios": tuple(1.0 / ratio for ratio in ratios),  # ours are height / width
        "anchors__ends": "last_pixel",
        "rpn__channels": shapes.rpn,
        "rpn__delta_weights": delta_weights(numbers["RPN_BBOX_STD_DEV"]),
        "rpn__max_scale": NO_LIMIT,
        "rpn__rank": "all_levels",
        "rpn__num_sampled": int(numbers["RPN_TRAIN_ANCHORS_PER_IMAGE"]),
        "rpn__train_top_k": int(numbers["PRE_NMS_LIMIT"]),
        "rpn__train_proposals": int(numbers["POST_NMS_ROIS_TRAINING"]),
        "rpn__top_k": int(numbers["PRE_NMS_LIMIT"]),
        "rpn__proposals": int(numbers["POST_NMS_ROIS_INFERENCE"]),
        "rpn__nms_iou": float(numbers["RPN_NMS_THRESHOLD"]),
        "rpn__min_size": 0.0,
        "rpn__box_beta": 1.0,
        "roi_sampler__num_sampled": int(numbers["TRAIN_ROIS_PER_IMAGE"]),
        "roi_sampler__positive_fraction": float(numbers["ROI_POSITIVE_RATIO"]),
        "roi_align__mode": "crop_and_resize",
        "roi_align__level_epsilon": 0.0,
        "roi_align__level_shift": 0.5,
        "box_head__hidden": shapes.hidden,
        "box_head__pool_size": shapes.pool_size,
        "box_head__norm": norm,
        "box_head__epsilon": 1e-3,
        "box_head__delta_weights": delta_weights(numbers["BBOX_STD_DEV"]),
        "box_head__max_scale": NO_LIMIT,
        "box_head__box_beta": 1.0,
        "mask_head__mask_size": 2 * int(numbers["MASK_POOL_SIZE"]),
        "mask_head__pool_size": int(numbers["MASK_POOL_SIZE"]),
        "mask_head__channels": shapes.mask,
        "mask_head__norm": norm,
        "mask_head__epsilon": 1e-3,
        "mask_head__paste": "exact",
        "detect__score": float(numbers["DETECTION_MIN_CONFIDENCE"] or 0.0),
        "detect__classes": "best",
        "detect__min_side": 0.0,
        "detect__nms_iou": float(numbers["DETECTION_NMS_THRESHOLD"]),
        "detect__max_detections": int(numbers["DETECTION_MAX_INSTANCES"]),
        "detect__candidates": int(numbers["POST_NMS_ROIS_INFERENCE"]),
    }


def _check(numbers: Mapping[str, Any], shapes: Shapes) -> None:
    """Refuses numbers that contradict the file, or that no model here can follow."""
    ratios = floats(numbers["RPN_ANCHOR_RATIOS"])
    if len(ratios) != shapes.num_anchors:
        raise ValueError(
            f"The file's RPN has {shapes.num_anchors} anchors a place and RPN_ANCHOR_RATIOS {list(ratios)} are {len(ratios)}; "
            f"give the {shapes.num_anchors} that the model was trained with: config={{'RPN_ANCHOR_RATIOS': [...]}}."
        )
    if len(numbers["RPN_ANCHOR_SCALES"]) != 5:
        raise ValueError(
            f"RPN_ANCHOR_SCALES has one number for each of the five levels; received {list(numbers['RPN_ANCHOR_SCALES'])}."
        )
    for name in ("RPN_ANCHOR_STRIDE", "BACKBONE_STRIDES", "USE_RPN_ROIS"):
        if _plain(numbers[name]) != DEFAULTS[name]:
            raise ValueError(f"{name}={numbers[name]!r} has no counterpart here; only {DEFAULTS[name]!r} can be followed.")
    if numbers["MASK_POOL_SIZE"] not in (14, 28):
        raise ValueError(f"MASK_POOL_SIZE is 14 or 28; received {numbers['MASK_POOL_SIZE']}.")


def _image_changes(numbers: Mapping[str, Any]) -> dict[str, Any]:
    mode, short, long = numbers["IMAGE_RESIZE_MODE"], numbers["IMAGE_MIN_DIM"], numbers["IMAGE_MAX_DIM"]
    if mode not in ("square", "pad64", "none"):
        raise ValueError(
            f"IMAGE_RESIZE_MODE={mode!r} cannot be followed; possible are 'square', 'pad64' and 'none' "
            "('crop' is for training alone in matterport too: give the mode that you detect with)."
        )
    if mode == "square" and int(long) % 64:
        raise ValueError(f"IMAGE_MAX_DIM is a multiple of 64, as in matterport; received {long}.")
    fields = {
        "resize": "matterport",
        "short_side": 1 if mode == "none" else int(short or 1),
        "long_side": int(long) if mode == "square" else NO_LONGEST_SIDE,
        "min_scale": 0.0 if mode == "none" else float(numbers["IMAGE_MIN_SCALE"] or 0),
        "frame": "square" if mode == "square" else "tight",
        "place": "centre",
        "padding": "black",
        "channel_order": "rgb",
        "mean": floats(numbers["MEAN_PIXEL"]),
        "std": (1.0, 1.0, 1.0),
        "stride": 64,  # the frame is halved six times
    }
    return {f"image__{name}": value for name, value in fields.items()}


def _rules(tensors: Tensors, shapes: Shapes) -> Iterator[Rule]:
    """What becomes of each tensor. Biases before a norm are optional: the project's first files have none."""

    def conv(theirs: str, ours: str, *, kernel: Layout = KEEP, bias: Layout = KEEP, optional: bool = False) -> Iterator[Rule]:
        yield Rule(f"{theirs}/kernel", f"{ours}/kernel", kernel)
        if not optional or f"{theirs}/bias" in tensors:
            yield Rule(f"{theirs}/bias", f"{ours}/bias", bias)

    def norm(theirs: str, ours: str, *, mean: Layout = KEEP) -> Iterator[Rule]:
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            yield Rule(f"{theirs}/{name}", f"{ours}/{name}", mean if name == "moving_mean" else KEEP)

    yield from conv("conv1", "conv1_conv", optional=True)
    yield from norm("bn_conv1", "conv1_bn")
    for stage, letters in enumerate(shapes.blocks, start=2):
        for block, letter in enumerate(letters, start=1):
            branches = {"2a": 1, "2b": 2, "2c": 3} | ({"1": 0} if block == 1 else {})
            for branch, number in branches.items():
                ours = f"conv{stage}_block{block}_{number}"
                yield from conv(f"res{stage}{letter}_branch{branch}", f"{ours}_conv", optional=True)
                yield from norm(f"bn{stage}{letter}_branch{branch}", f"{ours}_bn")
    for level in range(2, 6):
        yield from conv(f"fpn_c{level}p{level}", f"fpn/lateral{level}")
        yield from conv(f"fpn_p{level}", f"fpn/output{level}")
    yield from conv("rpn_conv_shared", "rpn/conv")
    yield from conv("rpn_class_raw", "rpn/objectness", kernel=FOREGROUND, bias=FOREGROUND)
    yield from conv("rpn_bbox_pred", "rpn/deltas", kernel=SWAPPED, bias=SWAPPED)
    for number, kernel in ((1, dense(shapes.pool_size)), (2, DENSE_1X1)):
        yield from conv(f"mrcnn_class_conv{number}", f"box_head/fc{number}", kernel=kernel, optional=True)
        yield from norm(f"mrcnn_class_bn{number}", f"box_head/fc{number}_norm")
    yield from conv("mrcnn_class_logits", "box_head/classes")
    deltas = without_first(4, SWAPPED)
    yield from conv("mrcnn_bbox_fc", "box_head/deltas", kernel=deltas, bias=deltas)
    for number in range(1, 5):
        yield Rule(f"mrcnn_mask_conv{number}/kernel", f"mask_head/conv{number}/kernel", KEEP)
        bias = tensors.get(f"mrcnn_mask_conv{number}/bias", np.zeros((), np.float32))
        yield from norm(f"mrcnn_mask_bn{number}", f"mask_head/conv{number}_norm", mean=less_bias(bias))
    yield from conv("mrcnn_mask_deconv", "mask_head/deconv1")
    first = without_first(1)
    yield Rule(
        "mrcnn_mask/kernel",
        "mask_head/class_kernel",
        Layout(
            lambda kernel: MASK_CLASSES.to_ours(first.to_ours(kernel)),
            lambda kernel: first.to_theirs(MASK_CLASSES.to_theirs(kernel)),
        ),
    )
    yield Rule("mrcnn_mask/bias", "mask_head/class_bias", first)


def _add_missing_biases(arrays: dict[str, np.ndarray]) -> dict[str, str]:
    """Zeros where a convolution before a norm has no bias; their names."""
    names = {}
    for path in list(arrays):
        layer, _, kind = path.rpartition("/")
        if kind == "kernel" and not layer.startswith("mask_head/") and f"{layer}/bias" not in arrays:
            arrays[f"{layer}/bias"] = np.zeros(arrays[path].shape[-1], np.float32)
            names[f"{layer}/bias"] = f"{layer}/bias (not in the file: zeros)"
    return names


def _shapes(tensors: Tensors) -> Shapes:
    def shape(layer: str, rank: int) -> tuple[int, ...]:
        name = f"{layer}/kernel"
        if name not in tensors:
            raise ValueError(f"The file has no tensor {name!r}; it may be cut off, or no Mask R-CNN of matterport.")
        if tensors[name].ndim != rank:
            raise ValueError(f"Tensor {name!r} has {rank} axes in matterport's files; received shape {tensors[name].shape}.")
        return tensors[name].shape

    colours = shape("conv1", 4)[2]
    if colours != 3:
        raise ValueError(f"The file's model takes images of {colours} channels; files of matterport are read for RGB, 3.")
    blocks = tuple(
        tuple(sorted(name[4:-16] for name in tensors if name.startswith(f"res{stage}") and name.endswith("_branch2a/kernel")))
        for stage in range(2, 6)
    )
    name = BACKBONES.get(len(blocks[2]))
    if name is None:
        raise ValueError(
            f"The file's ResNet has {len(blocks[2])} blocks in stage 4; known are 6 (ResNet-50) and 23 (ResNet-101)."
        )
    side, other_side, pyramid, hidden = shape("mrcnn_class_conv1", 4)
    if side != other_side:
        raise ValueError(f"The kernel of 'mrcnn_class_conv1' is square in matterport's files; received {side}×{other_side}.")
    return Shapes(
        num_classes=shape("mrcnn_class_logits", 2)[1] - 1,
        backbone=name,
        blocks=blocks,
        pyramid=pyramid,
        rpn=shape("rpn_conv_shared", 4)[3],
        num_anchors=shape("rpn_class_raw", 4)[3] // 2,
        pool_size=side,
        hidden=hidden,
        mask=shape("mrcnn_mask_conv1", 4)[3],
    )


def _given(config: Any) -> dict[str, Any]:
    """The user's numbers by name; unknown names of a dict are mistakes, further attributes of an object are not."""
    known = (*DEFAULTS, *FROM_SHAPES)
    if config is None:
        return {}
    if isinstance(config, Mapping):
        strange = sorted(set(config) - set(known))
        if strange:
            raise ValueError(f"matterport's config has nothing called {', '.join(strange)} here; possible: {', '.join(known)}.")
        return dict(config)
    return {name: getattr(config, name) for name in known if hasattr(config, name)}


def _compare(given: Mapping[str, Any], shapes: Shapes) -> None:
    """Raises where the user's numbers contradict the file."""
    found = dict(
        zip(
            FROM_SHAPES, (shapes.num_classes + 1, shapes.backbone, shapes.pyramid, shapes.pool_size, shapes.hidden), strict=True
        )
    )
    for name in FROM_SHAPES:
        if name in given and not callable(given[name]) and given[name] != found[name]:
            raise ValueError(f"{name} is {given[name]!r} in the config given, and {found[name]!r} by the file's shapes.")


def _categories(num_classes: int, names: Sequence[str | Category] | None) -> tuple[tuple[Category, ...], tuple[str, ...]]:
    """The classes, and what had to be assumed about them."""
    if names is not None and len(names) == num_classes + 1 and names[0] == "BG":
        names = names[1:]
    categories = categories_of(num_classes, names, published={len(COCO): COCO})
    if names is not None:
        return categories, ()
    if categories == COCO:
        return categories, ("The 80 classes are COCO's, in the order of its ids.",)
    return categories, (f"The {num_classes} classes are known by number alone, for the file has no names; give class_names.",)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple, np.ndarray)) else value
