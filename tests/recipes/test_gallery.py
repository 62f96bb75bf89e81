"""The gallery's recipe: photos, a stack and frames become one JPEG."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from blobs import CONFIG, blobs, find_blobs
from PIL import Image

from maskrcnn.structures import Plane

RECIPES = Path(__file__).parents[2] / "recipes"


def found(images: Any, *, score: float) -> list[Any]:
    """A stand-in for `detect` and `predict`: every image is one object."""
    arrays = [image.image if isinstance(image, Plane) else image for image in images]
    return [blobs(np.full((*np.asarray(array).shape[:2], 3), 200, np.uint8)) for array in arrays]


@pytest.fixture
def gallery(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The recipe, with a model that finds what is painted; in a folder with three photos."""
    monkeypatch.syspath_prepend(RECIPES)
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        pixels = np.zeros((40, 60 - 10 * number, 3), np.uint8)
        pixels[8:20, 10:30] = 200
        Image.fromarray(pixels).save(f"{number}.png")
    recipe = importlib.import_module("gallery")
    model = SimpleNamespace(config=CONFIG, detect=lambda plane, score: found([plane], score=score))
    monkeypatch.setattr(recipe.maskrcnn, "load_model", lambda name: model, raising=False)
    monkeypatch.setattr(
        recipe.maskrcnn, "predict", lambda paths, model, score: found(map(Image.open, paths), score=score), raising=False
    )
    monkeypatch.setattr("maskrcnn.verbs.track.detect", find_blobs)
    return recipe


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        (["photos", "*.png"], 2),
        (["stack", "a.tif", "--images", "3", "--columns", "3"], 1),
        (["video", ".", "--images", "2"], 1),
    ],
)
def test_results_become_one_jpeg(
    gallery: Any, words: list[str], rows: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if words[0] == "video":
        pytest.importorskip("scipy", reason="needs the extra video")
        for number in (1, 2):  # frames have one size
            Image.open("0.png").save(f"{number}.png")
    if words[0] == "stack":
        tifffile.imwrite("a.tif", np.full((5, 40, 40), 50, np.uint8), photometric="minisblack")
    monkeypatch.setattr(sys, "argv", ["gallery.py", *words, "--out", "sheet.jpg"])
    gallery.main()
    with Image.open("sheet.jpg") as sheet:
        assert sheet.width == gallery.WIDTH
        assert sheet.height > 250 * rows
    told = capsys.readouterr().out.splitlines()
    assert len(told) in (2, 3) and all(line.endswith(" objects") for line in told)


def test_files_are_asked_for(gallery: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gallery.py", "photos", "--out", "sheet.jpg"])
    with pytest.raises(SystemExit):
        gallery.main()
