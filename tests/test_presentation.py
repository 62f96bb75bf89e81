"""How models and data sets show themselves, and what wrong calls are answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_data import dataset_of
from small_network import small_config, with_small_backbone

import maskrcnn
from maskrcnn import api
from maskrcnn.config import fields


@pytest.fixture(scope="module")
def model() -> Any:
    with with_small_backbone():
        config = fields.replace(small_config(), image__short_side=64, image__long_side=96, detect__score=0.0)
        return api.MaskRCNN(config, seed=0)


def test_a_model_says_what_it_is(model: Any) -> None:
    classes = "3 classes: class 1, class 2, class 3"
    assert repr(model) == f"MaskRCNN(mobilenet_v2, {classes}; 3 channels, short side 64; {model.count_params():,} weights)"
    html = model._repr_html_()
    assert "class 1, class 2, class 3" in html
    assert f"{model.count_params():,}" in html


def test_names_in_html_are_text() -> None:
    data = dataset_of([[0]], num_classes=1)
    nasty = maskrcnn.Dataset(data.samples, (fields.replace(data.categories[0], name="<b>"),), name="<i>")
    assert "&lt;b&gt;" in nasty._repr_html_()
    assert "<i>" not in nasty._repr_html_()


def test_a_data_set_says_what_is_in_it() -> None:
    data = dataset_of([[0, 1], [], [1]], num_classes=2)
    assert repr(data) == "Dataset(small: 3 images, 3 objects of c0, c1)"
    assert "<td>c1</td><td>2</td>" in data._repr_html_()
    assert len(repr(dataset_of([[0]], num_classes=400))) < 200


@pytest.mark.parametrize("path", ["cells.png", Path("folder/CELLS.TIF")])
def test_predict_of_an_image_says_what_to_call(model: Any, path: str | Path) -> None:
    with pytest.raises(ValueError, match=r"model\.detect\('.*(png|TIF)'\)"):
        model.predict(path)


def test_export_hands_on_to_the_package(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(api, "export", lambda *given, **options: calls.append((given, options)) or "difference")
    assert model.export("model.onnx", format="onnx", precision="float16") == "difference"
    assert calls == [((model, "model.onnx"), {"format": "onnx", "precision": "float16"})]
    with pytest.raises(ValueError, match="saved-model, openvino"):
        maskrcnn.export(model, "model", format="tf_saved_model")  # type: ignore[arg-type]


def test_predict_takes_images_in_every_form(model: Any, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 75, 3), np.uint8)
    for name in ("a.png", "b.png"):
        Image.fromarray(image).save(tmp_path / name)
    (expected,) = model.detect(image, score=0.2)
    assert len(expected)
    for given, count in ((image, 1), ([image, image], 2), (str(tmp_path / "*.png"), 2), (tmp_path, 2), (tmp_path / "a.png", 1)):
        found = maskrcnn.predict(given, model=model, score=0.2)
        assert len(found) == count
        for one in found:
            assert isinstance(one, maskrcnn.Detections)
            np.testing.assert_allclose(one.scores, expected.scores, atol=1e-5)
            assert one.plot().size == (75, 50)
    with pytest.raises(FileNotFoundError):
        maskrcnn.predict(image, model=tmp_path / "nothing.keras")


def test_a_stream_of_arrays_is_let_go(model: Any) -> None:
    image = np.zeros((50, 75, 3), np.uint8)
    (held,) = model.detect([image])
    assert held.image is image
    (streamed,) = model.detect(iter([image]))
    assert streamed.image is None
