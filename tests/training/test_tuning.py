"""What is chosen from the data where nobody set it: rules, what is given, what memory allows, and what a run goes on with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_data import dataset_of

from maskrcnn import memory
from maskrcnn.config.run import RunConfig
from maskrcnn.data.dataset import Dataset
from maskrcnn.training import plan as plans
from maskrcnn.training import tuning
from maskrcnn.training.folder import AUTO, settings_of_run
from maskrcnn.training.plan import Plan, make_plan
from maskrcnn.training.state import State
from maskrcnn.training.tuning import choose, tuned

SMALL = dataset_of([[0] * 130] * 12, num_classes=1, sides=(20.0, 20.0))  # 12 images of 512 pixels with 130 small objects each


def chosen(dataset: Dataset, given: tuple[str, ...] = (), **settings: object) -> dict[str, object]:
    return {
        name: value
        for choice in choose(RunConfig().with_settings(**settings), dataset, given)
        for name, value in choice.settings.items()
    }


def with_images(dataset: Dataset, image: np.ndarray) -> Dataset:
    return replace(dataset, samples=[sample.replace(image=image) for sample in dataset.samples])


def test_small_objects_many_of_them_and_few_images_are_answered():
    found = chosen(SMALL)
    assert found["anchors__sizes"] == ((8,), (16,), (32,), (64,), (128,)) or found["anchors__sizes"][0][0] < 32
    assert found["detect__max_detections"] == 200
    assert found["epochs"] == 80 and found["augment"] == "photos"


def test_data_that_fit_the_defaults_change_nothing_but_the_epochs():
    data = dataset_of([[0]] * 400, num_classes=1, sides=(90.0, 90.0))
    assert chosen(data) == {"epochs": 12}


@pytest.mark.parametrize(
    ("given", "settings", "kept"),
    [
        (("epochs",), {"epochs": 20}, {"epochs", "augment"}),  # too few for strong augmentation
        (("anchors__ratios",), {"anchors__ratios": [0.5, 1, 2]}, {"anchors__sizes", "anchors__ratios"}),
        (("detect__max_detections",), {"detect__max_detections": 100}, {"detect__max_detections"}),
        (("augment",), {"augment": "flip"}, {"augment"}),
        (("image_size",), {"image_size": 512}, {"image_size", "image__short_side", "image__long_side"}),
    ],
)
def test_what_is_given_stays(given, settings, kept):
    found = set(chosen(SMALL, given, **settings))
    assert found and not found & kept


def test_gray_images_of_many_objects_get_the_augmentation_of_microscopes():
    gray = np.full((512, 512, 3), 7, np.uint8)
    assert chosen(with_images(SMALL, gray))["augment"] == "microscopy"
    colored = gray.copy()
    colored[0, 0, 1] = 9
    assert chosen(with_images(SMALL, colored))["augment"] == "photos"


def test_small_frames_make_larger_batches():
    data = dataset_of([[0]] * 100, num_classes=1, sides=(60.0, 60.0), sizes=[(128, 128)] * 100)
    found = chosen(data)
    assert found["image_size"] < 512 and found["batch_size"] in (4, 8)
    assert "batch_size" not in chosen(data, devices=2)


def test_a_whole_model_brings_its_image_size_anchors_and_rows():
    assert set(chosen(SMALL, init="nuclei")) == {"epochs", "augment"}


def test_memory_takes_images_of_a_step_and_then_pixels(monkeypatch):
    asked: list[int] = []

    def room_for(refused: int, *given: str) -> tuple[object, object]:
        """Batch and image size where the first so many that are asked for do not fit."""
        asked.clear()
        monkeypatch.setattr(memory, "fits", lambda needed, num_weights: asked.append(needed) or len(asked) > refused)
        found = chosen(SMALL, given, **({"image_size": 512} if "image_size" in given else {}))
        assert asked == sorted(asked, reverse=True)
        return found.get("batch_size"), found.get("image_size")

    assert room_for(0) == (None, None) and room_for(1) == (1, None)
    assert room_for(3) == (1, 480)
    assert room_for(1, "batch_size") == (2, 512) and room_for(9, "image_size") == (None, None)
    assert room_for(99) == (None, None)  # training is then refused with a setting that fits, if there is one


def test_the_log_says_what_and_why_and_the_run_records_it():
    told: list[str] = []
    plan = Plan(RunConfig(), Path("run"), SMALL, None, settings_of_run(RunConfig(), "cells", None))
    after = tuned(plan, (), told.append)
    assert told[0].startswith("Chosen from the data") and "--no-auto" in told[0]
    assert any("detect.max_detections 200" in line and "the fullest image holds 130 objects" in line for line in told)
    assert after.settings["data"] == "cells" and after.settings["epochs"] == after.config.epochs == 80
    assert after.settings[AUTO] == sorted(chosen(SMALL))


def test_a_run_goes_on_with_what_was_chosen_when_it_began(tmp_path, monkeypatch):
    plan = Plan(RunConfig(), tmp_path, SMALL, None, settings_of_run(RunConfig(), SMALL, None))
    begun = tuned(plan, (), lambda _: None)
    state = State(1, 0, begun.settings)
    monkeypatch.setattr(plans, "load_state", lambda out: state)
    fewer = replace(SMALL, samples=SMALL.samples[:3])  # would be tuned otherwise
    on = make_plan(fewer, None, tmp_path, RunConfig(), resume=True, log=lambda _: None, auto=True)
    assert on.settings == begun.settings and len(on.settings[AUTO]) >= 4
    assert settings_of_run(on.config, SMALL, None) == settings_of_run(begun.config, SMALL, None)
    assert tuned(on, (), pytest.fail) is on
    with pytest.raises(ValueError, match="was begun with"):
        make_plan(SMALL, None, tmp_path, RunConfig(), resume=True, log=lambda _: None)


def test_a_run_that_was_not_tuned_goes_on_as_it_was(tmp_path, monkeypatch):
    settings = settings_of_run(RunConfig(), SMALL, None)
    monkeypatch.setattr(plans, "load_state", lambda out: State(1, 0, settings))
    on = make_plan(SMALL, None, tmp_path, RunConfig(), resume=True, log=lambda _: None, auto=True)
    assert on.settings == settings and tuned(on, (), pytest.fail) is on


def test_presets_of_every_width_are_counted():
    assert tuning.MOST_WEIGHTS["narrow"] < tuning.MOST_WEIGHTS["wide"] < tuning.MOST_WEIGHTS["vitdet_large"]
