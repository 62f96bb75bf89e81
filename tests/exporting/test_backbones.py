"""Backbones of newer families, small ones, answer in ONNX Runtime and OpenVINO as in Keras."""

from __future__ import annotations

import numpy as np
import pytest

from maskrcnn.config.backbones import ConvNeXt, Swin, ViTDet
from maskrcnn.config.model import BackboneConfig
from maskrcnn.exporting.onnx import HANDLERS
from maskrcnn.model.backbones import convnext, swin, vitdet
from maskrcnn.model.backbones.build import build_backbone

SMALL = {
    "convnext_tiny": (convnext.CONVNEXTS, ConvNeXt((1, 1, 2, 1), (8, 8, 16, 16))),
    "swin_tiny": (swin.SWINS, Swin((2, 1, 1, 1), 8, (1, 1, 2, 2), window=3)),
    "vitdet_base": (vitdet.VITDETS, ViTDet(4, 16, 2, (1, 2, 3, 4), window=2, positions=3, map_size=4)),
}
pytestmark = pytest.mark.slow


@pytest.fixture(params=SMALL)
def graph(request, monkeypatch):
    """A small backbone of the family as a TensorFlow function, and what it answers to images of two sizes."""
    import tensorflow as tf

    known, numbers = SMALL[request.param]
    monkeypatch.setitem(known, request.param, numbers)
    backbone = build_backbone(BackboneConfig(name=request.param, frozen_stages=0))
    rng = np.random.default_rng(0)
    for weight in backbone.weights:
        weight.assign(rng.normal(0, 0.3, weight.shape))
    function = tf.function(lambda images: backbone(images), input_signature=[tf.TensorSpec((None, None, None, 3))])
    images = [rng.normal(size=(2, *frame, 3)).astype(np.float32) for frame in ((96, 160), (128, 64))]
    return function, [(each, [level.numpy() for level in function(each)]) for each in images]


def agree(found, expected) -> None:
    """Each level is among what was found; OpenVINO's converter may answer maps on the way there as well."""
    for level in expected:
        apart = [np.abs(one - level).max() / np.abs(level).max() for one in found if one.shape == level.shape]
        assert min(apart) < 1e-5, (level.shape, apart)


def test_onnx_runtime_answers_the_same(graph):
    onnxruntime, tf2onnx = (pytest.importorskip(name) for name in ("onnxruntime", "tf2onnx"))
    function, answers = graph
    written, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=18, custom_op_handlers=HANDLERS)
    session = onnxruntime.InferenceSession(written.SerializeToString())
    for images, expected in answers:
        agree(session.run(None, {session.get_inputs()[0].name: images}), expected)


def test_openvino_answers_the_same(graph):
    openvino = pytest.importorskip("openvino")
    function, answers = graph
    compiled = openvino.compile_model(openvino.convert_model(function), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for images, expected in answers:
        agree(list(compiled(images).values()), expected)
