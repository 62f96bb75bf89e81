"""Laws of measuring objects, and of the tables they are written to."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("skimage", reason="the extra medical is not installed")

from maskrcnn.results.measure import MeasurementTable, measure
from maskrcnn.structures import Detections

SIZE = (60, 80)
Y, X = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5


def found(*masks: np.ndarray) -> Detections:
    """Detections of exactly these masks, each cut to a window that is larger than it."""
    count = len(masks)
    return Detections(
        boxes=np.zeros((count, 4), np.float32),
        scores=np.linspace(0.9, 0.5, count, dtype=np.float32),
        labels=np.zeros(count, np.int32),
        small_masks=np.zeros((count, 0, 0), np.float32),
        size=SIZE,
        class_names=["cell"],
        bitmaps=[mask[5:, 7:] for mask in masks],
        corners=np.full((count, 2), (7, 5)),
    )


def ellipse(x: float, y: float, half_width: float, half_height: float) -> np.ndarray:
    return ((X - x) / half_width) ** 2 + ((Y - y) / half_height) ** 2 <= 1


def test_a_disc_has_the_numbers_of_a_circle():
    (row,) = measure(found(ellipse(40, 30, 16, 16)), np.zeros(SIZE))
    assert (row["object"], row["class"], row["score"]) == (1, "cell", pytest.approx(0.9))
    assert row["area_px"] == np.count_nonzero(ellipse(40, 30, 16, 16))
    assert row["equivalent_diameter_px"] == pytest.approx(32, rel=0.01)
    assert row["perimeter_px"] == pytest.approx(2 * math.pi * 16, rel=0.05)
    assert row["eccentricity"] < 0.1
    assert (row["centroid_x_px"], row["centroid_y_px"]) == pytest.approx((40, 30))


def test_an_ellipse_points_where_it_lies():
    lying, standing = measure(found(ellipse(40, 30, 20, 10), ellipse(40, 30, 10, 20)), np.zeros(SIZE))
    assert lying["eccentricity"] == pytest.approx(math.sqrt(0.75), abs=0.01) == standing["eccentricity"]
    assert abs(lying["orientation"]) == pytest.approx(math.pi / 2, abs=0.01)
    assert standing["orientation"] == pytest.approx(0, abs=0.01)


def test_units_scale_lengths_and_areas():
    (row,) = measure(found(ellipse(40, 30, 16, 12)), np.zeros(SIZE), pixel_size=(0.5, 0.5, "um"))
    assert row["unit"] == "um" and row["area"] == row["area_px"] / 4
    for name in ("perimeter", "equivalent_diameter", "centroid_x", "centroid_y"):
        assert row[name] == pytest.approx(row[f"{name}_px"] / 2)


def test_pixels_that_are_not_square_make_a_circle_of_an_ellipse():
    (row,) = measure(found(ellipse(40, 30, 10, 20)), np.zeros(SIZE), pixel_size=(1.0, 2.0, "mm"))
    assert row["eccentricity"] < 0.1
    assert row["area"] == 2 * row["area_px"]
    assert (row["centroid_x"], row["centroid_y"]) == pytest.approx((80, 30))
    assert row["perimeter"] is None and row["perimeter_px"] > 0


def test_brightness_is_that_of_the_values_inside_the_mask():
    rng = np.random.default_rng(0)
    values = rng.normal(-500, 300, (*SIZE, 2))
    mask = ellipse(40, 30, 9, 5)
    (row,) = measure(found(mask), values)
    for channel in (0, 1):
        assert row[f"mean_intensity_{channel + 1}"] == pytest.approx(values[mask][:, channel].mean())
        assert row[f"total_intensity_{channel + 1}"] == pytest.approx(values[mask][:, channel].sum())


def test_channels_that_are_alike_are_one():
    grey = np.random.default_rng(0).integers(0, 255, SIZE)
    mask = ellipse(40, 30, 9, 5)
    assert measure(found(mask), np.repeat(grey[:, :, None], 3, axis=2)) == measure(found(mask), grey)


def test_sums_of_bytes_do_not_run_over():
    (row,) = measure(found(ellipse(40, 30, 16, 16)), np.full(SIZE, 200, np.uint8))
    assert row["total_intensity"] == 200 * row["area_px"]


def test_pixels_without_a_number_do_not_cost_an_object_its_brightness():
    values = np.full(SIZE, 7.0)
    values[30, 38:41] = np.nan, np.inf, -np.inf
    (row,) = measure(found(ellipse(40, 30, 16, 16)), values)
    assert row["mean_intensity"] == 7 and row["total_intensity"] == 7 * (row["area_px"] - 3)


def test_a_pixel_and_an_empty_mask_are_measured_without_complaint():
    pixel = np.zeros(SIZE, bool)
    pixel[20, 30] = True
    one, none = measure(found(pixel, np.zeros(SIZE, bool)), np.ones(SIZE), pixel_size=(1.0, 1.0, "mm"))
    assert one["area_px"] == 1 and (one["centroid_x_px"], one["centroid_y_px"]) == (30.5, 20.5)
    assert none["area_px"] == 0 and none["perimeter"] is None and none["mean_intensity"] is None
    assert list(one) == list(none)


def test_another_size_is_refused():
    with pytest.raises(ValueError, match=r"size \(60, 80\); received an array of shape \(80, 60\)"):
        measure(found(), np.zeros(SIZE[::-1]))


# Tables

ROWS: list[dict[str, Any]] = [
    {"file": "é.png", "frame": 1, "object": 1, "class": "a,b", "area_px": 7, "area": 1.75, "perimeter": None},
    {"file": "c.png", "frame": 1, "object": 1, "class": "cell", "area_px": 8, "mean_intensity_1": 0.1},
]


def test_csv_and_parquet_hold_the_same_rows(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra medical is not installed")
    table = MeasurementTable(tmp_path)
    for row in ROWS:
        table.add([row])
    table.close()
    columns = ["file", "frame", "object", "class", "area_px", "area", "perimeter", "mean_intensity_1"]
    with open(tmp_path / "measurements.csv", encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert list(written[0]) == columns
    expected = [{name: row.get(name) for name in columns} for row in ROWS]
    assert written == [{name: "" if value is None else str(value) for name, value in row.items()} for row in expected]
    assert parquet.read_table(tmp_path / "measurements.parquet").to_pylist() == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["measurements.csv", "measurements.parquet"]


def test_a_name_that_is_no_utf_8_costs_no_measurement(tmp_path: Path) -> None:
    table = MeasurementTable(tmp_path)
    table.add([{"file": os.fsdecode(b"caf\xe9.png"), "object": 1}])
    table.close()
    (row,) = csv.DictReader((tmp_path / "measurements.csv").read_text(encoding="utf-8").splitlines())
    assert row == {"file": "caf\ufffd.png", "object": "1"}
    assert (tmp_path / "measurements.parquet").is_file()


def test_no_row_is_a_table_without_rows(tmp_path: Path) -> None:
    MeasurementTable(tmp_path).close()
    assert (tmp_path / "measurements.csv").read_text().split() == ["file"]


def test_without_pyarrow_the_csv_is_there_and_the_rest_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    table = MeasurementTable(tmp_path)
    table.add(ROWS)
    with pytest.warns(UserWarning, match=r'measurements.parquet needs pyarrow.*pip install "maskrcnn\[medical\]"'):
        table.close()
    assert [path.name for path in tmp_path.iterdir()] == ["measurements.csv"]


def test_rows_are_json_while_they_wait() -> None:
    assert json.loads(json.dumps(ROWS)) == ROWS
