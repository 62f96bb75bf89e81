"""This package's side of `bench/compare.py`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from side import peak_mb, serve, timed

import maskrcnn
from maskrcnn import engines
from maskrcnn.images.images import read_image

held: dict[str, Any] = {}


def draw(image: str, data: str, size: list[int], batch: Sequence[int] = (2, 512, 512)) -> dict[str, Any]:
    """The images that both sides see: one to look at, and a batch (images, height, width) to learn from."""
    from PIL import Image

    from maskrcnn.data.shapes import draw_shapes

    rng = np.random.default_rng(0)
    Image.fromarray(draw_shapes(rng, tuple(size))[0]).save(image)
    arrays: dict[str, np.ndarray] = {}
    images = []
    for row in range(batch[0]):
        drawn, shapes = draw_shapes(rng, tuple(batch[1:]))
        masks = np.stack([mask for _, mask in shapes]).astype(np.uint8)
        images.append(drawn)
        arrays[f"masks{row}"] = masks
        arrays[f"labels{row}"] = np.array([label for label, _ in shapes], np.int64)
        edges = [(np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))) for mask in masks]
        arrays[f"boxes{row}"] = np.array([[x[0], y[0], x[-1] + 1, y[-1] + 1] for x, y in edges], np.float32)
    np.savez(data, images=np.stack(images), **arrays)
    return {}


def convert(weights: str, out: str, **changes: Any) -> dict[str, Any]:
    maskrcnn.convert(weights, out, log=lambda _: None, **changes)
    return {}


def export(model: str, out: str, format: str, precision: str, size: list[int]) -> dict[str, Any]:
    """int8 is calibrated on other images of the kind that is looked at. Random weights answer differently after any rounding,
    so that what is written is not checked here but beside torchvision."""
    from PIL import Image

    from maskrcnn.data.shapes import draw_shapes
    from maskrcnn.exporting.export import WRITERS

    writer = WRITERS[format]
    path = Path(out + writer.SUFFIX)
    with tempfile.TemporaryDirectory() as folder:
        images = [Path(folder) / f"{number}.png" for number in range(8 if precision == "int8" and writer.CALIBRATED else 0)]
        for number, image in enumerate(images, start=1):
            Image.fromarray(draw_shapes(np.random.default_rng(number), tuple(size))[0]).save(image)
        writer.write(maskrcnn.load_model(model), path, precision, *([images] if images else []))
    return {"path": str(path)}


def load(model: str) -> dict[str, Any]:
    """A model on Keras, or an exported one on its engine, which loads no Keras."""
    held["model"] = engines.load(model) if engines.recognise(model) else maskrcnn.load_model(model)
    return {}


def infer(image: str) -> dict[str, Any]:
    """From pixels to pasted masks."""
    pixels = read_image(image)

    def run() -> Any:
        (found,) = held["model"].detect([pixels])
        return found, found.masks

    (found, masks), times = timed(run)
    answer = {"boxes": found.boxes.tolist(), "scores": found.scores.tolist(), "areas": masks.sum((1, 2)).tolist()}
    return {**answer, **times, "peak_mb": peak_mb()}


def train(data: str, steps: int) -> dict[str, Any]:
    model = held["model"]
    if "batch" not in held:
        import keras

        model.compile(optimizer=keras.optimizers.SGD(1e-4, momentum=0.9))
        held["batch"] = _batch(data)
    _, times = timed(lambda: [model.train_on_batch(held["batch"]) for _ in range(steps)])
    parameters = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    return {"parameters": parameters, **times, "peak_mb": peak_mb()}


def _batch(data: str) -> dict[str, np.ndarray]:
    from maskrcnn.config.fields import replace
    from maskrcnn.data.batch import make_batch
    from maskrcnn.geometry.rle import mask_to_rle
    from maskrcnn.structures import Sample

    config = held["model"].config
    with np.load(data) as arrays:
        samples = [
            Sample(
                image_id=row,
                file_name=str(row),
                path="",
                size=image.shape[:2],
                boxes=arrays[f"boxes{row}"],
                labels=arrays[f"labels{row}"].astype(np.int32),
                crowd=np.zeros(len(arrays[f"labels{row}"]), bool),
                rles=[mask_to_rle(mask) for mask in arrays[f"masks{row}"]],
                areas=arrays[f"masks{row}"].sum((1, 2)).astype(np.float32),
                annotation_ids=np.arange(len(arrays[f"labels{row}"])),
                image=image,
            )
            for row, image in enumerate(arrays["images"])
        ]
    height, width = samples[0].size
    config = replace(config, image__short_side=min(height, width), image__long_side=max(height, width))
    return make_batch(samples, config)._asdict()


if __name__ == "__main__":
    serve({"draw": draw, "convert": convert, "export": export, "load": load, "infer": infer, "train": train})
