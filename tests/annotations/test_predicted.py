"""What a model found, in the formats of annotation tools: every pixel, every class, and the scores where they have a place."""

from __future__ import annotations

import csv
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from maskrcnn.annotations.formats import WRITERS, write_annotations
from maskrcnn.annotations.predicted import PredictedSets, write_found
from maskrcnn.config.model import Category
from maskrcnn.data.dataset import load_dataset
from maskrcnn.geometry.rle import rle_to_mask
from maskrcnn.structures import Detections, Plane, Source

SIZE = (24, 32)
NAMES = ["tree", "tall cat"]
SCORES = [0.875, 0.625]
UNSCORED = {"yolo", "voc", "label-maps", "mask-files"}


def detections(path: str | None = None, num_masks: int = 2) -> Detections:
    """Of an object with a hole, and one without."""
    ring = np.ones((8, 9), bool)
    ring[3:5, 3:6] = False
    parts = np.ones((5, 12), bool)
    parts[2:, 5:8] = False
    return Detections(
        boxes=np.array([[2, 3, 11, 11], [15, 12, 27, 17]], np.float32)[:num_masks],
        scores=np.array(SCORES, np.float32)[:num_masks],
        labels=np.array([1, 0], np.int32)[:num_masks],
        small_masks=np.zeros((num_masks, 0, 0), np.float32),
        size=SIZE,
        class_names=NAMES,
        path=path,
        bitmaps=[ring, parts][:num_masks],
        corners=np.array([[2, 3], [15, 12]])[:num_masks],
    )


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    paths = [tmp_path / "in" / name for name in ("a.png", "b.jpg")]
    paths[0].parent.mkdir()
    for path in paths:
        Image.fromarray(np.full((*SIZE, 3), 90, np.uint8)).save(path)
    return list(map(str, paths))


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_what_was_found_is_read_again(name, tmp_path, images):
    found = [detections(images[0]), detections(images[1], num_masks=0)]
    lost = write_found(found, name, tmp_path / "out")
    expected = (["scores"] if name in UNSCORED else []) + (["classes"] if name == "label-maps" else [])
    assert [fault.kind for fault in lost] == expected
    if name == "label-studio":  # predictions are no ground truth, and are not read as such
        with pytest.raises(ValueError, match="no usable image"):
            load_dataset(tmp_path / "out/tasks.json")
        return
    data = load_dataset(tmp_path / "out", format=name, strict=True)
    samples = {Path(sample.path).name: sample for sample in data.samples}
    assert len(samples["b.jpg"].labels) == 0
    for rle, label, mask in zip(samples["a.png"].rles, samples["a.png"].labels, found[0].masks, strict=True):
        np.testing.assert_array_equal(rle_to_mask(rle), mask)
        if name != "label-maps":
            assert data.categories[label].name == NAMES[1 if mask[3, 2] else 0]


def test_scores_are_where_each_tool_looks_for_them(tmp_path, images):
    for name in set(WRITERS) - UNSCORED:
        write_found([detections(images[0])], name, tmp_path / name)
    coco = json.loads((tmp_path / "coco/annotations.json").read_text())
    assert [row["score"] for row in coco["annotations"]] == SCORES
    labelme = json.loads((tmp_path / "labelme/a.json").read_text())
    assert [shape["score"] for shape in labelme["shapes"]] == SCORES
    root = ElementTree.parse(tmp_path / "cvat/annotations.xml").getroot()
    assert [shape.findtext("attribute") for shape in root.find("image")] == ["0.8750", "0.6250"]
    assert [label.findtext("attributes/attribute/name") for label in root.iter("label")] == ["score", "score"]
    (task,) = json.loads((tmp_path / "label-studio/tasks.json").read_text())
    assert "annotations" not in task and task["predictions"][0]["score"] == 0.75
    assert [region["score"] for region in task["predictions"][0]["result"]] == SCORES
    features = json.loads((tmp_path / "qupath/a.geojson").read_text())["features"]
    assert [feature["properties"]["measurements"] for feature in features] == [{"score": score} for score in SCORES]
    assert {feature["properties"]["objectType"] for feature in features} == {"detection"}
    with open(tmp_path / "rle-csv/train.csv", newline="") as file:
        assert [float(row["Score"]) for row in csv.DictReader(file)] == SCORES
    roifile = pytest.importorskip("roifile")
    with zipfile.ZipFile(tmp_path / "imagej/a_RoiSet.zip") as archive:
        rois = [roifile.ImagejRoi.frombytes(archive.read(name)) for name in archive.namelist()]
    assert [roi.props.strip() for roi in rois] == ["score: 0.8750", "score: 0.6250"]


def test_ground_truth_is_written_without_scores(tmp_path, images):
    write_found([detections(images[0])], "coco", tmp_path / "found")
    data = load_dataset(tmp_path / "found")
    for name in sorted(WRITERS):
        assert not [fault for fault in write_annotations(data, name, tmp_path / name) if fault.kind == "scores"]
    coco = (tmp_path / "coco/annotations.json").read_text()
    assert '"score"' not in coco and '"area"' in coco
    assert "annotations" in json.loads((tmp_path / "label-studio/tasks.json").read_text())[0]


def test_detections_of_several_models_are_no_one_data_set(tmp_path, images):
    other = replace(detections(images[1]), class_names=["dog", "cat"])
    with pytest.raises(ValueError, match=r"one list of classes; received \['tree', 'tall cat'\] and \['dog', 'cat'\]"):
        write_found([detections(images[0]), other], "coco", tmp_path / "out")


def plane(path: str, number: int = 1, num_planes: int = 1) -> Plane:
    pixels = np.full((*SIZE, 3), 10 * number, np.uint8)
    return Plane(Source(path, SIZE, (num_planes,), "Z"), number, pixels, pixels)


def test_images_are_linked_to_and_planes_become_png(tmp_path, images):
    out = tmp_path / "out"
    with PredictedSets(out, ["coco", "yolo", "coco"], [Category(4, "tree"), Category(9, "tall cat")]) as sets:
        sets.add(plane(images[0]), detections(images[0]), name="a", image_id=17)
        for number in (1, 2):
            sets.add(plane("deep.tif", number, 2), detections("deep.tif"), name=f"deep_{number:04d}", image_id=17 + number)
    assert sorted(path.name for path in out.iterdir()) == ["predictions-coco", "predictions-yolo"]
    assert (out / "predictions-coco/images/a.png").samefile(images[0])
    data = load_dataset(out / "predictions-coco", strict=True)
    assert [sample.image_id for sample in data.samples] == [17, 18, 19]
    assert [category.id for category in data.categories] == [4, 9]
    assert [Path(sample.path).name for sample in data.samples] == ["a.png", "deep_0001.png", "deep_0002.png"]
    assert np.asarray(Image.open(data.samples[2].path)).max() == 20
    assert [number for sample in data.samples for number in sample.annotation_ids] == [1, 2, 3, 4, 5, 6]
    assert sets.report() == ["Not in predictions-yolo/: the scores of 6 objects: the format has no place for them"]


def test_what_was_found_until_an_error_is_kept(tmp_path, images):
    def stopped() -> None:
        with PredictedSets(tmp_path, ["labelme"], [Category(1, name) for name in NAMES]) as sets:
            sets.add(plane(images[0]), detections(images[0]), name="a", image_id=1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert len(load_dataset(tmp_path / "predictions-labelme", strict=True).samples[0].labels) == 2


def test_a_format_that_cannot_hold_it_leaves_no_folder_and_the_others_whole(tmp_path, images):
    many = [Category(k, f"class {k}") for k in range(1, 300)]
    with PredictedSets(tmp_path / "out", ["voc", "coco"], many) as sets:
        sets.add(plane(images[0]), detections(images[0]), name="a", image_id=1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["predictions-coco"]
    assert sets.failures == ["predictions-voc/ could not be written: Pascal VOC numbers up to 254 classes; received 299"]
