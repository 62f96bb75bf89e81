"""What docs/data.md says of each tool's export: the folders as the tool lays them out, and the line to type."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from every_format import IMAGES, write

from maskrcnn.data.dataset import load_dataset
from maskrcnn.data.parts import read_parts


def test_roboflow_s_coco_has_a_folder_for_each_part(tmp_path):
    for part in ("train", "valid"):
        written = write("coco", tmp_path / "written" / part)
        shutil.copytree(written / "images", tmp_path / "export" / part)
        shutil.copy(written / "annotations.json", tmp_path / "export" / part / "_annotations.coco.json")
    train, val = read_parts(tmp_path / "export", tmp_path / "export", seed=0, strict=True)
    assert len(train) == len(val) == len(IMAGES)
    assert {Path(sample.path).parent.name for sample in train.samples} == {"train"}
    assert {Path(sample.path).parent.name for sample in val.samples} == {"valid"}


def test_roboflow_s_yolo_has_a_data_yaml_beside_them(tmp_path):
    for part in ("train", "valid"):
        written = write("yolo", tmp_path / "written" / part)
        shutil.copytree(written / "images/train", tmp_path / "export" / part / "images")
        shutil.copytree(written / "labels/train", tmp_path / "export" / part / "labels")
    text = "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['car', 'person']\n"
    (tmp_path / "export/data.yaml").write_text(text)
    train, val = read_parts(tmp_path / "export", tmp_path / "export", seed=0, strict=True)
    assert len(train) == len(val) == len(IMAGES)


@pytest.mark.parametrize("images", ["images", "images/default"])
def test_cvat_s_coco_has_annotations_beside_images(tmp_path, images):
    written = write("coco", tmp_path / "written")
    (tmp_path / "export/annotations").mkdir(parents=True)
    shutil.copytree(written / "images", tmp_path / "export" / images)
    shutil.copy(written / "annotations.json", tmp_path / "export/annotations/instances_default.json")
    assert len(load_dataset(tmp_path / "export", strict=True)) == len(IMAGES)


def test_label_studio_s_json_lies_elsewhere_than_its_images(tmp_path):
    written = write("label-studio", tmp_path / "written")
    (written / "images").rename(tmp_path / "photos")
    assert len(load_dataset(written / "tasks.json", images=tmp_path / "photos", strict=True)) == len(IMAGES)
