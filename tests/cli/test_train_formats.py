"""Every format that is read, from its files to a trained model by one command."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from every_format import write
from small_network import with_small_backbone
from typer.testing import CliRunner

from maskrcnn.annotations.formats import FORMATS
from maskrcnn.api import MaskRCNN
from maskrcnn.cli import app

EXTRAS = {"imagej": "roifile", "ome-ngff": "zarr", "parquet": "pyarrow", "parquet-images": "pyarrow"}
SMALL = {
    "image__short_side": 64, "image__long_side": 64, "fpn__channels": 8, "box_head__hidden": 16, "mask_head__channels": 8,
    "mask_head__num_convs": 1, "rpn__train_top_k": 16, "rpn__train_proposals": 16, "rpn__top_k": 16, "rpn__proposals": 16,
    "roi_sampler__num_sampled": 16, "detect__candidates": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    """A model as small as one can be, of a class that no data has."""
    path = tmp_path_factory.mktemp("start") / "small.keras"
    with with_small_backbone():
        MaskRCNN.from_preset("mobilenet_v2_fpn", class_names=["nothing"], weights=None, **SMALL).save(path)
    return path


@pytest.fixture(autouse=True)
def eagerly() -> Iterator[None]:
    """Step by step: a graph of each training would be made for its two steps alone."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        yield
        return
    before = tensorflow.config.functions_run_eagerly()
    tensorflow.config.run_functions_eagerly(True)
    yield
    tensorflow.config.run_functions_eagerly(before)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_is_trained_on_from_the_command_line(name, start, tmp_path):
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name])
    data = write(name, tmp_path / "data")
    words = ["train", "--data", data, "--val", 0.5, "--out", tmp_path / "run", "--epochs", 1, "--batch-size", 1, "--strict"]
    words += ["--init", start]
    with with_small_backbone():
        done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert done.exit_code == 0, (done.stdout, done.stderr, done.exception)
    with open(tmp_path / "run/history.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["mask_loss"]) > 0 and 0 <= float(row["val_mask_ap"]) <= 1
    assert (tmp_path / "run/best.keras").is_file()
