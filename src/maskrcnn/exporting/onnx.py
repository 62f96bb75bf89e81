"""One .onnx file of standard operators, with ONNX's own RoiAlign."""

from __future__ import annotations

import functools
import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn import extras
from maskrcnn.config.model import ModelConfig
from maskrcnn.engines.engine import DESCRIPTION, describe
from maskrcnn.exporting.calibration import model_input, on_ways_back
from maskrcnn.exporting.graph import inference_graph
from maskrcnn.ops.native import KERNELS, Samples

BACKEND = "tensorflow"
SUFFIX = ".onnx"
CALIBRATED = True
PRECISIONS = ("float32", "float16", "int8")
# Where a way up from boxes and scores ends: what stands before these need not be exact.
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# A runtime counts the pixels of a bin from its box's two ends. Feature pixels by which rounding may part them: with so many
# less, a bin of just two pixels has two samples and not three.
ROUNDING = 5e-5
OPSET = 18  # RoiAlign has had half pixels since 16, and runtimes of 2023 read 18


def write(model: Any, out: Path, precision: str, calibrate: Sequence[Path] = ()) -> None:
    onnx, tf2onnx = (extras.load(name, extra="onnx", why=f"An export for ONNX needs {name}") for name in ("onnx", "tf2onnx"))
    graph = inference_graph(model, KERNELS._replace(pool_levels=_pool_levels))
    handlers = HANDLERS | {"CropAndResize": (functools.partial(_roi_align, onnx), [])}
    written, _ = tf2onnx.convert.from_function(graph, graph.input_signature, opset=OPSET, custom_op_handlers=handlers)
    onnx.helper.set_model_props(written, {DESCRIPTION: describe(model.config, precision)})
    _tidy(written)
    if precision == "float16":
        _halve_weights(onnx, written.graph)
    if precision == "int8":
        written = quantise(onnx, written, model.config, calibrate)
    onnx.checker.check_model(written, full_check=True)
    onnx.save_model(written, str(out))


def _pool_levels(features: Any, levels: Any, y: Samples, x: Samples) -> Any:
    """See `Kernels.pool_levels`: one node for each level, which `_roi_align` translates; TensorFlow cannot run it."""
    import tensorflow as tf

    batch, num_rows = tf.unstack(tf.shape(levels))
    images, levels = tf.repeat(tf.range(batch), num_rows), tf.reshape(levels, (-1,))
    num_samples = y.count if isinstance(y.count, int) else 0  # 0: as many as a bin has pixels, ONNX's own rule as well
    (top, bottom), (left, right) = (_ends(axis) for axis in (y, x))
    boxes = tf.reshape(tf.stack([left, top, right, bottom], axis=-1), (-1, 4))
    rows, pooled = [], []
    for level, feature in enumerate(features):
        here = tf.where(tf.equal(levels, level))[:, 0]
        rows.append(here)
        given = tf.gather(boxes, here), tf.gather(images, here)
        pooled.append(_node_for_roi_align(feature, *given, y.num_bins, num_samples))
    # Each box lies in exactly one level: a permutation puts them back into their order.
    order = tf.math.invert_permutation(tf.concat(rows, axis=0))
    pooled = tf.gather(tf.concat(pooled, axis=0), order)
    return tf.reshape(pooled, (batch, num_rows, y.num_bins, x.num_bins, features[0].shape[-1]))


def _ends(axis: Samples) -> tuple[Any, Any]:
    """Start and end of boxes as RoiAlign takes them: half a pixel more, which it takes off where it counts in half pixels.

    Where it does not, it makes boxes of less than a pixel larger.
    """
    start, length = axis.start + 0.5, axis.size * axis.num_bins
    return start, start + (length if isinstance(axis.count, int) else length - ROUNDING)


def _node_for_roi_align(feature: Any, boxes: Any, images: Any, pool_size: int, num_samples: int) -> Any:
    """TensorFlow has no RoIAlign, so a crop of the same shape stands for it, its samples a bin in an attribute that is free."""
    import tensorflow as tf

    size, free = (pool_size, pool_size), float(num_samples)
    return tf.raw_ops.CropAndResize(image=feature, boxes=boxes, box_ind=images, crop_size=size, extrapolation_value=free)


def _roi_align(onnx: Any, graph: Any, node: Any, name: str, _: Any) -> None:
    """tf2onnx's hook: the node of `_node_for_roi_align` becomes ONNX's RoiAlign, which wants channels first."""
    feature, boxes, images, _ = node.input
    kept = {"outputs": node.output, "shapes": node.output_shapes, "dtypes": node.output_dtypes}
    (_, side, _, channels), num_samples = node.output_shapes[0], int(node.get_attr_value("extrapolation_value"))
    graph.remove_node(name)
    channels_first = graph.make_node("Transpose", [feature], attr={"perm": [0, 3, 1, 2]}).output
    images = graph.make_node("Cast", [images], attr={"to": onnx.TensorProto.INT64}).output
    attributes = {
        "output_height": side,
        "output_width": side,
        "sampling_ratio": num_samples,
        "spatial_scale": 1.0,
        "coordinate_transformation_mode": "half_pixel",
    }
    made = {"shapes": [[-1, channels, side, side]], "dtypes": [onnx.TensorProto.FLOAT]}
    pooled = graph.make_node("RoiAlign", [*channels_first, boxes, *images], attr=attributes, **made).output
    graph.make_node("Transpose", pooled, attr={"perm": [0, 2, 3, 1]}, name=name, **kept)


def _erfc(graph: Any, node: Any, name: str, _: Any) -> None:
    """tf2onnx's hook: the operator of exact GELUs, which ONNX lacks, as 1 - erf(x)."""
    kept = {"outputs": node.output, "shapes": node.output_shapes, "dtypes": node.output_dtypes}
    (x,) = node.input
    graph.remove_node(name)
    one = graph.make_const(f"{name}_one", np.float32(1)).output
    graph.make_node("Sub", [*one, *graph.make_node("Erf", [x]).output], name=name, **kept)


HANDLERS: dict[str, Any] = {"Erfc": (_erfc, [])}  # of operators that tf2onnx does not know


def _tidy(written: Any) -> None:
    """Names the sides that are free, and drops the operator set for trees and the like, of which no operator is used."""
    for tensor in (*written.graph.input, *written.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    (images,) = (tensor for tensor in written.graph.input if tensor.name == "images")
    for dimension, name in zip(images.type.tensor_type.shape.dim[1:3], ("height", "width"), strict=True):
        dimension.dim_param = name
    used = [operators for operators in written.opset_import if operators.domain == ""]
    del written.opset_import[:]
    written.opset_import.extend(used)


def _halve_weights(onnx: Any, graph: Any) -> None:
    """Stores weights in half precision. A runtime casts them when it loads the file, and computes in float32."""
    casts = []
    for weight in graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT and np.prod(weight.dims) >= 256:  # numbers of the arithmetic stay exact
            name, stored = weight.name, f"{weight.name}_float16"
            values = onnx.numpy_helper.to_array(weight).astype(np.float16)
            weight.CopyFrom(onnx.numpy_helper.from_array(values, stored))
            casts.append(onnx.helper.make_node("Cast", [stored], [name], name=f"{name}_cast", to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def quantise(onnx: Any, written: Any, config: ModelConfig, images: Sequence[Path]) -> Any:
    """Convolutions and matrix products in 8 bits between pairs of QuantizeLinear and DequantizeLinear, by what values they have
    on some images; boxes' arithmetic stays, and so do depthwise convolutions, which are little work of widely spread values."""
    tool = extras.load("onnxruntime.quantization", extra="onnx", why="int8 for ONNX needs ONNX Runtime")

    class Images(tool.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.inputs: Iterator[dict[str, np.ndarray]] = (model_input(image, config) for image in images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.inputs, None)

    depthwise = [node.name for node in written.graph.node if node.op_type == "Conv" and _groups(node) > 1]
    logger = logging.getLogger()  # where the tool writes advice
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory() as folder:
            tool.quantize_static(
                written,
                str(Path(folder) / "int8.onnx"),
                Images(),
                op_types_to_quantize=list(LAYERS),
                per_channel=True,
                activation_type=tool.QuantType.QUInt8,
                weight_type=tool.QuantType.QInt8,
                nodes_to_exclude=[*keep_exact(written.graph), *depthwise],
            )
            return onnx.load(str(Path(folder) / "int8.onnx"))
    finally:
        logger.setLevel(level)


def _groups(convolution: Any) -> int:
    return next((attribute.i for attribute in convolution.attribute if attribute.name == "group"), 1)


def keep_exact(graph: Any) -> list[str]:
    """The names of the last two layers on every way to boxes, scores and the places where RoIs are cut out.

    As for OpenVINO: 8 bits are 4 pixels in 1000, and these layers are little work.
    """
    makers = {output: node for node in graph.node for output in node.output}

    def makers_of(tensors: Iterable[str]) -> list[Any]:
        return [makers[name] for name in tensors if name in makers]

    rois = (node.input[1] for node in graph.node if node.op_type == "RoiAlign")
    found = on_ways_back(
        makers_of([*(output.name for output in graph.output), *rois]),
        before=lambda node: makers_of(node.input),
        key=lambda node: node.output[0],
        is_layer=lambda node: node.op_type in LAYERS,
        is_end=lambda node: node.op_type in ("RoiAlign", "Shape"),
    )
    return sorted({node.name for node, _ in found if node.op_type in LAYERS})
