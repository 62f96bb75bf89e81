"""What torchvision's own models answer, stage by stage. Run by a Python that has torchvision, in a process without Keras.

    python tests/parity/reference.py answers FOLDER              writes the weights (.pth) and every stage's outputs (.npz)
    python tests/parity/reference.py load FOLDER NAME VERSION    loads NAME.npz, tensors by torchvision's names, answers again

FOLDER holds `cases.json` and `images/`, as `images.py` writes them. Outputs lie as ours do: channels last, boxes xyxy,
no row for the background where ours has none.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.models.detection import MaskRCNN, _utils, maskrcnn_resnet50_fpn_v2, roi_heads
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.resnet import Bottleneck

VERSIONS = ("v1", "v2")
# How the keys of the v1 file of 2019 differ from today's: `_load_from_state_dict` of torchvision's FPN, RPNHead, MaskRCNNHeads.
NAMES_OF_2019 = (
    *(
        (f"backbone.fpn.{kind}_blocks.{i}.0.", f"backbone.fpn.{kind}_blocks.{i}.")
        for kind in ("inner", "layer")
        for i in range(4)
    ),
    ("rpn.head.conv.0.0.", "rpn.head.conv."),
    *((f"roi_heads.mask_head.{i}.0.", f"roi_heads.mask_head.mask_fcn{i + 1}.") for i in range(4)),
)

UNDECIDED = 1e-3  # a pixel whose probability is so near to 0.5 may fall on either side by rounding

Arrays = dict[str, np.ndarray]


def build(version: str) -> torch.nn.Module:
    """The model that `maskrcnn_resnet50_fpn` or its second version make for their published weights, with random ones."""
    torch.manual_seed(3)
    if version == "v2":
        return maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None).eval()
    # With weights=None the builder makes another model, one with live norms of epsilon 1e-5.
    model = MaskRCNN(resnet_fpn_backbone(backbone_name="resnet50", weights=None), num_classes=91)
    _utils.overwrite_eps(model, 0.0)
    return model.eval()


# ── random weights that answer like trained ones ──


@torch.inference_mode()
def calibrate(model: torch.nn.Module, images: list[torch.Tensor]) -> None:
    """Gives random weights the spread of trained ones, so that many objects of many classes with many scores are found.

    Norms take the images' own statistics, so that nothing dies or explodes on the way; then each layer that answers is made
    anew, stage after stage, so that its answers to these images have a chosen mean and spread.
    """
    for block in model.modules():
        if isinstance(
            block, Bottleneck
        ):  # as trained ones: residuals add little, so rounding does not grow from block to block
            torch.nn.init.constant_(block.bn3.weight, 0.2)
    rpn, box, mask = model.rpn.head, model.roi_heads.box_predictor, model.roi_heads.mask_predictor
    norms = [module for module in model.modules() if "BatchNorm" in type(module).__name__]
    hooks = [norm.register_forward_pre_hook(_take_statistics) for norm in norms]
    _answer_with(model, images, (rpn.cls_logits, 2.0, -4.0), (rpn.bbox_pred, 0.2, 0.0))
    _answer_with(model, images, (box.cls_score, 1.6, 0.0), (box.bbox_pred, 0.5, 0.0))
    box.cls_score.bias[0] += 5.5  # most RoIs are background
    _answer_with(model, images, (mask.mask_fcn_logits, 3.0, 0.0))
    for hook in hooks:
        hook.remove()


def _take_statistics(norm: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
    if len(args[0]):  # no RoI, no statistics
        norm.running_mean.copy_(args[0].mean((0, 2, 3)))
        norm.running_var.copy_(args[0].var((0, 2, 3)) + 1e-3)


def _answer_with(model: torch.nn.Module, images: list[torch.Tensor], *wanted: tuple[torch.nn.Module, float, float]) -> None:
    """Makes layers anew: each gives answers of this spread around this mean."""
    with watched({str(i): (layer, "forward") for i, (layer, _, _) in enumerate(wanted)}) as calls:
        model(images)
    for i, (layer, spread, mean) in enumerate(wanted):
        rows = torch.cat([_last(args[0]).flatten(0, -2) for args, _ in calls[str(i)]])
        deviation = rows.std(0)
        kernel = torch.randn(len(layer.weight), rows.shape[1]) / (deviation + deviation.mean())
        kernel *= spread / (rows @ kernel.T).std(0)[:, None]
        layer.weight.copy_(kernel.reshape(layer.weight.shape))
        layer.bias.copy_(mean - kernel @ rows.mean(0))


# ── stages ──


@contextmanager
def watched(functions: dict[str, tuple[Any, str]]) -> Iterator[dict[str, list[tuple[Any, Any]]]]:
    """Keeps the arguments and the output of every call of some functions, each named by its owner and its name there."""
    calls: dict[str, list[tuple[Any, Any]]] = {key: [] for key in functions}
    with ExitStack() as stack:
        for key, (owner, name) in functions.items():
            function = getattr(owner, name)

            def watcher(*args: Any, function: Any = function, key: str = key) -> Any:
                output = function(*args)
                calls[key].append((args, output))
                return output

            setattr(owner, name, watcher)
            stack.callback(setattr, owner, name, function)
        yield calls


@torch.inference_mode()
def stages(model: torch.nn.Module, image: torch.Tensor) -> Arrays:
    """Every stage's output for one image, without the axis of the batch."""
    heads = model.roi_heads
    with watched(
        {
            "transform": (model.transform, "forward"),
            "backbone": (model.backbone, "forward"),
            "rpn_head": (model.rpn.head, "forward"),
            "anchors": (model.rpn.anchor_generator, "forward"),
            "proposals": (model.rpn, "filter_proposals"),
            "box_pool": (heads.box_roi_pool, "forward"),
            "box_predictor": (heads.box_predictor, "forward"),
            "boxes": (heads, "postprocess_detections"),
            "mask_pool": (heads.mask_roi_pool, "forward"),
            "masks": (roi_heads, "maskrcnn_inference"),
        }
    ) as calls:
        (answer,) = model([image])
    seen = {key: call[0][1] for key, call in calls.items()}
    images, (size,) = seen["transform"][0].tensors, seen["transform"][0].image_sizes
    pyramid, (rpn_logits, rpn_deltas) = list(seen["backbone"].values()), seen["rpn_head"]
    class_logits, box_deltas = seen["box_predictor"]
    arrays = {
        "image": _last(images)[0],
        "size": torch.tensor(size),
        **{f"p{level}": _last(feature)[0] for level, feature in enumerate(pyramid, start=2)},
        "rpn_logits": torch.cat([_last(level).flatten() for level in rpn_logits]),
        "rpn_deltas": torch.cat([_last(level).reshape(-1, 4) for level in rpn_deltas]),
        "anchors": seen["anchors"][0],
        "proposals": seen["proposals"][0][0],
        "proposal_scores": seen["proposals"][1][0],
        "box_features": _last(seen["box_pool"]),
        "class_logits": class_logits,
        "box_deltas": box_deltas.reshape(len(box_deltas), -1, 4)[:, 1:],
        "boxes_in_frame": seen["boxes"][0][0],
        "mask_features": _last(seen["mask_pool"]),
        "small_masks": seen["masks"][0][:, 0],
        "boxes": answer["boxes"],
        "scores": answer["scores"],
        "labels": answer["labels"] - 1,  # ours begin with the first object class
    }
    arrays = {name: value.numpy() for name, value in arrays.items()}
    pasted = answer["masks"][:, 0].numpy()
    return arrays | {"pasted": pasted > 0.5, "undecided": np.abs(pasted - 0.5) < UNDECIDED}


def _last(values: torch.Tensor) -> torch.Tensor:
    """Channels last."""
    return values.movedim(1, -1)


# ── losses ──


@torch.inference_mode()
def losses(model: torch.nn.Module, images: list[torch.Tensor], targets: list[dict[str, torch.Tensor]]) -> Arrays:
    """The five losses of a batch in training, with everything that was drawn at random for them.

    Norms stay as they are in inference, so that the features do not depend on the mode. Rows of RoIs: the positive ones first.
    """
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    torch.manual_seed(7)
    with watched(
        {
            "transform": (model.transform, "forward"),
            "anchors": (model.rpn, "fg_bg_sampler"),
            "rpn": (model.rpn, "compute_loss"),
            "rois": (model.roi_heads, "select_training_samples"),
            "masks": (roi_heads, "project_masks_on_boxes"),
        }
    ) as calls:
        answer = model(images, targets)
    model.eval()

    images, resized = calls["transform"][0][1]
    arrays = {name: value.numpy() for name, value in answer.items()}
    arrays |= {"images": _last(images.tensors).numpy(), "sizes": np.array(images.image_sizes)}
    sampled, (_, _, _, anchor_deltas) = calls["anchors"][0][1], calls["rpn"][0][0]
    rois = calls["rois"][0][1]
    for image, (positive, negative) in enumerate(zip(*sampled, strict=True)):
        boxes, matched, classes, deltas = (values[image] for values in rois)
        order = torch.argsort((classes == 0).int(), stable=True)
        positives = torch.where(positive)[0]
        chosen = torch.cat([positives, torch.where(negative)[0]])
        own = {
            "truth_boxes": resized[image]["boxes"],
            "anchor_indices": chosen,
            "anchor_positive": torch.arange(len(chosen)) < len(positives),
            "anchor_deltas": anchor_deltas[image][chosen],
            "rois": boxes[order],
            "roi_matched": matched[order],
            "roi_classes": classes[order],
            "roi_deltas": deltas[order],
            "mask_targets": calls["masks"][image][1],
        }
        arrays |= {f"{name}_{image}": value.numpy() for name, value in own.items()}
    return arrays


# ── files ──


def answers(folder: Path) -> None:
    """Makes the models, saves them, and writes what they answer to every case."""
    plan = json.loads((folder / "cases.json").read_text())
    for version in VERSIONS:
        model = build(version)
        cases = [case for case in plan["cases"] if case["model"] == version]
        calibrate(_sized(model, plan["calibration"]), [_image(folder, name) for name in plan["calibration"]["images"]])
        weights = model.state_dict()
        torch.save(weights, folder / f"{version}.pth")
        if version == "v1":
            torch.save({_name_of_2019(name): value for name, value in weights.items()}, folder / "v1_2019.pth")
        for case in cases:
            np.savez(folder / f"{case['name']}.npz", **stages(_sized(model, case), _image(folder, case["image"])))
        images = [_image(folder, name) for name in plan["training"]["images"]]
        truth = np.load(folder / "truth.npz")
        targets = [
            {name: torch.from_numpy(truth[f"{name}_{image}"]) for name in ("boxes", "labels", "masks")}
            for image in range(len(images))
        ]
        np.savez(folder / f"{version}_training.npz", **losses(_sized(model, plan["training"]), images, targets))


def load(folder: Path, name: str, version: str) -> None:
    """Loads tensors by torchvision's names, none missing and none unknown, and detects in the first small image."""
    model = build(version)
    with np.load(folder / f"{name}.npz") as tensors:
        model.load_state_dict({key: torch.from_numpy(tensors[key]) for key in tensors.files}, strict=True)
    plan = json.loads((folder / "cases.json").read_text())
    case = next(case for case in plan["cases"] if case["name"] == plan["back"][version])
    np.savez(folder / f"{name}_answer.npz", **stages(_sized(model, case), _image(folder, case["image"])))


def _sized(model: torch.nn.Module, case: dict[str, Any]) -> torch.nn.Module:
    model.transform.min_size, model.transform.max_size = (case["short_side"],), case["long_side"]
    return model


def _image(folder: Path, name: str) -> torch.Tensor:
    return torch.from_numpy(np.load(folder / "images" / f"{name}.npy")).movedim(-1, 0).float() / 255


def _name_of_2019(name: str) -> str:
    for new, old in NAMES_OF_2019:
        if name.startswith(new):
            return old + name.removeprefix(new)
    return name


if __name__ == "__main__":
    {"answers": answers, "load": load}[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
