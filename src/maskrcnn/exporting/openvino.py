"""OpenVINO's model.xml and model.bin, with its own RoIAlign and TopK."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn import extras
from maskrcnn.config.model import ModelConfig
from maskrcnn.engines.engine import DESCRIPTION, describe, outputs_of
from maskrcnn.exporting.calibration import model_input, on_ways_back
from maskrcnn.exporting.graph import inference_graph
from maskrcnn.ops.native import KERNELS, Samples

BACKEND = "tensorflow"
SUFFIX = ""
CALIBRATED = True
PRECISIONS = ("float32", "float16", "bfloat16", "int8")

# Where a way up from boxes and scores ends: what stands before these need not be exact.
LAYERS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul")
# OpenVINO reads this mark of a node as: here nothing is computed in fewer bits than float32 has.
EXACT = "precise_0"
# Feature pixels by which rounding may part a box's two ends: with so many less, a bin of just two pixels has two samples.
ROUNDING = 5e-5
ROIS = "rois"  # a further output, see `keep_exact`


def write(model: Any, out: Path, precision: str, calibrate: Sequence[Path] = ()) -> None:
    openvino = extras.load("openvino", extra="openvino", why="An export for OpenVINO needs it")
    with _nothing_reported():
        converted = _convert(model)
        exact = keep_exact(converted) if precision in ("bfloat16", "int8") else []
        if precision == "int8":
            converted = _quantise(converted, model.config, calibrate, exact)
    converted.set_rt_info(describe(model.config, precision), [DESCRIPTION])
    out.mkdir()
    openvino.save_model(converted, str(out / "model.xml"), compress_to_fp16=precision != "float32")


def _convert(model: Any) -> Any:
    openvino = extras.load("openvino", extra="openvino", why="An export for OpenVINO needs it")
    frontend = extras.load("openvino.frontend.tensorflow", extra="openvino", why="An export for OpenVINO needs it")
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    traced = inference_graph(model, KERNELS._replace(double=_double, pool_levels=_pool_levels)).get_concrete_function()
    frozen = convert_variables_to_constants_v2(traced, lower_control_flow=False)
    names = {tensor.name: name for tensor, name in zip(frozen.outputs, sorted(outputs_of(model.config)), strict=True)}
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "graph.pb"
        graph.write_bytes(frozen.graph.as_graph_def().SerializeToString())
        translations = {"CropAndResize": _roi_align_of_crop, "TopKV2": _top_k}
        converted = openvino.convert_model(
            str(graph), extension=[frontend.ConversionExtension(name, translate) for name, translate in translations.items()]
        )
    for output in converted.outputs:
        (name,) = (names[known] for known in output.get_names() if known in names)
        output.get_tensor().set_names({name})
    for tensor in converted.inputs:
        tensor.get_tensor().set_names({"images" if "images" in tensor.get_any_name() else "sizes"})
    return converted


def keep_exact(converted: Any) -> list[str]:
    """Lets boxes and scores be computed in float32 from the last layers on: bfloat16's 8 bits are 4 pixels in 1000.

    OpenVINO keeps float32 on the ways up from a model's outputs to the first layers met. The places where RoIs are cut out lie
    on none of them, so they become an output too, which nobody reads. The mark alone gets lost where OpenVINO changes a node;
    it saves constants from being written in half precision.

    Returns:
        The names of the nodes, and those of the last two layers on every way, which are little work: not to be quantised.
    """
    op = extras.load("openvino.opset13", extra="openvino", why="An export for OpenVINO needs it")

    rois = op.concat([node.input_value(1) for node in converted.get_ops() if node.get_type_name() == "ROIAlign"], 0)
    rois.get_output_tensor(0).set_names({ROIS})
    converted.add_results([op.result(rois)])
    names: set[str] = set()
    for node, layers in on_ways_back(
        [result.input_value(0).get_node() for result in converted.get_results()],
        before=lambda node: [value.get_node() for value in node.input_values()],
        key=lambda node: node.get_friendly_name(),
        is_layer=lambda node: node.get_type_name() in LAYERS,
        is_end=lambda node: node.get_type_name() in ("ROIAlign", "ShapeOf", "Parameter"),
    ):
        if node.get_type_name() in LAYERS:
            names.add(node.get_friendly_name())
        elif not layers:
            names.add(node.get_friendly_name())
            node.get_rt_info()[EXACT] = ""
    return sorted(names)


def _quantise(converted: Any, config: ModelConfig, images: Sequence[Path], exact: Sequence[str]) -> Any:
    """Convolutions and matrix products in 8 bits, by what values they have on some images; boxes' arithmetic stays."""
    nncf = extras.load("nncf", extra="openvino-int8", why="int8 needs NNCF")
    range_estimator = extras.load("nncf.quantization.range_estimator", extra="openvino-int8", why="int8 needs NNCF")
    widest = range_estimator.RangeEstimatorParametersSet.MINMAX
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with np.errstate(over="ignore"):
        return nncf.quantize(
            converted,
            nncf.Dataset(images, lambda image: model_input(image, config)),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(images),
            # From the least to the greatest value on any image: means over the images would cut off the brightest of them.
            advanced_parameters=nncf.AdvancedQuantizationParameters(activations_range_estimator_params=widest),
            # Depthwise convolutions are little work, and have the widest spread of values from channel to channel.
            ignored_scope=nncf.IgnoredScope(names=list(exact), types=["GroupConvolution"], validate=False),
        )


@contextmanager
def _nothing_reported() -> Iterator[None]:
    """OpenVINO's and NNCF's tools tell their makers of each use, over the network and unasked, but not where CI is set."""
    before = os.environ.get("CI")
    os.environ["CI"] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ["CI"]
        else:
            os.environ["CI"] = before


def _double(feature: Any) -> Any:
    """As the pyramid's own, but an operation of which OpenVINO makes one Interpolate, without changes of layout around it."""
    import tensorflow as tf

    return tf.raw_ops.ResizeNearestNeighbor(images=feature, size=2 * tf.shape(feature)[1:3])


def _pool_levels(features: Any, levels: Any, y: Samples, x: Samples) -> Any:
    """See `Kernels.pool_levels`, but one crop a level in the place of one for each sample of a bin.

    A crop that TensorFlow never computes: it holds a RoI's edges, and as its `extrapolation_value` how many samples a bin has
    along each axis, all of the same weight; 0 for as many as it has pixels. `_roi_align_of_crop` makes one RoIAlign of it.
    """
    import tensorflow as tf

    batch, num_rows = tf.unstack(tf.shape(levels))
    num_samples = y.count if isinstance(y.count, int) else 0
    edges = []
    for axis in (y, x):
        length = axis.size * axis.num_bins  # (B, N)
        edges.append((axis.start, axis.start + (length if num_samples else tf.maximum(length - ROUNDING, ROUNDING))))
    (top, bottom), (left, right) = edges
    rois = tf.reshape(tf.stack([top, left, bottom, right], axis=-1), (-1, 4))
    images = tf.repeat(tf.range(batch), num_rows)
    levels = tf.reshape(levels, (-1,))
    rows, pooled = [], []
    for level, feature in enumerate(features):
        here = tf.where(tf.equal(levels, level))[:, 0]
        crop = {"crop_size": (y.num_bins, x.num_bins), "extrapolation_value": float(num_samples)}
        pooled.append(tf.image.crop_and_resize(feature, tf.gather(rois, here), tf.gather(images, here), **crop))
        rows.append(here)
    order = tf.math.invert_permutation(tf.concat(rows, axis=0))
    pooled = tf.gather(tf.concat(pooled, axis=0), order)
    if not num_samples:  # OpenVINO would divide by the samples that a box without area does not have
        has_samples = tf.reshape(tf.logical_and(y.count > 0, x.count > 0), (-1, 1, 1, 1))
        pooled = tf.where(has_samples, pooled, 0.0)
    return tf.reshape(pooled, (batch, num_rows, y.num_bins, x.num_bins, features[0].shape[-1]))


def _roi_align_of_crop(node: Any) -> Any:
    """OpenVINO's RoIAlign in the place of TensorFlow's crop_and_resize, which OpenVINO would make a ROIPooling of other rules.

    `half_pixel` at scale 1 takes coordinates as they are; `asymmetric` would make boxes at least a feature pixel wide, which
    `align_samples` does where that is the model's rule.
    """
    op = extras.load("openvino.opset13", extra="openvino", why="An export for OpenVINO needs it")

    image, boxes, indices, size = (node.get_input(place) for place in range(4))
    side = int(size.get_node().get_data()[0])
    num_samples = int(node.get_attribute("extrapolation_value"))
    channels_first = op.transpose(image, np.array([0, 3, 1, 2]))
    rois = op.gather(boxes, np.array([1, 0, 3, 2]), np.array(1))  # x first
    pooled = op.roi_align(channels_first, rois, indices, side, side, num_samples, 1.0, "avg", "half_pixel")
    return op.transpose(pooled, np.array([0, 2, 3, 1])).outputs()


def _top_k(node: Any) -> Any:
    """TopK that need not keep the order of equal values: measured, the stable one takes as long as the whole box head."""
    op = extras.load("openvino.opset13", extra="openvino", why="An export for OpenVINO needs it")

    return op.topk(node.get_input(0), node.get_input(1), -1, "max", "value", index_element_type="i32").outputs()
