"""`maskrcnn predict` on large images: what goes through tiles, what is said of it, what is written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from blobs import blobs, find_blobs, model, painted
from PIL import Image
from typer.testing import CliRunner

import maskrcnn
from maskrcnn.cli import app
from maskrcnn.images import opening, tiff_file
from maskrcnn.inference import tiles
from maskrcnn.verbs import predict

pytest.importorskip("zarr", reason="the extra `large` is not installed")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The command on a stand-in for a model, in a folder of its own."""
    (tmp_path / "model.keras").write_bytes(b"")
    monkeypatch.setitem(vars(maskrcnn), "load_model", lambda path: model())
    monkeypatch.setattr(tiles, "detect", find_blobs)
    monkeypatch.setattr(predict, "detect", find_blobs)
    monkeypatch.setattr(opening, "LARGE", 200 * 200)
    monkeypatch.chdir(tmp_path)

    def predict_files(*words):
        command = ["predict", "--model", "model.keras", "--out", "found", *map(str, words)]
        return CliRunner().invoke(app, command, env={"COLUMNS": "200"})

    return predict_files


@pytest.fixture
def canvas() -> np.ndarray:
    return painted(np.random.default_rng(2), (230, 310))


def found_in(name: str) -> int:
    return len(json.loads(Path(f"found/{name}_predictions.json").read_text()))


def test_a_large_image_goes_through_tiles_and_a_small_one_does_not(run, canvas):
    tifffile.imwrite("large.tif", canvas)
    Image.fromarray(canvas[:100, :100]).save("small.png")
    done = run("large.tif", "small.png")
    assert done.exit_code == 0, done.output
    side = model().config.image.short_side
    assert f"large.tif: 310 × 230 pixels, found in 24 tiles of {side}; --tile N sets their side" in done.output
    assert "small.png" not in done.output and "2 of 2 images done" in done.output
    assert found_in("large") == len(blobs(canvas))
    rows = json.loads(Path("found/predictions.json").read_text())
    assert {row["file_name"] for row in rows} == {"small.png"}
    assert {"large_labels.tif", "large_overlay.jpg", "small_labels.png"} <= set(os.listdir("found"))


def test_tile_0_sees_images_as_a_whole(run, canvas):
    tifffile.imwrite("large.tif", canvas)
    done = run("large.tif", "--tile", 0)
    assert done.exit_code == 0 and "tiles" not in done.output
    assert len(json.loads(Path("found/predictions.json").read_text())) == len(blobs(canvas))


def test_tile_overlap_and_scale_are_as_they_are_given(run, canvas, monkeypatch):
    Image.fromarray(canvas[:150, :190]).save("middle.png")
    Image.fromarray(canvas[:80, :80]).save("small.png")
    seen = []

    def look(adapted, images, **_):
        for image in images:
            seen.append((adapted.config.image.short_side, image.shape))
            yield blobs(image)

    monkeypatch.setattr(tiles, "detect", look)
    done = run("middle.png", "small.png", "--tile", 96, "--overlap", 20, "--scale", 2)
    assert done.exit_code == 0, done.output
    assert "found in 6 tiles of 96\n" in done.output and "small.png" not in done.output
    assert seen == [(192, (96, 96, 3))] * 6
    assert found_in("middle") == len(blobs(canvas[:150, :190]))


def test_zarr_folders_are_images(run, canvas):
    import zarr

    zarr.create_array(store="cells.zarr", data=canvas, chunks=(64, 64))
    done = run("cells.zarr", "--save", "geojson", "--save", "zarr")
    assert done.exit_code == 0, done.output
    count = len(blobs(canvas))
    assert len(json.loads(Path("found/cells.geojson").read_text())["features"]) == count == found_in("cells")
    assert len(np.unique(zarr.open("found/cells_labels.zarr", mode="r")[:])) == count + 1


def test_images_of_one_name_get_results_of_their_own(run, canvas, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "large.tif", canvas)
    assert run("a", "b").exit_code == 0
    assert found_in("large") == found_in("large_2")


def test_a_broken_large_image_is_skipped_in_one_line(run, monkeypatch):
    monkeypatch.setattr(tiff_file, "SMALL", 100)
    for name in ("broken.tif", "whole.tif"):
        tifffile.imwrite(
            name, np.random.default_rng(0).integers(0, 3, (300, 300), np.uint8), rowsperstrip=10, compression="zlib"
        )
    with open("broken.tif", "r+b") as file:
        file.truncate(4000)
    done = run("broken.tif", "whole.tif")
    assert done.exit_code == 1
    assert done.stderr.count("Skipped:") == 1 and "broken.tif" in done.stderr
    assert "1 of 2 images done" in done.output
    assert found_in("whole") and not any("broken" in name for name in os.listdir("found"))


def test_what_cannot_be_done_in_tiles_is_said_before_the_model_runs(run, canvas):
    tifffile.imwrite("large.tif", canvas)
    for words in (["--measure"], ["--window", "40,400"], ["--save", "nifti"]):
        done = run("large.tif", *words)
        assert done.exit_code == 2 and "large.tif is found in tiles: leave out --measure" in done.stderr
    done = run("large.tif", "--tile", 64, "--overlap", 40)
    assert done.exit_code == 1 and "overlap is from 1 pixel to half a tile, 32; received 40." in done.stderr
