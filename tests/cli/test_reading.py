"""Options that say how annotations are read, and `maskrcnn data convert`."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import MASKS, assert_scene, save, write_images
from typer.testing import CliRunner

from maskrcnn.cli import app
from maskrcnn.cli.reading import READING
from maskrcnn.data.dataset import load_dataset


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})


@pytest.fixture
def scene(tmp_path):
    write_images(tmp_path / "data/images", "a.png")
    for k, (name, mask) in enumerate(MASKS.items()):
        save(tmp_path / f"data/masks/a/{name}_{k}.png", mask.astype(np.uint8))
    return tmp_path / "data"


@pytest.mark.parametrize("command", ["data stats", "data preview", "data convert", "evaluate", "inspect"])
def test_every_command_that_takes_data_has_them(command):
    done = run(*command.split(), "--help")
    assert done.exit_code == 0
    for name in READING:
        assert f"--{name.replace('_', '-')}" in done.stdout


def test_a_data_set_goes_into_another_format(scene, tmp_path):
    done = run("data", "convert", scene, "--to", "yolo", "--out", tmp_path / "out")
    assert done.exit_code == 0 and "objects 3 (0 of them crowds), classes 3" in done.stdout
    assert_scene(load_dataset(tmp_path / "out", format="yolo", strict=True))


def test_classes_masks_and_format_reach_the_reader(scene, tmp_path):
    done = run("data", "convert", scene, "--classes", "dog, cat", "--to", "labelme", "--out", tmp_path / "two")
    assert done.exit_code == 0 and "objects 2" in done.stdout
    done = run("data", "convert", tmp_path / "two", "--format", "labelme", "--to", "label-maps", "--out", tmp_path / "maps")
    assert done.exit_code == 0 and "not written: 2 classes" in done.stdout
    done = run("data", "convert", tmp_path / "maps", "--masks", "binary", "--to", "coco", "--out", tmp_path / "coco")
    assert done.exit_code == 0 and "objects 3" in done.stdout  # the dog's two parts do not touch


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--to", "odd"], "written as coco, yolo"),
        (["--to", "coco", "--format", "yolo"], "is not YOLO labels"),
        (["--to", "coco", "--masks", "binary"], "Only label maps"),
        (["--to", "coco", "--split", "odd"], "--split"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(scene, tmp_path, words, told):
    done = run("data", "convert", scene, *words, "--out", tmp_path / "out")
    assert done.exit_code == 2 and told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
