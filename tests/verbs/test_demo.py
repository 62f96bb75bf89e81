"""The demo: nuclei at once, then shapes; its report opens with the nuclei."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from blobs import blobs

from maskrcnn.verbs import demo

OVERALL = {"AP": 0.5, "AP50": 0.75}
SCORES = {"mask": OVERALL, "box": OVERALL, "per_class": {}}
PIXELS = np.zeros((20, 30, 3), np.uint8)


def test_the_nuclei_are_shown_before_the_training_and_above_it(tmp_path: Path, monkeypatch: Any) -> None:
    pages, told = [], []

    def train(data: Path, val: Any, out: Path, **settings: Any) -> Any:
        pages.append((tmp_path / "demo/report.html").read_text("utf-8"))
        assert settings["epochs"] == 1 and settings["init"] == "nuclei" and not (out / demo.FILE).exists()
        (out / "history.csv").write_text("epoch,loss,val_loss\n0,2.0,3.0\n")
        settings["report"]("a step is done")
        return SimpleNamespace(detect=lambda images, score: [blobs(image) for image in images])

    (tmp_path / "demo/run").mkdir(parents=True)
    (tmp_path / "demo/run" / demo.FILE).write_bytes(b"of a demo that was cut short")
    monkeypatch.setattr(demo, "_nuclei", lambda: (PIXELS, PIXELS, "32 nuclei"))
    monkeypatch.setattr(demo, "train", train)
    monkeypatch.setattr(demo, "evaluate", lambda model, data: SCORES)
    steps: list[Any] = []
    scores = demo.demo(tmp_path / "demo", num_train=2, num_val=2, epochs=1, log=told.append, report=steps.append)
    assert scores is SCORES and steps == ["a step is done"]
    assert "32 nuclei found" in told[1] and "Mask AP50 0.750" in told[-1]

    pages.append((tmp_path / "demo/report.html").read_text("utf-8"))
    at_once, finished = pages
    assert "32 nuclei" in at_once and "is being trained" in at_once and 'id="images"' not in at_once
    places = [finished.index(f'<section id="{anchor}"') for anchor in ("before-0", "images", "scores", "training")]
    assert places == sorted(places)
