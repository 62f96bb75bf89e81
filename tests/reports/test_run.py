"""Laws of the report."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import assert_looks_right, assert_self_contained

from maskrcnn.reports import charts
from maskrcnn.reports import run as report

OVERALL = {"AP": 0.5, "AP50": 0.75, "AP75": None}
CLASS = {"mask_AP": 0.5, "mask_AP50": 0.75, "box_AP": None, "box_AP50": None, "num_objects": 4}
SCORES = {"mask": OVERALL, "box": OVERALL, "per_class": {"a < b": CLASS}, "max_detections": [1, 10, 100]}
CURVES = {"loss": [3.0, 2.0, 1.0], "val_loss": [3.0, math.nan, 2.0], "val_mask_ap": [0.1, 0.2, 0.3]}


def write(path: Path, **changes: Any) -> str:
    image = np.zeros((20, 30, 3), np.uint8)
    parts: dict[str, Any] = {
        "title": "Shapes & <b>more</b>",
        "text": "One.\n\nTwo.",
        "curves": CURVES,
        "images": [(image, image, "first"), (image, image, "second")],
        "scores": SCORES,
    }
    report.write_report(path / "report.html", **(parts | changes))
    return (path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("changes", [{}, {"curves": {}, "images": [], "scores": {}, "text": ""}])
def test_it_is_well_formed_and_needs_nothing_from_outside(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert_self_contained(write(tmp_path, **changes), images=0 if changes else 4)


@pytest.mark.browser
def test_it_looks_right_in_a_browser(tmp_path: Path) -> None:
    write(tmp_path, images=[(np.zeros((60, 90, 3), np.uint8),) * 2 + ("first",)] * 3)
    assert_looks_right(tmp_path / "report.html")


def test_everything_given_is_there(tmp_path: Path) -> None:
    text = write(tmp_path)
    assert "Shapes &amp; &lt;b&gt;more&lt;/b&gt;" in text
    assert "a &lt; b" in text
    assert text.count("<p>") == 2
    assert text.count("data:image/jpeg;base64,") == 4
    assert text.count("<svg") == 2  # loss with val_loss, and val_mask_ap
    for value in ("0.500", "0.750", "–", "training 1", "validation 2", "validation 0.3"):
        assert f">{value}<" in text


def test_values_that_are_no_numbers_leave_a_gap() -> None:
    assert charts._runs([1.0, math.nan, 2.0, 3.0, math.inf]) == [[(1, 1.0)], [(3, 2.0), (4, 3.0)]]
    assert charts.chart("loss", {"training": [math.nan]}) == ""


def test_a_single_epoch_has_one_label() -> None:
    assert charts.chart("loss", {"training": [2.0]}).count("epoch 1<") == 1
    assert 'text-anchor="end">1<' not in charts.chart("loss", {"training": [20.0]})
    assert 'text-anchor="end">2<' in charts.chart("loss", {"training": [20.0, 20.5]})


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (0.123, 0.987), (3.0, 3.0), (0.0, 0.0), (-2.0, 5.0), (1e-6, 3e-6), (17, 12345)]
)
def test_ticks_are_few_and_hold_the_values_between_them(low: float, high: float) -> None:
    ticks = charts._ticks(low, high)
    assert 2 <= len(ticks) <= 7
    assert ticks[0] <= low + 1e-12
    assert ticks[-1] >= high - 1e-12
    assert ticks == sorted(set(ticks))


def test_large_images_are_scaled_down(tmp_path: Path) -> None:
    image = np.zeros((500, 2000, 3), np.uint8)
    assert 'width="1000" height="250"' in write(tmp_path, images=[(image, image, "wide")])


@pytest.mark.parametrize("values", [[0.00112], [1.5e-06, 2e-06], [-1.25e-06, 1.1e-06], [0.5, 0.7]])
def test_labels_of_charts_are_not_cut_off(values: list[float]) -> None:
    drawn = charts.chart("loss", {"training": values})
    labels = re.findall(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="end">([^<]+)</text>', drawn)
    assert len(labels) >= 2
    assert all(float(x) >= 7 * len(label) for x, label in labels)
