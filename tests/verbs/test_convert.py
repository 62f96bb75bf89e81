"""Files of other projects become files of ours that answer alike, and go back; a failure leaves nothing behind."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import small_checkpoint
from references import matterport as reference
from small_checkpoint import SMALL, torchvision_tensors, with_shallow_resnet, write_h5, write_torchvision

import maskrcnn
from maskrcnn.api import MaskRCNN, load_model
from maskrcnn.verbs.convert import convert
from maskrcnn.weights.files.read import read_tensors

GOLDEN = Path(__file__).parents[1] / "golden" / "torchvision_names.json"
IMAGE = np.random.default_rng(7).integers(0, 256, (60, 80, 3), np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Iterator[dict[str, Path]]:
    """torchvision's v1 and what it was converted to, of a ResNet that is shallow while this fixture lives."""
    folder = tmp_path_factory.mktemp("files")
    with with_shallow_resnet():
        v1 = write_torchvision(folder / "v1.pth")
        convert(v1, folder / "v1.keras", class_names=small_checkpoint.NAMES, log=lambda line: None, **SMALL)
        yield {"v1": v1, "v1.keras": folder / "v1.keras"}


@pytest.fixture(scope="module", params=["v1", "v2"])
def both_ways(request, tmp_path_factory) -> tuple[str, Path, Path, list[str]]:
    """Version; torchvision's file; ours of it as torchvision's again; what was told of that."""
    folder = tmp_path_factory.mktemp("both_ways")
    there = write_torchvision(folder / "there.pth", torchvision_tensors(small_checkpoint.WIDE, v2=request.param == "v2"))
    with with_shallow_resnet():
        quietly(there, folder / "model.keras", **SMALL)
        told = quietly(folder / "model.keras", folder / "back.pth", to="torchvision")
    return request.param, there, folder / "back.pth", told


def quietly(*arguments, **options) -> list[str]:
    """What `convert` tells."""
    told: list[str] = []
    convert(*arguments, log=told.append, **options)
    return told


def test_torchvision_takes_no_model_of_other_channels(files, tmp_path):
    quietly(files["v1"], tmp_path / "grey.keras", input_channels=1, **SMALL)
    assert load_model(tmp_path / "grey.keras").config.image.channels == 1
    with pytest.raises(ValueError, match=r"torchvision's Mask R-CNN cannot have image.channels=1; its own is 3"):
        quietly(tmp_path / "grey.keras", tmp_path / "grey.pth", to="torchvision")
    assert not (tmp_path / "grey.pth").exists()


def test_the_verb_is_public():
    assert maskrcnn.convert is convert


def test_a_converted_model_answers_as_the_checkpoint_that_was_opened(files):
    options = {**SMALL, "class_names": small_checkpoint.NAMES}
    (expected,) = MaskRCNN.from_checkpoint(files["v1"], log=lambda line: None, **options).detect(IMAGE)
    (found,) = load_model(files["v1.keras"]).detect(IMAGE)
    assert len(found) == 10
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert found.names == expected.names


def test_what_was_written_is_told_last(files, tmp_path):
    out = tmp_path / "new folder" / "model.keras"
    assert quietly(files["v1"], out, **SMALL)[-1] == f"{out}: 3 classes; weights: torchvision v1, v1.pth"
    assert [path.name for path in out.parent.iterdir()] == ["model.keras"]


def test_back_to_torchvision_gives_its_file_again(both_ways):
    _, there, back, _ = both_ways
    tensors, found = read_tensors(there).tensors, read_tensors(back).tensors
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        if not name.endswith("num_batches_tracked"):
            unread = 4 if "box_predictor.bbox_pred" in name else 1 if "mask_fcn_logits" in name else 0  # the background's rows
            np.testing.assert_array_equal(found[name][unread:], tensor[unread:], err_msg=name)


def test_the_model_that_loads_it_in_torchvision_is_told(both_ways):
    version, _, back, told = both_ways
    name = "maskrcnn_resnet50_fpn" + ("_v2" if version == "v2" else "")
    assert len(told) == 1
    assert told[0].startswith(f"{back}: for torchvision.models.detection.{name}(weights=None, weights_backbone=None, ")
    assert "num_classes=4" in told[0] and "min_size=64" in told[0] and "box_detections_per_img=10" in told[0]


def test_pytorch_reads_what_goes_back_under_torchvisions_names(both_ways):
    torch = pytest.importorskip("torch")
    version, _, back, _ = both_ways
    state = torch.load(back, weights_only=True)
    names = json.loads(GOLDEN.read_text())["v2" if version == "v2" else "v1 live"]
    shallow = {name for name in names if not re.search(r"layer\d\.[1-9]", name)}
    assert set(state) == shallow
    assert all(state[name].ndim == len(names[name]) for name in shallow)


@pytest.mark.parametrize(
    ("out", "options", "words"),
    [
        ("model.pth", {}, r"for maskrcnn ends with \.keras; received model\.pth"),
        ("model", {}, r"ends with \.keras"),
        ("model.keras", {"to": "torchvision"}, r"for torchvision ends with \.pth"),
        ("model.onnx", {"to": "onnx"}, "to maskrcnn or torchvision; received 'onnx'"),
        ("model.keras", {"num_classes": 5}, "knows 3 classes, .*num_classes=5"),
        ("model.keras", {"class_names": ["a"]}, "knows 3 classes.*1 names"),
        ("model.keras", {"source": "mmdet"}, "not mmdet"),
        ("model.keras", {"matterport_config": {"IMAGE_MAX_DIM": 512}}, "matterport's names"),
        ("model.pth", {"to": "torchvision", "class_names": ["a"]}, "leave out class_names"),
        ("model.pth", {"to": "torchvision", "detect__score": 0.5}, "leave out detect__score"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_nothing_is_made(files, tmp_path, out, options, words):
    with pytest.raises(ValueError, match=words) as refusal:
        quietly(files["v1"], tmp_path / "folder" / out, **options)
    assert "\n" not in str(refusal.value)
    assert not list(tmp_path.iterdir())


def test_only_a_model_of_ours_goes_to_torchvision(files, tmp_path):
    with pytest.raises(ValueError, match=r"v1\.pth"):
        quietly(files["v1"], tmp_path / "back.pth", to="torchvision")
    assert not list(tmp_path.iterdir())


def test_a_model_that_torchvision_cannot_have_is_refused_by_its_field(tmp_path):
    with with_shallow_resnet():
        quietly(small_checkpoint.write_detectron2(tmp_path / "model_final.pkl"), tmp_path / "model.keras")
        with pytest.raises(ValueError, match=r"torchvision's Mask R-CNN cannot have image\.resize='detectron2'"):
            quietly(tmp_path / "model.keras", tmp_path / "model.pth", to="torchvision")
    assert not (tmp_path / "model.pth").exists()


@pytest.mark.parametrize("old", [None, b"the old one"])
def test_a_model_that_breaks_while_it_is_saved_leaves_what_was_there(files, tmp_path, monkeypatch, old):
    def fail(self, path, **_):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(MaskRCNN, "save", fail)
    out = tmp_path / "model.keras"
    if old:
        out.write_bytes(old)
    with pytest.raises(OSError, match="No space left"):
        quietly(files["v1"], out)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([old] if old else [])


@pytest.mark.slow
def test_matterports_numbers_reach_the_model(tmp_path):
    source = write_h5(tmp_path / "shapes.h5", reference.random_weights(reference.NUMBERS))
    told = quietly(source, tmp_path / "shapes.keras", matterport_config={"IMAGE_MAX_DIM": 512})
    config = load_model(tmp_path / "shapes.keras").config
    assert (config.image.long_side, config.image.short_side, config.num_classes) == (512, 800, 5)
    assert any("IMAGE_MIN_DIM is 800" in line for line in told) and not any("IMAGE_MAX_DIM" in line for line in told)
