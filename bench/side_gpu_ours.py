"""This package's side of `bench/gpu.py`, on the backend that `KERAS_BACKEND` names."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

from side import serve, timed

held: dict[str, Any] = {}


def device(kind: str) -> dict[str, str]:
    """What the backend computes on; "" where it is not installed or would take another kind of device."""
    backend = os.environ["KERAS_BACKEND"]
    if importlib.util.find_spec(backend) is None:
        return {"name": ""}
    if backend == "jax":
        import jax

        first = jax.devices()[0]
        return {"name": first.device_kind if (first.platform == "cpu") == (kind == "cpu") else ""}
    import torch

    if kind == "cpu":
        return {"name": "cpu"}
    return {"name": torch.cuda.get_device_name() if torch.cuda.is_available() else ""}


def draw(image: str, data: str, size: list[int], batch: int) -> dict[str, Any]:
    """The images that both sides see: one to look at, and so many of the same size to learn from."""
    import side_ours

    return side_ours.draw(image, data, size, (batch, *size))


def convert(weights: str, out: str) -> dict[str, Any]:
    import maskrcnn

    maskrcnn.convert(weights, out, log=lambda _: None)
    return {}


def load(model: str, precision: str) -> dict[str, Any]:
    import maskrcnn
    from maskrcnn.training.precision import precision_policy

    with precision_policy(precision):
        held["model"] = maskrcnn.load_model(model)
    return {}


def infer(image: str, size: list[int]) -> dict[str, Any]:
    """From pixels to pasted masks, which lie in the computer's own memory at the end."""
    import side_ours

    side_ours.held["model"] = _sized(size)
    return side_ours.infer(image)


def train(data: str, size: list[int]) -> dict[str, Any]:
    """One step with SGD on the batch in the file."""
    import keras
    import side_ours

    model = side_ours.held["model"] = _sized(size)
    if not getattr(model, "compiled", False):
        model.compile(optimizer=keras.optimizers.SGD(1e-4, momentum=0.9))
    if held.get("data") != data:
        held["data"], held["batch"] = data, side_ours._batch(data)

    def run() -> None:
        model.train_on_batch(held["batch"])
        _wait()

    _, times = timed(run)
    return {**times, "device_peak_mb": _device_peak_mb()}


def _sized(size: list[int]) -> Any:
    """The model, which makes an image's shorter side what it is in an image of this size: nothing is enlarged."""
    from maskrcnn.config.fields import replace

    model = held["model"]
    model.config = replace(model.config, image__short_side=min(size), image__long_side=max(size))
    return model


def _wait() -> None:
    """Until the GPU has done what it was told; JAX's steps end when their losses are read."""
    if os.environ["KERAS_BACKEND"] == "torch":
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()


def _device_peak_mb() -> float | None:
    if os.environ["KERAS_BACKEND"] == "torch":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None
    import jax

    stats = jax.devices()[0].memory_stats()
    return stats["peak_bytes_in_use"] / 2**20 if stats else None


if __name__ == "__main__":
    serve({"device": device, "draw": draw, "convert": convert, "load": load, "infer": infer, "train": train})
