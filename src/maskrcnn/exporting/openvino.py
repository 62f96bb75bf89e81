"""OpenVINO's model.xml and model.bin, with its own RoIAlign and TopK."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn import extras
from maskrcnn.engines.engine import DESCRIPTION, OUTPUTS, describe
from maskrcnn.exporting.graph import inference_graph

BACKEND = "tensorflow"
SUFFIX = ""
PRECISIONS = ("float32", "float16")


def write(model: Any, out: Path, precision: str) -> None:
    openvino = extras.load("openvino", extra="openvino", why="An export for OpenVINO needs it")
    frontend = extras.load("openvino.frontend.tensorflow", extra="openvino", why="An export for OpenVINO needs it")
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(inference_graph(model).get_concrete_function(), lower_control_flow=False)
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
        converted.set_rt_info(describe(model.config, precision), [DESCRIPTION])
        out.mkdir()
        openvino.save_model(converted, str(out / "model.xml"), compress_to_fp16=precision == "float16")


def _roi_align_of_crop(node: Any) -> Any:
    """OpenVINO's RoIAlign in the place of TensorFlow's crop_and_resize, which OpenVINO would make a ROIPooling of other rules.

    The crop's first and last sample lie on the box's corners. RoIAlign with one sample a bin takes it in the bin's middle, so
    the box grows by half a bin on each side.
    """
    op = extras.load("openvino.opset13", extra="openvino", why="An export for OpenVINO needs it")

    image, boxes, indices, size = (node.get_input(place) for place in range(4))
    side = int(size.get_node().get_data()[0])
    channels_first = op.transpose(image, np.array([0, 3, 1, 2]))
    extent = op.gather(op.convert(op.shape_of(channels_first), "f32"), np.array([2, 3]), np.array(0))  # height, width
    last = op.concat([op.subtract(extent, np.float32(1))] * 2, 0)
    start, end = op.split(op.multiply(boxes, last), np.array(1), 2).outputs()  # y, x
    half = op.multiply(op.subtract(end, start), np.float32(0.5 / (side - 1)))
    rois = op.gather(op.concat([op.subtract(start, half), op.add(end, half)], 1), np.array([1, 0, 3, 2]), np.array(1))
    pooled = op.roi_align(channels_first, rois, indices, side, side, 1, 1.0, "avg", "asymmetric")
    return op.transpose(pooled, np.array([0, 2, 3, 1])).outputs()


def _top_k(node: Any) -> Any:
    """TopK that need not keep the order of equal values: measured, the stable one takes as long as the whole box head."""
    op = extras.load("openvino.opset13", extra="openvino", why="An export for OpenVINO needs it")

    return op.topk(node.get_input(0), node.get_input(1), -1, "max", "value", index_element_type="i32").outputs()
