"""Laws of the page about one image, and of the command that writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import Elements, assert_looks_right, assert_self_contained
from PIL import Image
from small_data import read_samples
from small_network import small_config, with_small_backbone
from typer.testing import CliRunner

import maskrcnn
from maskrcnn.api import MaskRCNN
from maskrcnn.cli.app import app
from maskrcnn.config import fields
from maskrcnn.config.model import Category
from maskrcnn.data.dataset import Dataset
from maskrcnn.verbs.inspect import inspect_image

SIZE = (50, 75)
SECTIONS = ["answer", "missed", "input", "anchors", "proposals", "levels", "classes", "refined", "masks", "matching"]


@pytest.fixture(scope="module")
def model() -> Any:
    with with_small_backbone():
        config = fields.replace(small_config(), image__short_side=64, image__long_side=96, detect__score=0.0)
        return MaskRCNN(config, seed=0)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """Two images on disk; labels count in categories that the model has in another order."""
    samples = []
    for sample in read_samples(np.random.default_rng(1), [SIZE, SIZE], [6, 4]):
        assert sample.image is not None
        path = tmp_path / "images" / sample.file_name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(sample.image).save(path)
        crowd = np.arange(len(sample.labels)) == 2
        samples.append(sample.replace(path=str(path), image=None, crowd=crowd))
    return Dataset(samples, (Category(5, "class 3"), Category(9, "class 1")), name="val.json")


def test_the_page_has_every_stage_and_each_object_is_explained(model: Any, data: Dataset, tmp_path: Path) -> None:
    inspected = inspect_image(model, data.samples[0].path, tmp_path / "new" / "page.html", truth=data)
    page = inspected.page.read_text("utf-8")
    assert_self_contained(page, images=15)
    ids = [attributes["id"] for _, attributes in Elements(page).all if "id" in attributes]
    assert [name for name in ids if name in SECTIONS] == SECTIONS
    assert [explanation.object for explanation in inspected.explanations] == [0, 1, 3, 4, 5]  # 2 is a crowd region
    assert [explanation.class_name for explanation in inspected.explanations] == [
        "class 3",
        "class 1",
        "class 1",
        "class 3",
        "class 1",
    ]
    assert inspected.missed
    for explanation in inspected.missed:
        assert f"object-{explanation.object}" in ids
        assert f"lost at {explanation.lost_at}" in page
        assert explanation.stages[-1].text.split(";")[0].split("'")[0] in page


def test_without_ground_truth_nothing_is_missed(model: Any, data: Dataset, tmp_path: Path) -> None:
    inspected = inspect_image(model, data.samples[1].path, tmp_path / "page.html")
    page = inspected.page.read_text("utf-8")
    assert_self_contained(page, images=10)
    ids = [attributes["id"] for _, attributes in Elements(page).all if "id" in attributes]
    assert [name for name in SECTIONS if name not in ids] == ["missed", "matching"]
    assert inspected.explanations == ()


def test_a_model_that_finds_nothing_and_names_of_markup(data: Dataset, tmp_path: Path) -> None:
    names = tuple(Category(number, f"<i>{number}") for number in (1, 2, 3))
    with with_small_backbone():
        config = fields.replace(small_config(), image__short_side=64, image__long_side=96, detect__score=1.0)
        nothing = MaskRCNN(fields.replace(config, categories=names), seed=0)
    renamed = Dataset(data.samples, names[:2], name="val.json")
    inspected = inspect_image(nothing, data.samples[0].path, tmp_path / "page.html", truth=renamed)
    assert len(inspected.inspection.detections) == 0
    assert len(inspected.missed) == 5
    page = inspected.page.read_text("utf-8")
    assert_self_contained(page, images=12)
    assert "<i>" not in page


@pytest.mark.parametrize(
    ("name", "message"), [("c.png", r"val\.json has no image c\.png; it has 1\.png, 2\.png"), ("1.png", "has 2 images of")]
)
def test_an_image_that_the_ground_truth_does_not_have(
    model: Any, data: Dataset, tmp_path: Path, name: str, message: str
) -> None:
    if name == "1.png":
        data = Dataset([data.samples[0], data.samples[0].replace(path="x/1.png")], data.categories, name="val.json")
    Image.new("RGB", SIZE[::-1]).save(tmp_path / name)
    with pytest.raises(ValueError, match=message):
        inspect_image(model, tmp_path / name, tmp_path / "page.html", truth=data)
    assert not (tmp_path / "page.html").exists()


def test_the_command_says_why(model: Any, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskrcnn.cli.inspect.load_model", lambda path: model)
    monkeypatch.setattr(maskrcnn, "load_dataset", lambda path, **_: data)
    (tmp_path / "val.json").write_text("{}")
    out = tmp_path / "page.html"
    words = ["inspect", data.samples[0].path, "--truth", str(tmp_path / "val.json"), "--out", str(out)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "of 5 objects were missed" in done.stdout
    assert "lost at" in done.stdout
    assert out.is_file()


@pytest.mark.browser
def test_the_page_looks_right_in_a_browser(model: Any, data: Dataset, tmp_path: Path) -> None:
    assert_looks_right(inspect_image(model, data.samples[0].path, tmp_path / "page.html", truth=data).page)
