"""Where the time of an image goes, stage by stage, beside what the arithmetic of this machine allows.

python bench/limits.py [--model MODEL.keras] [--size 800 1333] [--rounds 5] [--out limits.json]

A stage's bound is its multiply-adds at the rate of a large product of two matrices, on the same backend in the same run. Shares
and bounds are of the processor's seconds, summed over its cores: other work on the machine takes the clock's, and few of those.
Without MODEL the weights are random and everything is found, so that all 100 rows get a mask. Stages run one after the other,
each compiled by itself as the backend compiles the model (`KERAS_BACKEND` chooses it).
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops
from side import timed

import maskrcnn
from maskrcnn.atomic import write_json
from maskrcnn.data.resize import choose_frame, fit_to_frame, pad_to_frame
from maskrcnn.data.shapes import draw_shapes
from maskrcnn.inference.whole import detect, original
from maskrcnn.model.necks.fpn import STRIDES
from maskrcnn.ops.native import KERNELS
from maskrcnn.structures import PaddedDetections

EVERYTHING = {"detect__score": 0.0, "detect__nms_iou": 1.0}  # of random weights is found, however little they tell apart
CLOCKS = ("seconds", "processor_seconds")
MATRIX = 4096  # rows and columns of the matrices that are multiplied: 69 G multiply-adds


class Stage(NamedTuple):
    name: str
    run: Callable[[], Any]
    multiply_adds: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description="Where the time goes, beside the arithmetic's limit.")
    parser.add_argument("--model", type=Path, help="a .keras file of a model of the preset resnet50_fpn")
    parser.add_argument("--size", type=int, nargs=2, default=(800, 1333), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the numbers there")
    arguments = parser.parse_args()
    if arguments.model:
        model = maskrcnn.load_model(arguments.model)
    else:
        model = maskrcnn.MaskRCNN.from_preset("resnet50_fpn", num_classes=90, weights=None, seed=0, **EVERYTHING)
    image, _ = draw_shapes(np.random.default_rng(0), tuple(arguments.size))
    found = measure(model, image, arguments.rounds)
    print_table(found)
    if arguments.out is not None:
        write_json(arguments.out, found)


def measure(model: Any, image: np.ndarray, rounds: int) -> dict[str, Any]:
    rates = {dtype: peak_rates(dtype) for dtype in ("float32", "bfloat16")}
    stages = stages_of(model, image)
    whole = Stage("the whole, images to pasted masks", lambda: next(detect(model, image)).masks)
    whole.run()
    times: dict[str, list[dict[str, float]]] = {stage.name: [] for stage in [*stages, whole]}
    for _ in range(rounds):
        for stage in [*stages, whole]:
            times[stage.name].append(timed(stage.run)[1])
    total = sum(stage.multiply_adds for stage in stages)
    rows = [
        {
            "stage": stage.name,
            "multiply_adds": total if stage is whole else stage.multiply_adds,
            **{clock: statistics.median(each[clock] for each in times[stage.name]) for clock in CLOCKS},
        }
        for stage in [*stages, whole]
    ]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {keras.backend.backend()}"
    return {"machine": machine, "gflop_rates": rates, "rows": rows}


def peak_rates(dtype: str) -> dict[str, float]:
    """GFLOP of a large product of matrices by the clock's and by the processor's second; a multiply-add is two operations."""
    left, right = (ops.cast(keras.random.normal((MATRIX, MATRIX), seed=seed), dtype) for seed in (0, 1))
    multiply = compiled(ops.matmul, left, right)
    multiply()
    times = [timed(multiply)[1] for _ in range(3)]
    return {clock: 2e-9 * MATRIX**3 / min(each[clock] for each in times) for clock in CLOCKS}


def compiled(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """The call of a function as the backend compiles models, which returns when the answer is there."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        call = tf.function(function, autograph=False)
        return lambda: call(*arguments)
    if backend == "jax":
        import jax

        jitted = jax.jit(function)
        return lambda: jax.block_until_ready(jitted(*arguments))
    import torch

    def run() -> Any:
        with torch.inference_mode():
            answer = function(*arguments)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            return answer

    return run


def stages_of(model: Any, image: np.ndarray) -> list[Stage]:
    """The inference path of `Network.infer`, in pieces; each piece's input is what the one before it answered."""
    config = model.config
    stages: list[Stage] = []

    def add(name: str, function: Callable[..., Any], *arguments: Any, multiply_adds: int = 0) -> Any:
        stages.append(Stage(name, compiled(function, *arguments), multiply_adds))
        return stages[-1].run()

    fitted, _ = fit_to_frame(image, config.image)
    frame = choose_frame([fitted.shape[:2]], config.image)
    host = {"images": pad_to_frame(fitted, frame, config.image.place)[None], "sizes": np.array([fitted.shape[:2]], np.int32)}
    images, sizes = (ops.convert_to_tensor(host[name]) for name in ("images", "sizes"))
    levels = [(-(-frame[0] // stride), -(-frame[1] // stride)) for stride in STRIDES]  # height and width of P2 … P6

    regions, visible = model.regions(images, sizes)
    normalised = model.normalise(images, sizes)
    stages.append(Stage("resize, pad", lambda: pad_to_frame(fit_to_frame(image, config.image)[0], frame, "corner")))
    stem = add("backbone", model.folded_backbone, normalised, multiply_adds=_of_backbone(model, frame))
    fpn = [(layers, levels[:4]) for layers in (model.fpn.lateral, model.fpn.output_convs)]
    features = add(
        "feature pyramid",
        model.fpn,
        stem,
        multiply_adds=sum(_dense(layer, _area(at)) for each, to in fpn for layer, at in zip(each, to)),
    )
    rpn_layers = [*model.rpn.convs, model.rpn.objectness, model.rpn.deltas]
    places = sum(map(_area, levels))
    rpn = add("RPN", model.rpn, features, multiply_adds=sum(_dense(layer, places) for layer in rpn_layers))
    proposals = add("proposals", lambda output, seen: model.rpn.propose(output, seen, training=False), rpn, visible)
    rows = int(ops.shape(proposals.boxes)[1])
    pooled = add(f"RoIAlign, {rows} RoIs", model.box_head.pool, features, proposals.boxes)
    box_layers = [*model.box_head.hidden, model.box_head.classes, model.box_head.deltas]
    logits, deltas = add(
        "box head",
        _without_pooling(model.box_head),
        pooled,
        proposals.boxes,
        multiply_adds=sum(_dense(layer, rows) for layer in box_layers),
    )
    found = add("detections", model.detect_boxes, proposals, logits, deltas, regions)
    used = int(KERNELS.num_used(found.valid))
    boxes, labels = found.boxes[:, :used], found.labels[:, :used]
    pooled = add(f"RoIAlign, {used} RoIs", model.mask_head.pool, features, boxes)
    masks = add("mask head", _without_pooling(model.mask_head), pooled, boxes, labels, multiply_adds=_of_masks(model, used))
    answer = PaddedDetections(*(ops.convert_to_numpy(part) for part in found._replace(masks=ops.sigmoid(masks))))
    answer = answer._replace(**{name: getattr(answer, name)[:, :used] for name in ("boxes", "scores", "labels", "valid")})
    size = image.shape[:2]
    stages.append(Stage("paste", lambda: original(answer, 0, host["sizes"][0], frame, size, config).masks))
    return stages


def _without_pooling(head: Any) -> Callable[..., Any]:
    """A head on features that are pooled already."""

    def call(pooled: Any, *arguments: Any) -> Any:
        pool, head.pool = head.pool, lambda features, boxes, kernels: features
        try:
            return head(pooled, *arguments)
        finally:
            head.pool = pool

    return call


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _dense(layer: Any, times: int) -> int:
    """Multiply-adds of a convolution or a dense layer that makes so many places of its output."""
    return times * int(np.prod(layer.kernel.shape))


def _of_backbone(model: Any, frame: tuple[int, int]) -> int:
    channels = model.config.image.channels
    sized = keras.models.clone_model(model.backbone, input_tensors=keras.Input((*frame, channels), batch_size=1))
    convs = (layer for layer in sized.layers if isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D)))
    return sum(_dense(conv, _area(conv.output.shape[1:3])) for conv in convs)


def _of_masks(model: Any, rows: int) -> int:
    """Each place of a deconvolution's input makes four of its output, with a quarter of the kernel each."""
    head = model.mask_head
    side = head.config.pool_size
    total = sum(_dense(conv, rows * side**2) for conv in head.convs)
    for deconv in head.deconvs:
        total += _dense(deconv, rows * side**2)
        side *= 2
    return total + rows * side**2 * head.config.channels


def print_table(found: dict[str, Any]) -> None:
    rates = found["gflop_rates"]
    print(f"{found['machine']}; GFLOP of a product of matrices:")
    for dtype, rate in rates.items():
        print(f"{dtype}: {rate['seconds']:.0f} a second, {rate['processor_seconds']:.0f} a processor second")
    print("| stage | G multiply-adds | s | processor s | share | bound | bound, bfloat16 |")
    print("|---|---|---|---|---|---|---|")
    whole = found["rows"][-1]["processor_seconds"]
    for row in found["rows"]:
        work = row["multiply_adds"] / 1e9
        bounds = [f"{2 * work / rates[dtype]['processor_seconds']:.2f}" if work else "" for dtype in rates]
        cells = [row["stage"], f"{work:.1f}" if work else "", *(f"{row[clock]:.2f}" for clock in CLOCKS)]
        share = f"{row['processor_seconds'] / whole:.0%}"
        print(f"| {' | '.join([*cells, share, *bounds])} |")


if __name__ == "__main__":
    main()
