"""Does memory stay? Many images through a model, or many epochs of training, and the slope of what the process holds.

python bench/memory_slope.py images MODEL [IMAGES...] [--num-images 2000] [--short-side 128] [--frame tight] [--write]
python bench/memory_slope.py images narrow [--engine openvino] [--short-side 96]
python bench/memory_slope.py training [--epochs 10] [--trim]

MODEL is a .keras file, a run, `nuclei`, or an exported model on its engine; or `narrow`, random weights in few channels, which
`--engine` exports first. Without IMAGES, regions of random size and place are cut from drawn shapes, so that no two images
are alike and every frame comes; given ones are taken round and round. With `--write` each gets its overlay, label map and row
of predictions.json. A last line of JSON has the slope over what comes after the first quarter, and whether it is flat: less
than 10 MB in 1,000 images, or 2 MB an epoch. With `--trim` the allocator first gives back what nobody holds.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import resource
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn import engines
from maskrcnn.config.fields import replace
from maskrcnn.data.shapes import draw_shapes, make_shapes
from maskrcnn.images.files import find_images
from maskrcnn.images.images import read_image
from maskrcnn.inference.whole import detect
from maskrcnn.results.files import PredictionWriter

MEGABYTE = 1 << 20
NARROW = {
    "fpn__channels": 32,
    "box_head__hidden": 64,
    "mask_head__channels": 16,
    "rpn__top_k": 50,
    "rpn__proposals": 50,
}
FLAT = {"images": 10.0 / 1000, "training": 2.0}  # MB an image, MB an epoch


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory over many images, or epochs.")
    tasks = parser.add_subparsers(dest="task", required=True)
    images = tasks.add_parser("images")
    images.add_argument("model")
    images.add_argument("images", nargs="*")
    images.add_argument("--engine", choices=tuple(engines.ENGINES), help="Of the narrow model.")
    images.add_argument("--num-images", type=int, default=2000)
    images.add_argument("--batch-size", type=int, default=1)
    images.add_argument("--short-side", type=int, help="Pixels, instead of the model's own: smaller is faster.")
    images.add_argument("--frame", choices=("few", "tight", "square"), help="Instead of the model's own.")
    images.add_argument("--write", action="store_true")
    training = tasks.add_parser("training")
    training.add_argument("--epochs", type=int, default=10)
    training.add_argument("--trim", action="store_true", help="glibc gives back what is free before memory is read")
    arguments = parser.parse_args()
    held = through_model(arguments) if arguments.task == "images" else through_epochs(arguments.epochs, arguments.trim)
    late = len(held) // 4
    slope = float(np.polyfit(np.arange(late, len(held)), held[late:], 1)[0])
    found = {
        "task": arguments.task,
        "count": len(held),
        "first_mb": round(held[0]),
        "last_mb": round(held[-1]),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "slope": f"{1000 * slope:.1f} MB in 1,000 images" if arguments.task == "images" else f"{slope:.2f} MB an epoch",
        "flat": slope < FLAT[arguments.task],
    }
    print(json.dumps(found))


def resident() -> float:
    """Megabytes this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MEGABYTE


def through_model(arguments: argparse.Namespace) -> list[float]:
    """What was held after each image."""
    model: Any
    if Path(arguments.model).exists() and engines.recognise(arguments.model):
        model = engines.load(arguments.model)
    elif arguments.model == "narrow":
        model = narrow_model(arguments.engine)
    else:
        from maskrcnn.api import load_model

        model = load_model(arguments.model)
    changes: dict[str, Any] = {} if arguments.frame is None else {"image__frame": arguments.frame}
    if arguments.short_side:
        changes |= {"image__short_side": arguments.short_side, "image__long_side": round(arguments.short_side * 5 / 3)}
    model.config = replace(model.config, **changes)
    paths = find_images(arguments.images) if arguments.images else None
    drawn = regions() if paths is None else (read_image(path) for path in itertools.cycle(paths))
    held, num_objects, frames = [], 0, set[Any]()
    with tempfile.TemporaryDirectory() as folder, PredictionWriter(folder) if arguments.write else nullcontext() as writer:
        seen = deque[np.ndarray]()
        given = (seen.append(image) or image for image in itertools.islice(drawn, arguments.num_images))
        for number, detections in enumerate(detect(model, given, batch_size=arguments.batch_size, score=None), start=1):
            image = seen.popleft()
            frames.add(image.shape)
            detections.rle()
            if writer is not None:
                writer.write(f"{number % 10}.png", image, detections, model.config.categories)
            num_objects += len(detections)
            held.append(resident())
            if number % max(1, arguments.num_images // 20) == 0 or number == 1:
                print(f"{number:5d} images, {num_objects:7d} objects: {held[-1]:7.0f} MB", flush=True)
    print(f"{len(frames)} sizes of images")
    return held


def narrow_model(engine: str | None) -> Any:
    """Random weights in few channels, so that thousands of images are soon done; finds 20 objects in each."""
    from maskrcnn.api import MaskRCNN
    from maskrcnn.exporting import export

    few = {"detect__score": 0.0, "detect__nms_iou": 1.0, "detect__max_detections": 20, "detect__candidates": 100}
    model = MaskRCNN.from_preset("mobilenet_v2_fpn", num_classes=2, weights=None, seed=0, **NARROW, **few)
    if engine is None:
        return model
    with tempfile.TemporaryDirectory() as folder:
        writer = export.WRITERS[{"onnxruntime": "onnx"}.get(engine, engine)]
        path = Path(folder) / f"model{writer.SUFFIX}"
        writer.write(model, path, "float32")
        return engines.load(path)


def regions() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    canvases = [draw_shapes(rng, (600, 600))[0] for _ in range(4)]
    while True:
        height, width = rng.integers(100, 500, 2)
        top, left = rng.integers(600 - height), rng.integers(600 - width)
        yield np.ascontiguousarray(canvases[rng.integers(4)][top : top + height, left : left + width])


def through_epochs(epochs: int, trim: bool) -> list[float]:
    """What was held after each epoch of a small training, with its scores, files and curves."""
    import keras

    from maskrcnn.verbs.train import train

    held: list[float] = []

    def remember(epoch: int, logs: Any = None) -> None:
        if trim:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        held.append(resident())
        print(f"{epoch + 1:3d} epochs: {held[-1]:7.0f} MB", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        data, val = make_shapes(folder, num_train=16, num_val=4, size=(96, 96))
        narrow = NARROW | {"roi_sampler__num_sampled": 64, "rpn__train_top_k": 200, "rpn__train_proposals": 100}
        callback = keras.callbacks.LambdaCallback(on_epoch_end=remember)
        options: dict[str, Any] = {"model": "mobilenet_v2_fpn", "init": None, "epochs": epochs, "image_size": 96}
        train(data, val, Path(folder) / "run", augment="photos", callbacks=[callback], verbose=0, **options, **narrow)
    return held


if __name__ == "__main__":
    main()
