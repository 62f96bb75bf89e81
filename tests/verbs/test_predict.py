"""Laws of predicting whole files: planes, formats, measurements, and no trace of a patient."""

from __future__ import annotations

import csv
import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from medical_files import PATIENT, frame_groups, write_dicom
from PIL import Image

from maskrcnn.annotations.formats import WRITERS
from maskrcnn.annotations.predicted import PREFIX
from maskrcnn.config.model import Category, ImageConfig, ModelConfig
from maskrcnn.data.dataset import load_dataset
from maskrcnn.images.images import read_image, read_planes
from maskrcnn.inference.whole import detect
from maskrcnn.results.earlier import DATA_SETS
from maskrcnn.results.files import SAVE_FORMATS, PredictionWriter
from maskrcnn.structures import Detections, PaddedDetections
from maskrcnn.verbs.predict import PredictConfig, predict_files
from maskrcnn.verbs.predict_folder import predict_folder

DEEP = np.random.default_rng(0).integers(0, 60_000, (3, 48, 64)).astype(np.uint16)


class StandIn:
    """Stands in for a model: finds two boxes in the left and the right of every image, and counts the batches."""

    config = ModelConfig(categories=(Category(4, "cell"),), image=ImageConfig(short_side=48, long_side=64))

    def predict_on_batch(self, batch):
        height, width = np.asarray(batch["sizes"], np.float32).T
        left = np.stack([width * 0.125, height * 0.25, width * 0.375, height * 0.75], axis=-1)
        boxes = np.stack([left, left + np.stack([width * 0.5, height * 0, width * 0.5, height * 0], axis=-1)], axis=1)
        shape = boxes.shape[:2]
        return PaddedDetections(
            boxes=boxes,
            scores=np.tile(np.float32([0.9, 0.8]), (shape[0], 1)),
            labels=np.zeros(shape, np.int32),
            masks=np.ones((*shape, 28, 28), np.float32),
            valid=np.ones(shape, bool),
        )


def rows_in(folder: Path) -> list[dict]:
    return json.loads((folder / "predictions.json").read_text())


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "cells.ome.tif"
    about = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0}
    tifffile.imwrite(path, DEEP, metadata=about, photometric="minisblack")
    return path


@pytest.mark.parametrize("batch_size", [1, 2])
def test_planes_are_images_of_their_own(tmp_path: Path, stack: Path, batch_size: int) -> None:
    Image.fromarray(DEEP[0].astype(np.uint8)).save(tmp_path / "alone.png")
    seen = []
    out = tmp_path / "out"
    inputs = [tmp_path / "alone.png", stack]
    assert not predict_files(StandIn(), inputs, out, batch_size=batch_size, on_image=lambda path, _: seen.append(path.name))
    assert seen == ["alone.png"] + ["cells.ome.tif"] * 3
    rows = rows_in(out)
    assert [row.get("frame") for row in rows] == [None, None, 1, 1, 2, 2, 3, 3]
    assert [row["image_id"] for row in rows] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert {row["file_name"] for row in rows[2:]} == {stack.as_posix()}
    names = ["alone", *(f"cells.ome_{frame:04d}" for frame in (1, 2, 3))]
    written = {f"{name}_{kind}.png" for name in names for kind in ("overlay", "labels")}
    assert {path.name for path in out.iterdir()} == written | {"predictions.json", "images.json"}


def test_a_file_of_several_planes_has_one_file_of_each_whole_format(tmp_path: Path, stack: Path) -> None:
    out = tmp_path / "out"
    assert not predict_files(StandIn(), [stack], out, save=["ome-tiff", "geojson"])
    assert {path.name for path in out.iterdir()} == {
        "predictions.json", "images.json", "cells.ome_labels.ome.tif", "cells.ome.geojson"
    }  # fmt: skip
    labels = tifffile.imread(out / "cells.ome_labels.ome.tif")
    assert [np.unique(plane).tolist() for plane in labels] == [[0, 1, 2], [0, 3, 4], [0, 5, 6]]
    features = json.loads((out / "cells.ome.geojson").read_text())["features"]
    assert [feature["geometry"]["plane"]["z"] for feature in features] == [0, 0, 1, 1, 2, 2]


def test_measurements_are_of_the_values_and_numbered_as_the_label_maps(tmp_path: Path, stack: Path) -> None:
    pytest.importorskip("skimage", reason="the extra medical is not installed")
    pytest.importorskip("pyarrow", reason="the extra medical is not installed")
    out = tmp_path / "out"
    assert not predict_files(StandIn(), [stack], out, save=["labels", "ome-tiff"], measurements=True)
    with open(out / "measurements.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    volume = tifffile.imread(out / "cells.ome_labels.ome.tif")
    assert len(rows) == 6
    for row in rows:
        frame = int(row["frame"])
        plane = np.asarray(Image.open(out / f"cells.ome_{frame:04d}_labels.png"))
        mask = plane == int(row["object"])
        np.testing.assert_array_equal(volume[frame - 1] == int(row["object_in_file"]), mask)
        assert float(row["mean_intensity"]) == pytest.approx(DEEP[frame - 1][mask].mean())
        assert int(row["area_px"]) == mask.sum() and float(row["area"]) == mask.sum() / 4 and row["unit"] == "um"


def test_a_format_that_does_not_fit_a_file_is_a_failure_of_that_file(tmp_path: Path, stack: Path) -> None:
    pytest.importorskip("nibabel", reason="the extra medical is not installed")
    pytest.importorskip("highdicom", reason="the extra medical is not installed")
    for name in ("nifti", "dicom-seg"):
        ((path, message),) = predict_files(StandIn(), [stack], tmp_path / name, save=[name])
        assert path == stack and f"Cannot save {stack} as {name}" in message
        assert rows_in(tmp_path / name) == []


def test_an_unknown_format_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=f"{', '.join(SAVE_FORMATS)}; received 'bmp'"):
        PredictionWriter("out", save=["bmp"])


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("num_frames", [0, 3])
def test_no_file_that_is_written_holds_anything_of_the_patient(tmp_path: Path, num_frames: int) -> None:
    for needed in ("pydicom", "highdicom", "skimage", "pyarrow"):
        pytest.importorskip(needed, reason="the extra medical is not installed")
    pixels = DEEP[:num_frames] if num_frames else DEEP[0]
    write_dicom(tmp_path / "scan.dcm", pixels, **(frame_groups(num_frames) if num_frames else {}))
    assert PATIENT["PatientName"].encode() in (tmp_path / "scan.dcm").read_bytes()
    out = tmp_path / "out"
    formats = [name for name in SAVE_FORMATS if name != "nifti"]
    assert not predict_files(StandIn(), [tmp_path / "scan.dcm"], out, save=formats, measurements=True)
    files = list(out.iterdir())
    assert {path.suffix for path in files} == {".json", ".png", ".tif", ".geojson", ".csv", ".parquet", ".dcm"}
    words = [word.encode() for value in PATIENT.values() for word in value.split("^")] + [b"coughed"]
    for path in files:
        content = path.read_bytes()
        assert not [word for word in words if word in content or word in path.name.encode()], path.name


def test_nifti_labels_lie_on_the_voxels_of_their_source(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel", reason="the extra medical is not installed")
    affine = np.array([[0, -0.5, 0, 10], [0.75, 0, 0, -3], [0, 0, -2, 5], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(np.moveaxis(DEEP, 0, 2).astype(np.int32), affine), tmp_path / "scan.nii.gz")
    out = tmp_path / "out"
    assert not predict_files(StandIn(), [tmp_path / "scan.nii.gz"], out, save=["nifti", "labels"])
    labels = nibabel.load(out / "scan_labels.nii.gz")
    np.testing.assert_array_equal(labels.affine, affine)
    assert labels.shape == (48, 64, 3)
    for frame, plane in enumerate(read_planes(tmp_path / "scan.nii.gz"), start=1):
        of_plane = np.asarray(Image.open(out / f"scan_{frame:04d}_labels.png"))
        values = np.asarray(labels.dataobj)[:, :, frame - 1]
        assert set(np.unique(values)) == {0, 2 * frame - 1, 2 * frame}
        assert sorted(plane.values[of_plane == 1]) == sorted(DEEP[frame - 1][values == 2 * frame - 1])


def test_detect_takes_the_planes_of_a_volume(stack: Path) -> None:
    found = list(detect(StandIn(), read_planes(stack)))
    assert len(found) == 3 and all(isinstance(each, Detections) for each in found)
    assert {each.path for each in found} == {str(stack)}


def test_detect_takes_a_dicom_file_of_one_frame(tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="the extra medical is not installed")
    path = write_dicom(tmp_path / "scan.dcm", DEEP[0])
    (found,) = detect(StandIn(), path)
    assert found.size == (48, 64) and len(found) == 2 and read_image(path).shape == (48, 64, 3)


def test_planes_before_a_broken_one_are_kept_and_no_half_volume_is(tmp_path: Path, stack: Path) -> None:
    with tifffile.TiffFile(stack) as file:
        last = file.pages[2].dataoffsets[0]
    stack.write_bytes(stack.read_bytes()[: last + 100])
    out = tmp_path / "out"
    ((path, message),) = predict_files(StandIn(), [stack], out, save=["labels", "ome-tiff"])
    assert path == stack and "Cannot read" in message
    done = {path.name for path in out.iterdir()}
    assert done <= {"predictions.json", "images.json", "cells.ome_0001_labels.png", "cells.ome_0002_labels.png"}
    assert {row["frame"] for row in rows_in(out)} == {int(name[10:14]) for name in done if name.endswith(".png")}


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_what_cannot_be_read_is_told_in_its_place(tmp_path: Path, stack: Path, batch_size: int) -> None:
    names = ["broken0.png", "a.png", "broken1.png", "b.png", "c.png", "broken2.png"]
    for name in names:
        if name.startswith("broken"):
            (tmp_path / name).write_bytes(b"\x89PNG")
        else:
            Image.fromarray(DEEP[0].astype(np.uint8)).save(tmp_path / name)
    told = []
    inputs = [*(tmp_path / name for name in names), stack]
    threads = threading.active_count()

    def on_image(path: Path, result: Detections | Exception) -> None:
        told.append((path.name, isinstance(result, Exception)))

    failures = predict_files(StandIn(), inputs, tmp_path / "out", batch_size=batch_size, on_image=on_image)
    assert told == [(name, name.startswith("broken")) for name in names] + [("cells.ome.tif", False)] * 3
    assert [path.name for path, _ in failures] == ["broken0.png", "broken1.png", "broken2.png"]
    assert [row["file_name"] for row in rows_in(tmp_path / "out")][::2] == [
        (tmp_path / name).as_posix() for name in ("a.png", "b.png", "c.png")
    ] + [stack.as_posix()] * 3
    assert threading.active_count() == threads


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_was_done_before_the_model_failed_is_kept(tmp_path: Path, stack: Path, error: type[BaseException]) -> None:
    class Failing(StandIn):
        done = 0

        def predict_on_batch(self, batch):
            self.done += 1
            if self.done == 3:
                if error is KeyboardInterrupt:
                    wait_for_rows_of(2)  # it keeps what is written by then; an error, whatever was found
                raise error
            return super().predict_on_batch(batch)

    def wait_for_rows_of(frame: int) -> None:
        for _ in range(500):
            if any(f'"frame": {frame}' in part.read_text() for part in out.glob(".predictions.json.*.part")):
                return
            time.sleep(0.02)

    threads, out = threading.active_count(), tmp_path / "out"
    with pytest.raises(error):
        predict_files(Failing(), [stack], out)
    assert {row["frame"] for row in rows_in(out)} == {1, 2}
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    ("name", "stem"), [("a.nii.gz", "a"), ("1.2.840.113", "1.2.840.113"), ("scan.dcm", "scan"), ("IM0001", "IM0001")]
)
def test_results_are_named_after_their_file(tmp_path: Path, name: str, stem: str) -> None:
    none = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), np.zeros((0, 28, 28)), (4, 4), ["cell"])
    with PredictionWriter(tmp_path) as writer:
        assert writer.write(name, np.zeros((4, 4, 3), np.uint8), none, StandIn.config.categories) == stem


def test_data_sets_for_annotation_tools_are_written_of_all_images(tmp_path: Path, stack: Path) -> None:
    Image.fromarray(DEEP[0].astype(np.uint8)).save(tmp_path / "alone.png")
    out = tmp_path / "out"
    told: list[str] = []
    done = predict_folder(StandIn(), [tmp_path / "alone.png", stack], out, save=["coco", "yolo"], log=told.append)
    assert done.done == 4 and not done.failures
    assert {path.name for path in out.iterdir()} == {"predictions.json", "images.json", "predictions-coco", "predictions-yolo"}
    written = json.loads((out / "predictions-coco/annotations.json").read_text())
    for row, annotation in zip(rows_in(out), written["annotations"], strict=True):
        assert row["score"] == pytest.approx(annotation["score"])
        assert (row["image_id"], row["category_id"]) == (annotation["image_id"], annotation["category_id"])
    assert len(load_dataset(out / "predictions-yolo", strict=True)) == 4
    assert told == ["Not in predictions-yolo/: the scores of 8 objects: the format has no place for them"]
    predict_folder(StandIn(), [tmp_path / "alone.png"], out, save=["coco"], log=told.append)
    assert (out / "earlier/1/predictions-yolo").is_dir() and len(load_dataset(out / "predictions-coco")) == 1


def test_every_data_set_of_an_earlier_prediction_is_set_aside() -> None:
    assert set(DATA_SETS) == {f"{PREFIX}{name}" for name in WRITERS}


def test_names_of_formats_are_looked_at_before_anything_else() -> None:
    with pytest.raises(ValueError, match="overlay, labels, .*, zarr, coco, .*, shards; received 'bmp'"):
        PredictConfig(save=["bmp"])
    with pytest.raises(ValueError, match=r"a list of formats; received 'coco', not \['coco'\]"):
        PredictConfig(save="coco")
    with pytest.raises(ValueError, match="zarr holds the label maps of images that are found in tiles"):
        PredictConfig(save=["zarr"]).check_whole()
