"""Laws of a run's report: what it shows, that it costs little, and that no fault of it ends a training."""

from __future__ import annotations

import base64
import io
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pages import assert_looks_right, assert_self_contained
from PIL import Image
from small_data import read_samples
from small_network import with_small_backbone
from training.test_resume import SETTINGS, Cut

from maskrcnn.config.model import Category
from maskrcnn.config.run import RunConfig
from maskrcnn.data.shapes import make_shapes
from maskrcnn.doctor.object_sizes import Coverage
from maskrcnn.reports.training import training_page
from maskrcnn.structures import Detections, RunView
from maskrcnn.training import showing
from maskrcnn.training.examples import SIDE, small_copy, thumbnail, truth_of
from maskrcnn.training.folder import settings_of_run
from maskrcnn.training.hints import Diagnosis, hints
from maskrcnn.training.showing import MOST_LOOKS, differing_settings, least_missed
from maskrcnn.verbs.train import train

LOSSES = ("loss", "box loss", "class loss", "mask loss", "rpn box loss", "rpn objectness loss")


@pytest.fixture(scope="module", autouse=True)
def small_backbones() -> Any:
    with with_small_backbone():
        yield


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_shapes(tmp_path_factory.mktemp("shapes"), num_train=4, num_val=2, seed=3)


def test_a_run_has_its_report_and_one_that_goes_on_keeps_what_was_seen(shapes: Any, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(*shapes, tmp_path, **SETTINGS, save_minutes=0, callbacks=[Cut(1, 2)])
    begun = (tmp_path / "report.html").read_text("utf-8")
    assert_self_contained(begun, images=2 + 2 + 4)
    train(*shapes, tmp_path, **SETTINGS, save_minutes=0, resume=True)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert_self_contained(page, images=2 * 3 + 4)  # truth and two epochs of two images, and the input
    assert "After 2 of 2 epochs" in page
    for name in (*LOSSES, "mask AP", "mask AP50", "box AP", "learning rate"):
        assert f"<b>{name}</b>" in page
    assert page.count("training ") >= 6
    assert page.count("<b>epoch 1</b>") == page.count("<b>epoch 2</b>") == 2
    first = re.findall(r'alt="[^"]*: epoch 1" loading="lazy" src="([^"]*)"', page)
    assert first == re.findall(r'alt="[^"]*: epoch 1" loading="lazy" src="([^"]*)"', begun)
    assert "<td>0.001</td>" in page  # the learning rate among the settings
    assert not list(tmp_path.glob(".report.html*"))


def test_no_report_where_none_is_wanted_and_none_without_validation_fails(shapes: Any, tmp_path: Path) -> None:
    settings = {**SETTINGS, "epochs": 1}
    train(*shapes, tmp_path / "none", **settings, no_report=True)
    assert not (tmp_path / "none" / "report.html").exists()
    train(shapes[0], None, tmp_path / "run", **settings)
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert_self_contained(page, images=4)
    assert "no validation data" in page


def test_a_report_that_fails_is_told_once_and_the_training_goes_on(
    shapes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("No space left on device")

    lines: list[str] = []
    monkeypatch.setattr("maskrcnn.verbs.train.write_training_report", fail)
    train(*shapes, tmp_path, **{**SETTINGS, "log": lines.append})
    assert [line for line in lines if "report" in line] == [
        "The run's report could not be written (OSError: No space left on device); the training goes on."
    ]
    assert (tmp_path / "best.keras").is_file()


def view_of(**changes: Any) -> RunView:
    view = RunView(
        title="Training <run>",
        paragraphs=["a & b"],
        epochs=9,
        history=[],
        rates=[],
        hints=["do <this>"],
        inputs=[],
        truths=[],
        looks={},
        settings=[],
    )
    return view._replace(**changes)


def test_a_page_before_the_first_epoch_and_one_with_gaps(tmp_path: Path) -> None:
    page = training_page(view_of())
    assert_self_contained(page, images=0)
    assert "Training &lt;run&gt;" in page and "do &lt;this&gt;" in page
    assert "The first epoch is being trained." in page
    history = [{"epoch": 1, "loss": 2.0, "val_loss": math.nan}, {"epoch": 3, "loss": 1.0, "val_loss": 3.0, "lr": 0.1}]
    page = training_page(view_of(history=history, rates=[(3, 0.1)]))
    assert_self_contained(page, images=0)
    assert page.count("<circle") >= 3  # single values between gaps


@pytest.mark.browser
def test_the_page_looks_right_in_a_browser(tmp_path: Path) -> None:
    (sample,) = read_samples(np.random.default_rng(0), [(90, 120)], [3])
    assert sample.image is not None
    image = thumbnail(small_copy(sample.image), truth_of(sample, (Category(1, "a"), Category(2, "b"))))
    names = ("loss", "val_loss", "mask_loss", "val_mask_loss", "val_mask_ap", "val_mask_ap50", "val_box_ap")
    view = view_of(
        history=[{"epoch": epoch, **dict.fromkeys(names, 1.0 / (epoch + 1))} for epoch in range(9)],
        rates=[(epoch, 1e-4) for epoch in range(9)],
        inputs=[(f"{'long_name' * 8}.png", image)] * 8,
        truths=[("a.png", image)] * 8,
        looks={epoch: [image] * 8 for epoch in range(8)},
        settings=[("augment", "AugmentConfig" * 9, "flip")],
    )
    (tmp_path / "report.html").write_text(training_page(view), encoding="utf-8")
    assert_looks_right(tmp_path / "report.html")


def test_epochs_are_thinned_out_evenly() -> None:
    kept: list[int] = []
    for epoch in range(100):
        kept.append(epoch)
        if len(kept) > MOST_LOOKS:
            kept.remove(least_missed(kept))
    assert len(kept) == MOST_LOOKS
    assert kept[0] == 0 and kept[-1] == 99
    assert max(np.diff(kept)) <= 40


def test_settings_that_differ_are_named_with_their_default() -> None:
    config = RunConfig().with_settings(epochs=5, detect__max_detections=400, augment=lambda sample, rng: sample)
    rows = differing_settings(settings_of_run(config, "train.json", None))
    assert {name: (value, default) for name, value, default in rows} == {
        "epochs": ("5", "20"),
        "augment": ("<lambda>", "flip"),
        "detect__max_detections": ("400", "the model's own"),
    }


def test_thumbnails_are_small_and_show_the_same_places() -> None:
    (sample,) = read_samples(np.random.default_rng(0), [(900, 1200)], [3])
    assert sample.image is not None
    small = small_copy(sample.image)
    assert small.shape == (SIDE * 3 // 4, SIDE, 3)
    truth = truth_of(sample, (Category(1, "a"), Category(2, "b")))
    assert thumbnail(small, truth) != thumbnail(small, truth[:0])
    assert thumbnail(small, truth, score=1.5) == thumbnail(small, truth[:0])
    one = truth[:1]
    left, top, right, bottom = (one.boxes[0] / 5).round().astype(int).tolist()
    drawn = small_copy(np.zeros((900, 1200, 1), np.uint8))
    changed = _decoded(thumbnail(drawn, one)).max(axis=2) > 40
    ys, xs = np.nonzero(changed)
    np.testing.assert_allclose([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], [left, top, right, bottom], atol=2)
    masks = Detections(one.boxes, one.scores, one.labels, np.ones((1, 28, 28), np.float32), one.size, one.class_names)
    assert (changed == (_decoded(thumbnail(drawn, masks)).max(axis=2) > 40)).mean() > 0.98


def _decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


GOOD = Diagnosis(Coverage(0.8, 0.95, 0.7), 12, 0.9, 0.05, 0.1, 1.0)


def said(history: dict[str, list[float]], *, epochs: int = 20, val: bool = True, diagnosis: Diagnosis = GOOD) -> list[str]:
    count = len(next(iter(history.values())))
    rows = [{"epoch": epoch, **{name: values[epoch] for name, values in history.items()}} for epoch in range(count)]
    return hints(rows, epochs=epochs, has_validation=val, diagnose=lambda: diagnosis)


@pytest.mark.parametrize(
    ("history", "words"),
    [
        ({"loss": [2.0, 2.0, 1.99, 1.98]}, ["is flat, 2.000 in the first epoch and 1.980"]),
        ({"loss": [2.0, 2.0, 1.99, 1.9]}, []),
        ({"loss": [2.0, 2.0, 1.99]}, []),
        ({"val_loss": [2.0, 1.0, 1.1, 1.1, 1.2]}, ["lowest in epoch 2, 1.000, and has risen to 1.200"]),
        ({"val_loss": [2.0, 1.0, 1.1, 1.2]}, []),
        ({"val_loss": [2.0, 1.0, 1.01, 1.02, 1.01]}, []),
        ({"val_mask_ap": [0.0, 0.0]}, []),
        ({"val_mask_ap": [0.0, 0.0, 0.01]}, []),
        ({"loss": [math.nan] * 5, "val_mask_ap": [0.1] * 5}, []),
    ],
)
def test_curves_are_read(history: dict[str, list[float]], words: list[str]) -> None:
    found = said(history)
    assert len(found) == len(words)
    assert all(word in sentence for word, sentence in zip(words, found))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"coverage": Coverage(0.2, 0.1, 0.0)}, "Anchors: only 10% of the objects"),
        ({"mean": 40.0, "deviation": 90.0}, "Normalization: the input has mean 40.0"),
        ({"num_found": 0}, "Scores: nothing in the validation images shown has a score above 0.05"),
        ({"best_score": 0.1}, "the highest of 12 detections .* 0.10"),
        ({}, "none lies on an object"),
        ({"coverage": None}, "none lies on an object"),
    ],
)
def test_a_score_of_0_is_explained(changes: dict[str, Any], words: str) -> None:
    (sentence,) = said({"val_mask_ap": [0.0] * 3}, diagnosis=GOOD._replace(**changes))
    assert sentence.startswith("Mask AP is 0 after 3 epochs.")
    assert re.search(words, sentence)
    assert ("Anchors" in sentence) == ("Anchors" in words)
    assert ("Normalization" in sentence) == ("Normalization" in words)


def test_the_end_of_a_run_and_data_without_validation() -> None:
    assert any("still rising at the end" in line for line in said({"val_mask_ap": [0.1, 0.2, 0.3]}, epochs=3))
    assert not said({"val_mask_ap": [0.1, 0.2, 0.3]}, epochs=4)
    assert "(--val)" in said({"loss": [1.0]}, val=False)[0]


def test_the_model_runs_no_more_than_without_a_report() -> None:
    """Its images are those that the evaluation looked at."""
    evaluation = SimpleNamespace(kept={1: None, 2: "found"})
    run = SimpleNamespace(evaluation=evaluation)
    assert showing.ShowRun._found(run) == {2: "found"}  # type: ignore[arg-type]
