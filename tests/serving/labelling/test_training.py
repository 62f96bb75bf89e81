"""The stages of a training, with a program in the place of `maskrcnn` that writes what it would write."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("fastapi", reason='needs the extra "serve"')

from maskrcnn.cli.app import app
from maskrcnn.geometry.rle import mask_to_rle
from maskrcnn.serving.labelling.store import Store, StoredObject
from maskrcnn.serving.labelling.training import GENTLE, Trainer, verdict

SIZE, WAIT = (40, 60), 30
PROGRAM = """
import json, sys, time
from pathlib import Path
command, *words = sys.argv[1:]
models = None
if words[0] == "--compare":
    models, words = words[1:3], words[3:]
words = [word for word in words if word != "--no-auto"]
given = dict(zip(words[::2], words[1::2]))
assert json.loads(Path(given["--data"]).read_text())["images"]
assert Path(given["--images"]).is_dir()
if command == "train":
    out = Path(given["--out"])
    out.mkdir(parents=True)
    (out / "history.csv").write_text("epoch,loss,note\\n0,2.5,a\\n1,1.5,b\\n")
    if given["--epochs"] == "7":
        time.sleep(60)
    if given["--epochs"] == "9":
        print("Error: No object in the training data.")
        sys.exit(2)
    (out / "last.keras").write_bytes(b"a model")
    (out / "init.txt").write_text(given["--init"])
    (out / "rate.txt").write_text(given.get("--learning-rate", "its own"))
elif models is None:
    assert given["--model"].endswith("last.keras")
    Path(given["--json"]).write_text(json.dumps({"mask": {"AP": 0.5, "AP50": None}}))
else:
    if models[0] == "of other classes":
        sys.exit(2)
    scores = [{"AP": 0.5 if model.endswith("last.keras") else 0.25, "AP50": None} for model in models]
    interval = {"value": 0.25, "low": 0.125, "high": 0.375}
    found = {"first": scores[0], "second": scores[1], "difference": {"AP": interval}}
    Path(given["--json"]).write_text(json.dumps(found))
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "project", ["cell"])
    mask = np.zeros(SIZE, bool)
    mask[5:15, 5:15] = True
    for number in range(5):
        image, _ = store.add_image(f"{number}.png", b"image %d" % number, ".png", SIZE, [0.0])
        item = StoredObject("cell", None, "person", mask_to_rle(mask)["counts"].decode())
        store.save(image, [item], based_on=0, state="corrected", author="Ada")
    yield store
    store.close()


@pytest.fixture
def make_trainer(store: Store, tmp_path: Path) -> Callable[[str], Trainer]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    return lambda model: Trainer(store, model, [sys.executable, str(program)])


def until(trainer: Trainer, *stages: str) -> dict:
    deadline = time.monotonic() + WAIT
    while (state := trainer.state())["stage"] not in stages and time.monotonic() < deadline:
        time.sleep(0.02)
    assert state["stage"] in stages, state["error"] or state
    return state


def test_a_run_is_trained_scored_beside_the_old_model_and_waits_to_be_used(store, make_trainer) -> None:
    trainer = make_trainer("nuclei")
    assert trainer.state() == {"stage": "idle", "run": 0, "epochs": 0, "history": [], "error": ""}
    assert trainer.start(epochs=2) == 1
    state = until(trainer, "done", "failed")
    assert state["stage"] == "done", state
    assert state["history"] == [{"epoch": 0.0, "loss": 2.5}, {"epoch": 1.0, "loss": 1.5}]
    (run,) = store.runs()
    assert run["scores"] == {
        "before": {"mask AP": 0.25}, "after": {"mask AP": 0.5}, "difference": [0.125, 0.375], "images": 1,
    }  # fmt: skip
    assert run["used"] is False
    assert trainer.in_use == "nuclei"
    store.set_run(1, used=True)
    assert trainer.in_use == str(trainer.model_of(1))


def test_the_next_run_starts_from_the_model_in_use(store, make_trainer) -> None:
    trainer = make_trainer("nuclei")
    for number in (1, 2):
        trainer.start(epochs=2)
        until(trainer, "done")
        store.set_run(number, used=True)
    assert (trainer.folder(1) / "model" / "init.txt").read_text() == "nuclei"
    assert (trainer.folder(2) / "model" / "init.txt").read_text() == str(trainer.model_of(1))


def test_a_failure_is_told_by_its_last_line(make_trainer) -> None:
    trainer = make_trainer("nuclei")
    trainer.start(epochs=9)
    state = until(trainer, "failed")
    assert state["error"] == "Error: No object in the training data."


def test_a_run_is_cancelled_and_another_may_begin(store, make_trainer) -> None:
    trainer = make_trainer("nuclei")
    trainer.start(epochs=7)
    with pytest.raises(ValueError, match="is running"):
        trainer.start(epochs=2)
    deadline = time.monotonic() + WAIT
    while not trainer.state()["history"] and time.monotonic() < deadline:
        time.sleep(0.02)
    start = time.monotonic()
    trainer.cancel()
    assert time.monotonic() - start < 10
    assert until(trainer, "cancelled")["error"] == ""
    assert trainer.start(epochs=2) == 2
    until(trainer, "done")
    assert [run["scores"] == {} for run in store.runs()] == [False, True]


def test_a_model_of_other_classes_has_no_score_to_compare(store, make_trainer) -> None:
    trainer = make_trainer("of other classes")
    trainer.start(epochs=2)
    until(trainer, "done")
    assert store.runs()[0]["scores"] == {"before": {}, "after": {"mask AP": 0.5}, "images": 1}


def test_a_model_that_knows_the_classes_learns_gently(make_trainer) -> None:
    trainer = make_trainer("nuclei")
    rates = []
    for known in (["cell", "car"], ["car"]):
        run = trainer.start(epochs=2, known=known)
        until(trainer, "done")
        rates.append((trainer.folder(run) / "model" / "rate.txt").read_text())
    assert rates == [GENTLE[GENTLE.index("--learning-rate") + 1], "its own"]


@pytest.mark.parametrize(
    ("before", "after", "low", "images", "expected"),
    [
        (0.2, 0.3, 0.05, 4, "better"),
        (0.2, 0.3, -0.01, 40, "perhaps better"),
        (0.2, 0.3, 0.1, 3, "perhaps better"),
        (0.2, 0.3, None, 4, "perhaps better"),
        (0.3, 0.3, 0.0, 4, "not better"),
        (0.3, 0.2, -0.2, 4, "not better"),
        (None, 0.3, None, 4, None),
        (0.3, None, None, 4, None),
    ],
)
def test_only_a_higher_score_is_better_and_may_be_chance(before, after, low, images, expected) -> None:
    scores: dict = {name: {"mask AP": score} for name, score in (("before", before), ("after", after)) if score is not None}
    assert verdict(scores | {"difference": [low, 0.5], "images": images}) == expected


def test_the_commands_have_the_options_that_are_used() -> None:
    for command, options in (
        ("train", ("--data", "--images", "--val", "--val-images", "--out", "--init", "--epochs", *GENTLE[::2])),
        ("evaluate", ("--model", "--compare", "--data", "--images", "--json")),
    ):
        text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
        missing = [option for option in options if f"{option} " not in text]
        assert missing == [], command
