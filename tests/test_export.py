"""Laws of exporting: the file answers as the model, says all of itself, and is only there where that was checked."""

from __future__ import annotations

import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_network import make_batch, small_backbone, small_config

from maskrcnn import engines, export
from maskrcnn.api import MaskRCNN
from maskrcnn.engines import engine, litert
from maskrcnn.model import mask_rcnn
from maskrcnn.ops import boxes as box_ops

FORMATS = (
    "saved-model",
    "openvino",
    "litert",
)
RUNTIMES = {
    "saved-model": "tensorflow",
    "openvino": "openvino",
    "litert": "ai_edge_litert.interpreter",
}
TFLITE = b"\x1c\x00\x00\x00TFL3" + bytes(100)  # begins as such a file does


@pytest.fixture(scope="module")
def model() -> MaskRCNN:
    return random_model()


def random_model(**changes) -> MaskRCNN:
    """Finds something everywhere, by chance."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mask_rcnn, "build_backbone", small_backbone)
        small = {"detect__score": 0.01, "image__short_side": 64, "image__long_side": 96, "fpn__channels": 16}
        model = MaskRCNN(small_config(**{**small, **changes}))
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.07, weight.shape) + (weight.ndim == 1) for weight in model.get_weights()]
    model.set_weights(weights)
    return model


@pytest.fixture(scope="module", params=FORMATS)
def written(request, model, tmp_path_factory) -> Path:
    pytest.importorskip(RUNTIMES[request.param], reason=f"what runs {request.param} is not installed")
    out = tmp_path_factory.mktemp("exported") / request.param
    export.WRITERS[request.param].write(model, out, "float32")
    return out


def answers_agree(one, other) -> None:
    """Row by row, but for the order of detections whose scores rounding alone tells apart."""
    np.testing.assert_array_equal(np.asarray(one.valid), np.asarray(other.valid))
    assert np.asarray(one.valid).any()
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
    for image, valid in enumerate(np.asarray(one.valid)):
        first, second = (np.asarray(answer.boxes)[image][valid] for answer in (one, other))
        apart = np.abs(first[:, None] - second[None]).max(axis=2)
        partners = apart.argmin(axis=1)
        assert sorted(partners) == list(range(len(first)))
        assert apart.min(axis=1).max() < 1e-2
        np.testing.assert_array_equal(one.labels[image][valid], other.labels[image][valid][partners])
        np.testing.assert_allclose(one.masks[image][valid], other.masks[image][valid][partners], atol=1e-2)
        np.testing.assert_allclose(one.scores[image][valid], other.scores[image][valid][partners], atol=1e-4)


@pytest.mark.parametrize(("counts", "frame"), [((3,), (64, 96)), ((3, 5), (64, 96)), ((4,), (96, 64))])
def test_an_exported_model_answers_as_the_model_whatever_batch_and_frame(model, written, counts, frame):
    batch = {name: value for name, value in make_batch(counts, frame=frame).items() if name in ("images", "sizes")}
    answers_agree(mask_rcnn.PaddedDetections(*model.predict_on_batch(batch)), engines.load(written).predict_on_batch(batch))


@pytest.fixture(scope="module", params=["bfloat16", pytest.param("int8", marks=pytest.mark.slow)])
def in_fewer_bits(request, model, tmp_path_factory) -> Path:
    """An OpenVINO export whose layers compute in fewer bits."""
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    folder, options = tmp_path_factory.mktemp("bits"), {}
    if request.param == "int8":
        pytest.importorskip("nncf", reason="NNCF is not installed")
        options["calibrate"] = [folder / f"{seed}.png" for seed in range(4)]
        for seed, picture in enumerate(options["calibrate"]):
            Image.fromarray(make_batch((4,), seed=seed)["images"][0]).save(picture)
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
    """Most have their like; which of two doubles NMS keeps, a rounding may decide, and by chance weights there are many."""
    batch = {name: value for name, value in make_batch((3, 5)).items() if name in ("images", "sizes")}
    want, found = model.predict_on_batch(batch), engines.load(in_fewer_bits).predict_on_batch(batch)
    for image in range(2):
        first, second = (np.asarray(answer.boxes)[image][np.asarray(answer.valid)[image]] for answer in (want, found))
        assert np.mean(np.asarray(box_ops.iou(first, second)).max(axis=1) > 0.5) > 0.6
    np.testing.assert_allclose(found.scores, want.scores, atol=0.05)


def test_int8_alone_is_calibrated(model, tmp_path):
    with pytest.raises(ValueError, match="received int8 and 0 pictures"):
        export.export(model, tmp_path / "model", format="openvino", precision="int8")
    with pytest.raises(ValueError, match="received float32 and 1 pictures"):
        export.export(model, tmp_path / "model", format="openvino", calibrate=["a.png"])


def test_the_whole_configuration_travels_inside(model, written):
    assert engines.load(written).config == model.config


def test_eight_threads_get_their_own_answers(written):
    engine = engines.load(written)
    batches = [{name: make_batch((3,), seed=seed)[name] for name in ("images", "sizes")} for seed in range(8)]
    alone = [engine.predict_on_batch(batch) for batch in batches]
    assert np.abs(alone[0].boxes - alone[1].boxes).max() > 1  # else nothing could be crossed
    together: dict[int, list] = {}

    def ask(number: int) -> None:
        together[number] = [engine.predict_on_batch(batches[number]) for _ in range(4)]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, found in together.items():
        for answer in found:
            np.testing.assert_allclose(answer.boxes, alone[number].boxes, atol=1e-3)
            np.testing.assert_allclose(answer.masks, alone[number].masks, atol=1e-3)


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
    other = next(name for name in FORMATS if name != written.name)
    with pytest.raises(ValueError, match=f"exported for {written.name}, not for {other}"):
        engines.load(written, other)


@pytest.mark.parametrize(
    ("file", "content", "extra"),
    [
        ("model.xml", b"", "openvino"),
        ("model.tflite", TFLITE, "litert"),
    ],
)
def test_an_absent_engine_says_what_to_install(tmp_path, monkeypatch, file, content, extra):
    (tmp_path / file).write_bytes(content)
    monkeypatch.setitem(sys.modules, RUNTIMES[extra], None)
    with pytest.raises(ImportError, match=rf"maskrcnn\[{extra}\]"):
        engines.load(tmp_path / file)


def test_int8_for_litert_without_its_quantizer_says_what_to_install(model, tmp_path, monkeypatch):
    pytest.importorskip(RUNTIMES["litert"], reason="LiteRT is not installed")
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer.quantizer", None)
    with pytest.raises(ImportError, match=r"maskrcnn\[litert-int8\]"):
        export.export(model, tmp_path / "model.tflite", format="litert", precision="int8")
    assert not list(tmp_path.iterdir())


MATTERPORT = {
    "image__padding": "black",
    "image__place": "centre",
    "anchors__ends": "last_pixel",
    "rpn__rank": "all_levels",
    "roi_align__mode": "crop_and_resize",
    "roi_align__level_shift": 0.5,
    "box_head__norm": "frozen",
    "mask_head__norm": "frozen",
    "detect__classes": "best",
}
DETECTRON2 = {
    "roi_align__sampling_ratio": 0,
    "box_head__kind": "4conv1fc",
    "box_head__norm": "group",
    "box_head__conv_channels": 32,
    "mask_head__norm": "group",
    "mask_head__channels": 32,
}


@pytest.mark.slow
@pytest.mark.parametrize("changes", [MATTERPORT, DETECTRON2], ids=["matterport", "detectron2"])
def test_litert_answers_as_models_of_other_projects(tmp_path, changes):
    pytest.importorskip(RUNTIMES["litert"], reason="LiteRT is not installed")
    model = random_model(**changes)
    export.WRITERS["litert"].write(model, tmp_path / "model.tflite", "float32")
    batch = {name: value for name, value in make_batch((3, 4)).items() if name in ("images", "sizes")}
    found = engines.load(tmp_path / "model.tflite").predict_on_batch(batch)
    answers_agree(mask_rcnn.PaddedDetections(*model.predict_on_batch(batch)), found)


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_litert_writes_smaller_files_with_nearly_the_same_answers(model, tmp_path, precision):
    pytest.importorskip("ai_edge_quantizer", reason="AI Edge Quantizer is not installed")
    export.WRITERS["litert"].write(model, tmp_path / "model.tflite", precision)
    batch = {name: make_batch((3,))[name] for name in ("images", "sizes")}
    found = engines.load(tmp_path / "model.tflite").predict_on_batch(batch)
    want = model.predict_on_batch(batch)
    apart = np.abs(want.boxes[0][:, None] - found.boxes[0][None]).max(axis=2).min(axis=1)
    assert np.median(apart[np.asarray(want.valid)[0]]) < 1.0


@pytest.mark.parametrize(("described", "told"), [(False, "does not say which model it holds"), (True, "damaged")])
def test_a_foreign_and_a_damaged_litert_file_are_told_in_one_line(model, tmp_path, described, told):
    pytest.importorskip(RUNTIMES["litert"], reason="LiteRT is not installed")
    file = tmp_path / "model.tflite"
    file.write_bytes(TFLITE)
    if described:
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(litert.ENTRY, engine.describe(model.config, "float32"))
    with pytest.raises(ValueError, match=told) as raised:
        engines.load(file)
    assert "\n" not in str(raised.value)
