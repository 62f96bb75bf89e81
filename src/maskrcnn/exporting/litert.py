"""LiteRT's .tflite file, of its builtin operators alone."""

from __future__ import annotations

import contextlib
import functools
import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from maskrcnn import extras
from maskrcnn.config.model import ModelConfig
from maskrcnn.engines.engine import describe
from maskrcnn.engines.litert import ENTRY
from maskrcnn.exporting.graph import inference_graph
from maskrcnn.ops.native import PORTABLE, Kernels
from maskrcnn.ops.native.portable import gather_bins, pixels_of
from maskrcnn.structures import PaddedDetections

BACKEND = "tensorflow"
SUFFIX = ".tflite"
CALIBRATED = False
PRECISIONS = ("float32", "float16", "int8")
# Rows that a head looks at together. What RoIAlign gathers for them stays below 100 MB at 256 channels, and mostly in the
# processor's cache; fewer would read the weights more often.
BOXES_AT_A_TIME, MASKS_AT_A_TIME = 100, 20


def write(model: Any, out: Path, precision: str) -> None:
    import tensorflow as tf

    extras.load("ai_edge_litert", extra="litert", why="An export for LiteRT is checked with it")
    quantizer = _load_quantizer() if precision == "int8" else None  # told before the work, where it is not there
    holder = tf.Module()  # with which the converter writes a signature, names of inputs and outputs
    holder.infer = inference_graph(model, PORTABLE, functools.partial(_infer, model))
    holder.weights = [weight.value for weight in model.variables]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([holder.infer.get_concrete_function()], holder)
    if precision == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    written = converter.convert()
    out.write_bytes(written if quantizer is None else _int8(quantizer, written, model.config))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(ENTRY, describe(model.config, precision))


def _load_quantizer() -> Any:
    return extras.load("ai_edge_quantizer.quantizer", extra="litert-int8", why="int8 for LiteRT needs AI Edge Quantizer")


def _int8(quantizer: Any, written: bytes, config: ModelConfig) -> bytes:
    """The layers that take the time with weights of 8 bits. What comes into one is rounded to 8 bits when it is known."""
    operator = quantizer.qtyping.TFLOperationName
    conv, dense = operator.CONV_2D, operator.FULLY_CONNECTED
    layers = [
        ("fpn", conv),
        ("rpn.*/conv", conv),
        ("box_head.*/conv", conv),
        ("box_head.*/fc", dense),
        ("mask_head.*/conv", conv),
    ]
    if not config.backbone.name.startswith("mobilenet"):  # whose thin layers take longer so (docs/export.md)
        layers.append(("backbone", conv))
    smaller = quantizer.Quantizer(bytearray(written))
    for name, kind in layers:
        smaller.add_dynamic_config(regex=name, operation_name=kind, num_bits=8)
    with contextlib.redirect_stderr(io.StringIO()):  # one of its progress bars cannot be turned off
        return smaller.quantize(enable_progress_bar=False, enable_progress_report=False).quantized_model


def _infer(model: Any, images: Any, sizes: Any, kernels: Kernels) -> PaddedDetections:
    """As `Network.infer`, with heads that look at rows in slices.

    XNNPACK computes what has shapes that are known beforehand, so the rows that are used cannot be cut out; but how many slices
    are looked at may depend on what is found.
    """
    regions, visible = model.regions(images, sizes)
    features = model.fpn(model.folded_backbone(model.normalise(images, sizes)))  # [P2 … P6]
    proposals = model.rpn.propose(model.rpn(features), visible, training=False)
    num_classes = model.config.num_classes
    pixels = pixels_of(features[:4])  # once, not in every slice
    pool = lambda _, levels, y, x: gather_bins(pixels, levels, y, x)  # noqa: E731
    kernels = kernels._replace(pool_levels=pool, in_slices=_one_in_slices)
    rois, logits, deltas = _in_slices(
        lambda boxes: model.box_head.refine(features, boxes, regions, kernels),
        (proposals.boxes,),
        proposals.valid,
        size=BOXES_AT_A_TIME,
        shapes=((4,), (num_classes + 1,), (model.box_head.num_boxes, 4)),
    )
    detections = model.detect_boxes(proposals._replace(boxes=rois), logits, deltas, regions)
    detections = model.mask_head.add_masks(features, detections, kernels)
    return model.add_heat_maps(features, detections, kernels)


def _one_in_slices(look: Callable[..., Any], rows: Sequence[Any], valid: Any) -> Any:
    """See `Kernels.in_slices`."""
    import tensorflow as tf

    # Only a graph knows the shape of the answer; this one is thrown away.
    size = min(MASKS_AT_A_TIME, valid.shape[1])
    some = [tf.TensorSpec((None, size, *values.shape[2:]), values.dtype) for values in rows]
    traced = tf.function(look, autograph=False).get_concrete_function(*some)
    shape = traced.output_shapes[2:]
    return _in_slices(lambda *rows: (look(*rows),), rows, valid, size=size, shapes=(shape,))[0]


def _in_slices(
    look: Callable[..., tuple[Any, ...]], rows: Sequence[Any], valid: Any, *, size: int, shapes: Sequence[tuple[int, ...]]
) -> list[Any]:
    """What `look` says of rows, a slice of them at a time, up to the slice with the last valid one; zeros after that.

    Slices are taken from the last to the first, and each answer pushes the others back, so that no shape varies.

    Args:
        look: of `rows`, `size` of them, gives tensors (B, size, …).
        rows: (B, N, …) each.
        valid: (B, N) bool.
        size: of a slice.
        shapes: of what `look` gives, without (B, size).

    Returns:
        (B, N, …) each.
    """
    import tensorflow as tf

    from maskrcnn.ops.native.tensorflow import num_used

    batch, num_rows = tf.shape(valid)[0], valid.shape[1]
    size = min(size, num_rows)
    padding = -num_rows % size
    rows = [tf.pad(values, [[0, 0], [0, padding]] + [[0, 0]] * (len(values.shape) - 2)) for values in rows]
    answers = [tf.zeros((batch, num_rows + padding, *shape)) for shape in shapes]

    def step(slice_: Any, *answers: Any) -> tuple[Any, ...]:
        # A gather of so many rows: a slice whose start is not known beforehand has for LiteRT an unknown shape.
        here = [tf.gather(values, slice_ * size + tf.range(size), axis=1) for values in rows]
        pushed = [tf.concat([new, old[:, :-size]], axis=1) for new, old in zip(look(*here), answers, strict=True)]
        return slice_ - 1, *(tf.ensure_shape(new, old.shape) for new, old in zip(pushed, answers, strict=True))

    last = (num_used(valid) - 1) // size
    _, *answers = tf.while_loop(lambda slice_, *_: slice_ >= 0, step, (last, *answers), parallel_iterations=1)
    return [answer[:, :num_rows] for answer in answers]
