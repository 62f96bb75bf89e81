"""One .onnx file of standard operators, with ONNX's own RoiAlign."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn import extras
from maskrcnn.config.model import RoiAlignConfig
from maskrcnn.engines.engine import DESCRIPTION, describe
from maskrcnn.exporting.graph import inference_graph
from maskrcnn.ops.native import KERNELS, Kernels

BACKEND = "tensorflow"
SUFFIX = ".onnx"
CALIBRATED = False
PRECISIONS = ("float32", "float16")
OPSET = 18  # RoiAlign has had half pixels since 16, and runtimes of 2023 read 18


def write(model: Any, out: Path, precision: str) -> None:
    onnx, tf2onnx = (extras.load(name, extra="onnx", why=f"An export for ONNX needs {name}") for name in ("onnx", "tf2onnx"))
    graph = inference_graph(model, _kernels(model.config.roi_align))
    handlers: dict[str, Any] = {"CropAndResize": (functools.partial(_roi_align, onnx), [])}
    written, _ = tf2onnx.convert.from_function(graph, graph.input_signature, opset=OPSET, custom_op_handlers=handlers)
    onnx.helper.set_model_props(written, {DESCRIPTION: describe(model.config, precision)})
    _tidy(written)
    if precision == "float16":
        _halve_weights(onnx, written.graph)
    onnx.checker.check_model(written, full_check=True)
    onnx.save_model(written, str(out))


def _kernels(config: RoiAlignConfig) -> Kernels:
    """Their graph holds one node for each RoIAlign, which `_roi_align` translates; TensorFlow cannot run it."""
    uniform = config.mode == "crop_and_resize" or config.sampling_ratio > 0
    return KERNELS._replace(pool_levels=functools.partial(_pool_levels, uniform=uniform))


def _pool_levels(features: Any, levels: Any, y: Any, x: Any, *, uniform: bool) -> Any:
    """See `Kernels.pool_levels`; uniform where all boxes have equally many samples in a bin."""
    import tensorflow as tf
    from keras import ops

    batch, num_rows, pool_size, _ = ops.shape(y.places)
    images, levels = tf.repeat(tf.range(batch), num_rows), tf.reshape(levels, (-1,))
    samples = [tf.reshape(values, (-1, *values.shape[2:])) for values in (*y, *x)]
    rows, pooled = [], []
    for level, feature in enumerate(features):
        here = tf.where(tf.equal(levels, level))[:, 0]
        rows.append(here)
        pooled.append(_pool(feature, *(tf.gather(values, here) for values in (images, *samples)), uniform=uniform))
    # Each box lies in exactly one level: a permutation puts them back into their order.
    order = tf.math.invert_permutation(tf.concat(rows, axis=0))
    pooled = tf.gather(tf.concat(pooled, axis=0), order)
    return tf.reshape(pooled, (batch, num_rows, pool_size, pool_size, features[0].shape[-1]))


def _pool(feature: Any, images: Any, y: Any, y_weights: Any, x: Any, x_weights: Any, *, uniform: bool) -> Any:
    """Boxes of one level: of each its image (n,), its places (n, P, S) and weights (n, S) along y and x → (n, P, P, C).

    Samples that are equally many in every bin are one even grid. Else those that are first in their bins are one, the second
    ones another, and so on.
    """
    _, pool_size, num_samples = y.shape
    if uniform:
        count = pool_size * num_samples
        ends = _ends(y[:, 0, 0], y[:, -1, -1], count), _ends(x[:, 0, 0], x[:, -1, -1], count)
        return _node_for_roi_align(feature, images, *ends, pool_size, num_samples)
    total = 0.0
    for i, j in itertools.product(range(num_samples), repeat=2):
        ends = _ends(y[:, 0, i], y[:, -1, i], pool_size), _ends(x[:, 0, j], x[:, -1, j], pool_size)
        weights = (y_weights[:, i] * x_weights[:, j])[:, None, None, None]
        total = total + weights * _node_for_roi_align(feature, images, *ends, pool_size, 1)
    return total


def _ends(first: Any, last: Any, count: int) -> tuple[Any, Any]:
    """Start and end of a box whose `count` samples, each in the middle of its share, go from `first` to `last`.

    Half a pixel is added, which RoiAlign takes off where it counts in half pixels. Where it does not, it makes boxes of less
    than a pixel larger.
    """
    half = (last - first) * (0.5 / (count - 1))
    return first - half + 0.5, last + half + 0.5


def _node_for_roi_align(feature: Any, images: Any, y: Any, x: Any, pool_size: int, num_samples: int) -> Any:
    """TensorFlow has no RoIAlign, so a crop of the same shape stands for it, its samples a bin in an attribute that is free."""
    import tensorflow as tf

    boxes = tf.stack([x[0], y[0], x[1], y[1]], axis=1)
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
