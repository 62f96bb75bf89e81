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
from maskrcnn.config import ModelConfig
from maskrcnn.data.images import read_image
from maskrcnn.data.resize import choose_frame, fit_to_frame, pad_to_frame
from maskrcnn.engines.engine import DESCRIPTION, OUTPUTS, describe
from maskrcnn.exporting.graph import inference_graph
from maskrcnn.ops import native

BACKEND = "tensorflow"
SUFFIX = ""
CALIBRATED = True
PRECISIONS = ("float32", "float16", "bfloat16", "int8")

# Where a way up from boxes and scores ends: what stands before these need not be exact.
COARSE = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul")
# OpenVINO reads this mark of a node as: here nothing is computed in fewer bits than float32 has.
EXACT = "precise_0"


def write(model: Any, out: Path, precision: str, calibrate: Sequence[Path] = ()) -> None:
    openvino = extras.load("openvino", extra="openvino", why="An export for OpenVINO needs it")
    with _nothing_reported():
        converted = _convert(model)
        if precision == "int8":
            converted = _quantise(converted, model.config, calibrate)
    if precision in ("bfloat16", "int8"):
        for node in exact_nodes(converted):
            node.get_rt_info()[EXACT] = ""
    converted.set_rt_info(describe(model.config, precision), [DESCRIPTION])
    out.mkdir()
    openvino.save_model(converted, str(out / "model.xml"), compress_to_fp16=precision != "float32")


def _convert(model: Any) -> Any:
    openvino = extras.load("openvino", extra="openvino", why="An export for OpenVINO needs it")
    frontend = extras.load("openvino.frontend.tensorflow", extra="openvino", why="An export for OpenVINO needs it")
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    pool, same_number = native.pool_levels, model.config.roi_align.sampling_ratio or model.config.roi_align.mode != "roi_align"
    native.pool_levels = _pool_levels if same_number else pool
    try:
        traced = inference_graph(model).get_concrete_function()
    finally:
        native.pool_levels = pool
    frozen = convert_variables_to_constants_v2(traced, lower_control_flow=False)
    names = {tensor.name: name for tensor, name in zip(frozen.outputs, sorted(OUTPUTS), strict=True)}
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


def exact_nodes(converted: Any) -> list[Any]:
    """What boxes and scores are computed by, from the last layers on: 8 bits would be 4 pixels in 1000.

    Those are the nodes on the ways up from the outputs, and from the places where RoIs are cut out, to the first layers met.
    """
    starts = [result.input(0) for result in converted.get_results()]
    for node in converted.get_ops():
        if node.get_type_name() == "ROIAlign":
            starts += [node.input(1), node.input(2)]
    found: dict[str, Any] = {}
    ahead = [start.get_source_output().get_node() for start in starts]
    while ahead:
        node = ahead.pop()
        kind, name = node.get_type_name(), node.get_friendly_name()
        if name in found or kind in (*COARSE, "ROIAlign", "ShapeOf", "Parameter"):
            continue
        found[name] = node
        ahead += [given.get_source_output().get_node() for given in node.inputs()]
    return list(found.values())


def _quantise(converted: Any, config: ModelConfig, pictures: Sequence[Path]) -> Any:
    """Convolutions and matrix products in 8 bits, by what values they have on some pictures; boxes' arithmetic stays."""
    nncf = extras.load("nncf", extra="openvino-int8", why="int8 needs NNCF")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf.quantize(
        converted,
        nncf.Dataset(pictures, lambda picture: model_input(picture, config)),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(pictures),
        ignored_scope=nncf.IgnoredScope(names=[node.get_friendly_name() for node in exact_nodes(converted)], validate=False),
    )


def model_input(picture: str | Path, config: ModelConfig) -> dict[str, np.ndarray]:
    """A picture's file as the model is given it: `images` (1, H, W, C) float32 and `sizes` (1, 2)."""
    image = read_image(picture, channels=config.image.channels, scaling=config.image.scaling)
    fitted, _ = fit_to_frame(image, config.image)
    frame = choose_frame([fitted.shape[:2]], config.image)
    padded = pad_to_frame(fitted, frame, config.image.place)
    return {"images": padded[None].astype(np.float32), "sizes": np.array([fitted.shape[:2]], np.int32)}


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


def _pool_levels(features: Any, levels: Any, y: Any, x: Any) -> Any:
    """As `native.pool_levels`, but one crop a level in the place of one for each sample of a bin.

    A crop that TensorFlow never computes: it holds a RoI's edges, and as its `extrapolation_value` how many samples a bin has
    along each axis, all of the same weight. `_roi_align_of_crop` makes one RoIAlign of it.
    """
    import tensorflow as tf

    pool_size, num_samples = y.places.shape[2:]
    batch, num_rows = tf.unstack(tf.shape(levels))
    edges = []
    for axis in (y, x):
        first, last = axis.places[:, :, 0, 0], axis.places[:, :, -1, 0]  # (B, N), the first sample of the outer bins
        size = (last - first) / (pool_size - 1)  # of a bin
        start = first - size * (0.5 / num_samples)
        edges.append((start, start + size * pool_size))
    (top, bottom), (left, right) = edges
    rois = tf.reshape(tf.stack([top, left, bottom, right], axis=-1), (-1, 4))
    images = tf.repeat(tf.range(batch), num_rows)
    levels = tf.reshape(levels, (-1,))
    rows, pooled = [], []
    for level, feature in enumerate(features):
        here = tf.where(tf.equal(levels, level))[:, 0]
        crop = {"crop_size": (pool_size, pool_size), "extrapolation_value": float(num_samples)}
        pooled.append(tf.image.crop_and_resize(feature, tf.gather(rois, here), tf.gather(images, here), **crop))
        rows.append(here)
    order = tf.math.invert_permutation(tf.concat(rows, axis=0))
    pooled = tf.gather(tf.concat(pooled, axis=0), order)
    return tf.reshape(pooled, (batch, num_rows, pool_size, pool_size, features[0].shape[-1]))


def _roi_align_of_crop(node: Any) -> Any:
    """OpenVINO's RoIAlign in the place of TensorFlow's crop_and_resize, which OpenVINO would make a ROIPooling of other rules.

    Where the crop is none of `_pool_levels`, its first and last sample lie on the box's corners. RoIAlign with one sample a bin
    takes it in the bin's middle, so the box grows by half a bin on each side. `half_pixel` at scale 1 takes coordinates as they
    are; `asymmetric` would make boxes at least a feature pixel wide, which `align_samples` does where that is the model's rule.
    """
    op = extras.load("openvino.opset13", extra="openvino", why="An export for OpenVINO needs it")

    image, boxes, indices, size = (node.get_input(place) for place in range(4))
    side = int(size.get_node().get_data()[0])
    num_samples = int(node.get_attribute("extrapolation_value"))
    channels_first = op.transpose(image, np.array([0, 3, 1, 2]))
    if not num_samples:
        extent = op.gather(op.convert(op.shape_of(channels_first), "f32"), np.array([2, 3]), np.array(0))  # height, width
        last = op.concat([op.subtract(extent, np.float32(1))] * 2, 0)
        start, end = op.split(op.multiply(boxes, last), np.array(1), 2).outputs()  # y, x
        half = op.multiply(op.subtract(end, start), np.float32(0.5 / (side - 1)))
        boxes = op.concat([op.subtract(start, half), op.add(end, half)], 1)
    rois = op.gather(boxes, np.array([1, 0, 3, 2]), np.array(1))  # x first
    pooled = op.roi_align(channels_first, rois, indices, side, side, num_samples or 1, 1.0, "avg", "half_pixel")
    return op.transpose(pooled, np.array([0, 2, 3, 1])).outputs()


def _top_k(node: Any) -> Any:
    """TopK that need not keep the order of equal values: measured, the stable one takes as long as the whole box head."""
    op = extras.load("openvino.opset13", extra="openvino", why="An export for OpenVINO needs it")

    return op.topk(node.get_input(0), node.get_input(1), -1, "max", "value", index_element_type="i32").outputs()
