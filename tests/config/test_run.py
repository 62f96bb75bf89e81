"""A training's numbers: what they may be, and what is made of them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from maskrcnn.config.reference import reference
from maskrcnn.config.run import RunConfig, about


def test_every_field_is_described_and_its_default_is_in_its_range():
    described = dataclasses.fields(RunConfig)
    assert len(described) >= 30
    for field in described:
        assert about(field).help.endswith("."), field.name
    assert RunConfig() == RunConfig().with_settings()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 0}, "epochs is at least 1; received 0"),
        ({"epochs": 2.5}, "epochs is a whole number; received 2.5"),
        ({"epochs": True}, "epochs is a whole number"),
        ({"learning_rate": "fast"}, "learning_rate is a number; received 'fast'"),
        ({"learning_rate": float("nan")}, "learning_rate is a number"),
        ({"dropout": 1.5}, "dropout is at most 1"),
        ({"optimizer": "lion"}, "Unknown optimizer 'lion'; possible: adam, adamw, sgd"),
        ({"optimizer": None}, "optimizer is one of adam"),
        ({"augment": "photo"}, "Unknown augment 'photo'; possible: none, flip, photos, microscopy"),
        ({"epoch": 3}, "no setting 'epoch'; did you mean epochs"),
        ({"bacth_size": 3}, "did you mean batch_size"),
        ({"zzzz": 3}, "possible: accumulate, augment"),
    ],
)
def test_what_cannot_be_is_one_line(settings, words):
    with pytest.raises(ValueError, match=words) as refusal:
        RunConfig().with_settings(**settings)
    assert "\n" not in str(refusal.value)


def test_settings_are_fields_of_the_run_or_of_the_model():
    config = RunConfig(epochs=3, changes={"detect__score": 0.1}).with_settings(
        batch_size=np.int64(4),
        image_size=96,
        dropout=0.5,
        rpn__proposals=50,
        init=Path("a.keras"),
        augment=lambda sample, rng: sample,
    )
    assert (config.epochs, config.batch_size, config.init) == (3, 4, Path("a.keras"))
    assert config.model_changes() == {
        "box_head__dropout": 0.5,
        "image__short_side": 96,
        "image__long_side": 160,
        "detect__score": 0.1,
        "rpn__proposals": 50,
    }


def test_the_page_of_the_documentation_is_that_of_the_fields():
    page = (Path(__file__).parents[2] / "docs/reference/run.md").read_text(encoding="utf-8")
    assert page == reference(), "run scripts/reference"
    assert all(f"| `{field.name}` |" in page for field in dataclasses.fields(RunConfig))
