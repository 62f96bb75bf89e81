"""Laws of exporting: the file answers as the model, says all of itself, and is only there where that was checked."""

from __future__ import annotations

import functools
import importlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from exports import KINDS, answers_agree, random_model, threads_get_their_own_answers
from PIL import Image
from small_network import images_of, make_batch

from maskrcnn import engines, structures
from maskrcnn.api import MaskRCNN
from maskrcnn.engines import litert
from maskrcnn.engines.engine import OUTPUTS, describe
from maskrcnn.exporting import export
from maskrcnn.exporting import onnx as onnx_writer
from maskrcnn.ops import boxes as box_ops

FORMATS = (
    "saved-model",
    "openvino",
    "litert",
    "onnx",
)
RUNTIMES = {
    "saved-model": "tensorflow",
    "openvino": "openvino",
    "litert": "ai_edge_litert.interpreter",
    "onnx": "onnxruntime",
}
TFLITE = b"\x1c\x00\x00\x00TFL3" + bytes(100)  # begins as such a file does


@pytest.fixture(scope="module")
def model() -> MaskRCNN:
    return random_model()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory) -> Callable[[str], Path]:
    """The model in a format, written once."""
    return functools.cache(lambda name: write(model, name, tmp_path_factory.mktemp("exported")))


@pytest.fixture(params=FORMATS)
def written(request, exported) -> Path:
    return exported(request.param)


def write(model, name: str, folder: Path) -> Path:
    pytest.importorskip(RUNTIMES[name], reason=f"what runs {name} is not installed")
    writer = export.WRITERS[name]
    out = folder / f"model{writer.SUFFIX}"
    writer.write(model, out, "float32")
    return out


@pytest.mark.parametrize(("counts", "frame"), [((3,), (64, 96)), ((3, 5), (64, 96)), ((4,), (96, 64))])
def test_an_exported_model_answers_as_the_model_whatever_batch_and_frame(model, written, counts, frame):
    batch = {name: value for name, value in make_batch(counts, frame=frame).items() if name in ("images", "sizes")}
    answers_agree(structures.PaddedDetections(*model.predict_on_batch(batch)), engines.load(written).predict_on_batch(batch))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> list[Path]:
    """Images to calibrate with."""
    folder = tmp_path_factory.mktemp("drawn")
    for seed in range(4):
        Image.fromarray(make_batch((4,), seed=seed)["images"][0]).save(folder / f"{seed}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module", params=["bfloat16", pytest.param("int8", marks=pytest.mark.slow)])
def in_fewer_bits(request, model, drawn, tmp_path_factory) -> Path:
    """An OpenVINO export whose layers compute in fewer bits."""
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    folder, options = tmp_path_factory.mktemp("bits"), {}
    if request.param == "int8":
        pytest.importorskip("nncf", reason="NNCF is not installed")
        options["calibrate"] = drawn
    export.WRITERS["openvino"].write(model, folder / request.param, request.param, **options)
    return folder / request.param


def test_no_box_is_computed_in_fewer_bits(in_fewer_bits):
    from openvino import Core

    from maskrcnn.exporting.openvino import LAYERS

    nodes = Core().read_model(in_fewer_bits / "model.xml").get_ops()
    marked = {node.get_friendly_name() for node in nodes if any("PrecisionConversion" in key for key in node.get_rt_info())}
    ahead = [node.input_value(1).get_node() for node in nodes if node.get_type_name() == "ROIAlign"]
    seen = set()
    while ahead:
        node = ahead.pop()
        kind, name = node.get_type_name(), node.get_friendly_name()
        if name in seen or kind in (*LAYERS, "ShapeOf", "Parameter"):
            continue
        seen.add(name)
        assert kind != "FakeQuantize"
        assert name in marked or node.get_output_element_type(0).is_integral()
        ahead += [value.get_node() for value in node.input_values()]
    assert len(seen) > 50
    layers = [node for node in nodes if node.get_type_name() == "Convolution"]
    assert layers and not any(node.get_friendly_name() in marked for node in layers)


def test_in_fewer_bits_the_same_objects_are_found(model, in_fewer_bits):
    nearly_the_same_objects_are_found(model, in_fewer_bits)


@pytest.mark.slow
def test_onnx_computes_in_8_bits_what_is_not_kept_exact(model, exported, drawn, tmp_path):
    onnx = pytest.importorskip("onnx", reason="ONNX is not installed")
    written = onnx.load(exported("onnx"))
    exact = onnx_writer.keep_exact(written.graph)
    layers = {node.name: node for node in written.graph.node if node.op_type in ("Conv", "ConvTranspose", "Gemm")}
    assert {name.partition("_1/")[0] for name in exact if name in layers} == {"rpn"}
    quantised = onnx_writer.quantise(onnx, written, model.config, drawn)
    onnx.save_model(quantised, tmp_path / "int8.onnx")
    makers = {output: node for node in quantised.graph.node for output in node.output}
    in_8_bits = {node.name for node in quantised.graph.node if _is_quantised(node, makers)}
    assert set(layers) & in_8_bits and not set(exact) & in_8_bits
    assert any(name.startswith("fpn") for name in in_8_bits) and any(name.startswith("box_head") for name in in_8_bits)
    nearly_the_same_objects_are_found(model, tmp_path / "int8.onnx")


def _is_quantised(node, makers) -> bool:
    whence = [makers[name].op_type if name in makers else "" for name in node.input[:2]]
    return node.op_type in onnx_writer.LAYERS and whence == ["DequantizeLinear"] * 2


def nearly_the_same_objects_are_found(model, export: Path) -> None:
    """Most have their like; which of two doubles NMS keeps, a rounding may decide, and by chance weights there are many."""
    batch = {name: value for name, value in make_batch((3, 5)).items() if name in ("images", "sizes")}
    want, found = model.predict_on_batch(batch), engines.load(export).predict_on_batch(batch)
    overlaps = []
    for image in range(2):
        first, second = (np.asarray(answer.boxes)[image][np.asarray(answer.valid)[image]] for answer in (want, found))
        overlaps.append(np.asarray(box_ops.iou(first, second)).max(axis=1))
    assert np.mean(np.concatenate(overlaps) > 0.5) > 0.6  # 0.85 and 1.0 measured; how int8 rounds depends on the processor
    off = np.abs(np.asarray(found.scores) - np.asarray(want.scores))
    assert off.mean() < 0.03 and off.max() < 0.1


def test_int8_alone_is_calibrated(model, tmp_path):
    with pytest.raises(ValueError, match="received openvino in int8 and 0 images"):
        export.export(model, tmp_path / "model", format="openvino", precision="int8")
    with pytest.raises(ValueError, match="received openvino in float32 and 1 images"):
        export.export(model, tmp_path / "model", format="openvino", calibrate=["a.png"])


def test_the_whole_configuration_travels_inside(model, written):
    assert engines.load(written).config == model.config


def test_eight_threads_get_their_own_answers(written):
    threads_get_their_own_answers(engines.load(written))


def test_a_saved_model_runs_in_plain_tensorflow(model, tmp_path):
    export.WRITERS["saved-model"].write(model, tmp_path / "model", "float32")
    batch = make_batch((3,))
    np.savez(tmp_path / "given.npz", images=batch["images"].astype(np.float32), sizes=batch["sizes"])
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['keras', 'maskrcnn']));"
        "import numpy as np, tensorflow as tf; given = np.load('given.npz');"
        "found = tf.saved_model.load('model').signatures['serving_default']("
        "images=tf.constant(given['images']), sizes=tf.constant(given['sizes']));"
        "np.savez('found.npz', **{name: value.numpy() for name, value in found.items()})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-500:]
    want = model.predict_on_batch({"images": batch["images"], "sizes": batch["sizes"]})
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_allclose(found["masks"], want.masks, atol=1e-3)
        assert found["count"].tolist() == np.asarray(want.valid).sum(axis=1).tolist()


def test_keypoints_differ_by_an_objects_median_one():
    boxes, masks = np.array([[10, 10, 50, 50]], np.float32), np.ones((1, 28, 28), np.float32)
    points = np.array([[[20, 20, 1], [30, 30, 1], [40, 40, 1]]], np.float32)
    made = (boxes, np.ones(1, np.float32), np.zeros(1, np.int32), masks, (64, 64))
    first, second = (structures.Detections(*made, keypoints=points + moved) for moved in (0.0, np.float32([3, 4, 0])))
    assert export._difference(first, second) == export.Difference(1, 0, 0.0, 0.0, 1.0, keypoints=5.0)
    assert export.LIMITS["int8"].keypoints > 5.0 > export.LIMITS["bfloat16"].keypoints


def test_a_mismatch_leaves_nothing(model, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "CERTAIN", 0.0)
    wrong = export.Difference(9, 0, 3.0, 0.0, 1.0)
    monkeypatch.setattr(export, "compare", lambda *_: wrong)
    with pytest.raises(ValueError, match="does not answer as the Keras model"):
        export.export(model, tmp_path / "model", format="saved-model", log=lambda _: None)
    assert not list(tmp_path.iterdir())


def test_a_path_that_holds_no_export_is_told(tmp_path):
    with pytest.raises(ValueError, match="no exported model"):
        engines.load(tmp_path)


def test_an_export_for_one_engine_is_not_run_on_another(model, written):
    own = engines.recognise(written)
    other = next(name for name in engines.ENGINES if name != own)
    with pytest.raises(ValueError, match=f"exported for {own}, not for {other}"):
        engines.load(written, other)


@pytest.mark.parametrize(
    ("file", "content", "extra"),
    [
        ("model.xml", b"", "openvino"),
        ("model.tflite", TFLITE, "litert"),
        ("model.onnx", b"", "onnxruntime"),
        ("model.pt2", b"", "torch"),
    ],
)
def test_an_absent_engine_says_what_to_install(tmp_path, monkeypatch, file, content, extra):
    (tmp_path / file).write_bytes(content)
    monkeypatch.setitem(sys.modules, RUNTIMES.get(extra, extra), None)
    with pytest.raises(ImportError, match=rf"maskrcnn\[{extra}\]"):
        engines.load(tmp_path / file)


def test_int8_for_litert_without_its_quantizer_says_what_to_install(model, tmp_path, monkeypatch):
    pytest.importorskip(RUNTIMES["litert"], reason="LiteRT is not installed")
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer.quantizer", None)
    with pytest.raises(ImportError, match=r"maskrcnn\[litert-int8\]"):
        export.export(model, tmp_path / "model.tflite", format="litert", precision="int8")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["litert", "onnx", "openvino"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_is_exported(kind, name, tmp_path):
    model = random_model(**KINDS[kind])
    batch = images_of(make_batch((3, 5)))
    engine = engines.load(write(model, name, tmp_path))
    answers_agree(structures.PaddedDetections(*model.predict_on_batch(batch)), engine.predict_on_batch(batch))


@pytest.mark.parametrize(("precision", "pixels"), [("float16", 0.1), pytest.param("int8", 5.0, marks=pytest.mark.slow)])
# 5 pixels: another random model's boxes are 15 away
def test_litert_writes_smaller_files_with_nearly_the_same_answers(model, exported, tmp_path, precision, pixels):
    pytest.importorskip("ai_edge_quantizer", reason="AI Edge Quantizer is not installed")
    file = tmp_path / "model.tflite"
    export.WRITERS["litert"].write(model, file, precision)
    assert file.stat().st_size < exported("litert").stat().st_size
    batch = {name: make_batch((3,))[name] for name in ("images", "sizes")}
    found = engines.load(file).predict_on_batch(batch)
    want = model.predict_on_batch(batch)
    apart = np.abs(want.boxes[0][:, None] - found.boxes[0][None]).max(axis=2).min(axis=1)
    assert np.median(apart[np.asarray(want.valid)[0]]) < pixels


@pytest.mark.parametrize(("described", "told"), [(False, "does not say which model it holds"), (True, "damaged")])
def test_a_foreign_and_a_damaged_litert_file_are_told_in_one_line(model, tmp_path, described, told):
    pytest.importorskip(RUNTIMES["litert"], reason="LiteRT is not installed")
    file = tmp_path / "model.tflite"
    file.write_bytes(TFLITE)
    if described:
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(litert.ENTRY, describe(model.config, "float32"))
    with pytest.raises(ValueError, match=told) as raised:
        engines.load(file)
    assert "\n" not in str(raised.value)


def test_a_litert_description_without_bound_is_not_read(tmp_path, monkeypatch):
    pytest.importorskip(RUNTIMES["litert"], reason="LiteRT is not installed")
    monkeypatch.setattr(litert, "MAX_DESCRIPTION_BYTES", 1000)
    file = tmp_path / "model.tflite"
    file.write_bytes(TFLITE)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(litert.ENTRY, " " * 1001)
    with pytest.raises(ValueError, match="over 1,000 bytes"):
        engines.load(file)


def test_a_file_of_another_name_than_its_format_has_is_told(model, tmp_path):
    with pytest.raises(ValueError, match=r"ends in .onnx; received .*first"):
        export.export(model, tmp_path / "first", format="onnx")


def test_onnx_has_one_roi_align_a_level_and_standard_operators_alone(exported):
    path = exported("onnx")
    onnx = importlib.import_module("onnx")
    written = onnx.load(path)
    onnx.checker.check_model(written, full_check=True)
    assert {node.domain for node in written.graph.node} == {""} and not written.functions
    assert [(operators.domain, operators.version) for operators in written.opset_import] == [("", 18)]
    assert sum(node.op_type == "RoiAlign" for node in written.graph.node) == 8  # P2 … P5, for boxes and for masks
    assert [tensor.name for tensor in written.graph.input] == ["images", "sizes"]
    assert sorted(tensor.name for tensor in written.graph.output) == sorted(OUTPUTS)


@pytest.mark.slow
def test_onnx_weights_in_half_precision_make_the_file_smaller(model, exported, tmp_path):
    whole, half = exported("onnx"), tmp_path / "half.onnx"
    export.WRITERS["onnx"].write(model, half, "float16")
    batch = images_of(make_batch((3,)))
    weights = 4 * sum(int(np.prod(weight.shape)) for weight in model.weights)
    assert whole.stat().st_size - half.stat().st_size > 0.3 * weights
    one, other = (engines.load(path).predict_on_batch(batch) for path in (whole, half))
    assert 0 < np.abs(one.scores - other.scores).max() < 1e-2


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x08\x12"])
def test_a_damaged_onnx_file_is_told_in_one_line(content, tmp_path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model.onnx (is damaged|does not say)") as told:
        engines.load(path)
    assert "\n" not in str(told.value)
