"""torchvision's side of `bench/gpu.py`. Runs in a Python that has torch, torchvision and Pillow; needs nothing else."""

from __future__ import annotations

from typing import Any

import torch
from side import serve, timed
from side_torchvision import build, calibrate, freeze, read_batch, read_image

held: dict[str, Any] = {}


def device(kind: str) -> dict[str, str]:
    """What torch computes on; "" where there is no GPU and one is asked for."""
    if kind == "cpu":
        return {"name": "cpu"}
    return {"name": torch.cuda.get_device_name() if torch.cuda.is_available() else ""}


def prepare(image: str, weights: str, size: list[int]) -> dict[str, Any]:
    """Random weights that find about a hundred objects in the image, for both sides."""
    model = build("v1")
    _size(model, size)
    with torch.no_grad():
        calibrate(model, [read_image(image)])
    torch.save(model.state_dict(), weights)
    return {}


def load(weights: str, device: str, precision: str) -> dict[str, Any]:
    model = build("v1")
    model.load_state_dict(torch.load(weights, weights_only=True))
    kind = "cuda" if device == "gpu" else "cpu"
    held.update(model=model.to(kind), kind=kind, half=precision == "bfloat16")
    return {}


def infer(image: str, size: list[int]) -> dict[str, Any]:
    """From pixels to pasted masks, bool as ours are, which lie in the computer's own memory at the end."""
    pixels, model = read_image(image), held["model"].eval()
    _size(model, size)

    def run() -> dict[str, Any]:
        with torch.inference_mode(), _precision():
            (found,) = model([pixels.to(held["kind"])])
            found["masks"] = found["masks"][:, 0] > 0.5
            return {name: values.cpu() for name, values in found.items()}

    found, times = timed(run)
    answer = {"boxes": found["boxes"].tolist(), "scores": found["scores"].tolist()}
    return {**answer, "areas": found["masks"].sum((1, 2)).tolist(), **times}


def train(data: str, size: list[int]) -> dict[str, Any]:
    """One step with SGD on the batch in the file, which `ours` wrote: same images, boxes and masks."""
    model = held["model"].train()
    _size(model, size)
    if "optimizer" not in held:
        freeze(model)
        learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
        held["optimizer"] = torch.optim.SGD(learnt, lr=1e-4, momentum=0.9, weight_decay=1e-4)
    images, targets = read_batch(data)

    def run() -> None:
        here = [image.to(held["kind"]) for image in images]
        truth = [{name: values.to(held["kind"]) for name, values in target.items()} for target in targets]
        with _precision():
            loss = sum(model(here, truth).values())
        held["optimizer"].zero_grad()
        loss.backward()
        held["optimizer"].step()
        if held["kind"] == "cuda":
            torch.cuda.synchronize()

    _, times = timed(run)
    peak = torch.cuda.max_memory_allocated() / 2**20 if held["kind"] == "cuda" else None
    return {**times, "device_peak_mb": peak}


def _precision() -> Any:
    return torch.autocast(held["kind"], torch.bfloat16, enabled=held["half"])


def _size(model: torch.nn.Module, size: list[int]) -> None:
    """An image of this size is then not resized."""
    model.transform.min_size, model.transform.max_size = (min(size),), max(size)


if __name__ == "__main__":
    serve({"device": device, "prepare": prepare, "load": load, "infer": infer, "train": train})
