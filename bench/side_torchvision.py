"""torchvision's side of `bench/compare.py`. Runs in a Python that has torch, torchvision and Pillow; needs nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from side import peak_mb, serve, timed
from torchvision.models.detection.rpn import AnchorGenerator

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "parity"))
from reference import build, calibrate

held: dict[str, Any] = {}


def prepare(image: str, weights: str, sides: tuple[int, int] | None = None) -> dict[str, Any]:
    """Random weights that find about a hundred objects in the image, for both sides.

    Args:
        sides: in pixels, the short one that an image is resized to, and the longest long one; torchvision's own where None.
    """
    torch.set_grad_enabled(False)
    model = build("v1")
    if sides is not None:
        model.transform.min_size, model.transform.max_size = (sides[0],), sides[1]
    calibrate(model, [read_image(image)])
    torch.save(model.state_dict(), weights)
    return {}


def load(weights: str, compiled: bool = False) -> dict[str, Any]:
    """The model, its networks compiled or not; what lies between them, such as NMS, is not torch.compile's to speed up."""
    held["model"] = model = build("v1")
    model.load_state_dict(torch.load(weights, weights_only=True))
    if compiled:
        for owner, name in ((model, "backbone"), (model.rpn, "head")):
            getattr(owner, name).compile()
        for name in ("box_head", "box_predictor", "mask_head", "mask_predictor"):
            getattr(model.roi_heads, name).compile(dynamic=True)  # any number of boxes
    return {}


def infer(image: str) -> dict[str, Any]:
    """From pixels to pasted masks, bool as ours are."""
    pixels = read_image(image)

    def run() -> dict[str, Any]:
        with torch.inference_mode():
            (found,) = held["model"].eval()([pixels])
            return {**found, "masks": found["masks"][:, 0] > 0.5}

    found, times = timed(run)
    answer = {"boxes": found["boxes"].tolist(), "scores": found["scores"].tolist()}
    return {**answer, "areas": found["masks"].sum((1, 2)).tolist(), **times, "peak_mb": peak_mb()}


def grow(side: int, batch: int, objects: int, classes: int, frame: int, rounds: int) -> dict[str, Any]:
    """Seconds of the processor for images of which each has just so many objects, with random weights; the least of rounds."""
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.backbone_utils import mobilenet_backbone

    torch.manual_seed(0)
    backbone = mobilenet_backbone(backbone_name="mobilenet_v2", weights=None, fpn=True, returned_layers=[1, 2, 3, 4])
    limits = {"box_score_thresh": 0.0, "box_nms_thresh": 1.0, "box_detections_per_img": objects}
    anchors = AnchorGenerator(tuple((size,) for size in (32, 64, 128, 256, 512)), ((0.5, 1.0, 2.0),) * 5)
    model = MaskRCNN(backbone, classes + 1, min_size=frame, max_size=frame, rpn_anchor_generator=anchors, **limits).eval()
    images = [torch.rand(3, side, side) for _ in range(batch)]

    def run() -> list[dict[str, torch.Tensor]]:
        with torch.inference_mode():
            found = model(images)
            return [{**each, "masks": each["masks"][:, 0] > 0.5} for each in found]

    (first, *_), _ = timed(run)
    least = min(timed(run)[1]["processor_seconds"] for _ in range(rounds))
    return {"objects": len(first["masks"]), "processor_seconds": least}


def freeze(model: torch.nn.Module) -> None:
    """What torchvision's trained models and ours keep: the first two stages."""
    for layer in (model.backbone.body.conv1, model.backbone.body.layer1):
        layer.requires_grad_(False)


def train(data: str, steps: int) -> dict[str, Any]:
    """Training steps with SGD on the batch in the file, which `ours` wrote: same images, boxes and masks."""
    torch.set_grad_enabled(True)
    model = held["model"].train()
    freeze(model)
    if "optimizer" not in held:
        learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
        held["optimizer"] = torch.optim.SGD(learnt, lr=1e-4, momentum=0.9, weight_decay=1e-4)
        held["parameters"] = sum(parameter.numel() for parameter in learnt)
        model.transform.min_size, model.transform.max_size = (512,), 512
    images, targets = read_batch(data)

    def run() -> float:
        for _ in range(steps):
            loss = sum(model(images, targets).values())
            held["optimizer"].zero_grad()
            loss.backward()
            held["optimizer"].step()
        return loss.item()

    loss, times = timed(run)
    return {"loss": loss, "parameters": held["parameters"], **times, "peak_mb": peak_mb()}


def read_batch(data: str) -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    """Images and targets of the file, which `ours` wrote."""
    with np.load(data) as arrays:
        images = [torch.from_numpy(image).permute(2, 0, 1) / 255 for image in arrays["images"]]
        targets = [
            {
                "boxes": torch.from_numpy(arrays[f"boxes{row}"]),
                "labels": torch.from_numpy(arrays[f"labels{row}"]) + 1,
                "masks": torch.from_numpy(arrays[f"masks{row}"]),
            }
            for row in range(len(images))
        ]
    return images, targets


def read_image(image: str) -> torch.Tensor:
    return torch.from_numpy(np.asarray(Image.open(image).convert("RGB")).copy()).permute(2, 0, 1) / 255


if __name__ == "__main__":
    serve({"prepare": prepare, "load": load, "infer": infer, "train": train, "grow": grow})
