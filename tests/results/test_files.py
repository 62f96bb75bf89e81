"""Laws of the files that hold results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskrcnn import atomic
from maskrcnn.config.model import Category
from maskrcnn.geometry import rle
from maskrcnn.results import files
from maskrcnn.results.rows import coco_results, label_map
from maskrcnn.structures import Detections, Plane, Source

SIZE = (40, 50)
IMAGE = np.full((*SIZE, 3), 90, np.uint8)
CATEGORIES = (Category(3, "date"), Category(7, "fig"))


def detections(
    boxes: Sequence[tuple[float, ...]], scores: Sequence[float] = (), labels: Sequence[int] = (), size: tuple[int, int] = SIZE
) -> Detections:
    """Detections that fill their boxes."""
    return Detections(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.array(scores if len(scores) else [0.9] * len(boxes), np.float32),
        labels=np.array(labels if len(labels) else [0] * len(boxes), np.int32),
        small_masks=np.ones((len(boxes), 28, 28), np.float32),
        size=size,
        class_names=["date", "fig"],
    )


TWO = detections([(2.25, 3, 20, 30), (10, 10, 40.5, 35)], [0.9, 0.6], [1, 0])


# Label maps


def test_label_k_is_the_k_th_detection_and_the_higher_score_lies_on_top() -> None:
    for found in (TWO, TWO[[1, 0]]):
        labels = label_map(found)
        best = int(np.argmax(found.scores))
        assert labels.dtype == np.uint16
        np.testing.assert_array_equal(labels == best + 1, found.masks[best])
        np.testing.assert_array_equal(labels == 2 - best, found.masks[1 - best] & ~found.masks[best])


def test_equal_scores_keep_the_order_of_the_predictions() -> None:
    labels = label_map(detections([(0, 0, 10, 10)] * 3, [0.5, 0.5, 0.5]))
    assert set(np.unique(labels)) == {0, 1}


def test_nothing_found_is_a_map_of_background() -> None:
    assert not label_map(detections([])).any()


def test_a_label_map_of_more_than_16_bits_is_refused() -> None:
    many = Detections(
        boxes=np.zeros((65536, 4), np.float32),
        scores=np.zeros(65536, np.float32),
        labels=np.zeros(65536, np.int32),
        small_masks=np.zeros((65536, 1, 1), np.float32),
        size=SIZE,
    )
    with pytest.raises(ValueError, match="65535 objects; received 65536"):
        label_map(many)


# Rows


def test_rows_hold_what_coco_wants_in_original_pixels() -> None:
    rows = coco_results(TWO, image_id=5, file_name="a/b.png", categories=CATEGORIES)
    assert list(rows[0]) == ["file_name", "image_id", "category_id", "category_name", "bbox", "score", "segmentation"]
    assert rows[0]["bbox"] == [2.25, 3, 17.75, 27]
    assert [(row["category_id"], row["category_name"]) for row in rows] == [(7, "fig"), (3, "date")]
    assert {(row["file_name"], row["image_id"]) for row in rows} == {("a/b.png", 5)}


def test_json_brings_the_same_detections_back() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 20, (6, 2))
    found = detections(np.concatenate([corners, corners + rng.uniform(1, 20, (6, 2))], axis=1).tolist(), rng.random(6))
    rows = json.loads(json.dumps(coco_results(found, image_id=1, file_name="a", categories=CATEGORIES)))
    assert len(rows) == len(found) == 6
    for row, box, score, mask in zip(rows, found.boxes, found.scores, found.masks):
        left, top, width, height = row["bbox"]
        np.testing.assert_array_equal(np.float32([left, top, left + width, top + height]), box)
        assert np.float32(row["score"]) == score
        np.testing.assert_array_equal(rle.rle_to_mask(rle.rle_from_json(row["segmentation"], SIZE)), mask)


# The writer


def rows_in(folder: Path) -> list[dict[str, object]]:
    return json.loads((folder / "predictions.json").read_text())


def test_an_image_gets_an_overlay_a_label_map_and_its_rows(tmp_path: Path) -> None:
    with files.PredictionWriter(tmp_path / "out") as writer:
        writer.write("in/first.jpg", IMAGE, TWO, CATEGORIES)
        writer.write(Path("in/second.png"), IMAGE, detections([]), CATEGORIES)
        writer.write("in/third.png", IMAGE, TWO[:1], CATEGORIES)
    out = tmp_path / "out"
    names = [f"{stem}_{kind}.png" for stem in ("first", "second", "third") for kind in ("labels", "overlay")]
    assert sorted(path.name for path in out.iterdir()) == [*names[:2], "images.json", "predictions.json", *names[2:]]
    assert [(row["file_name"], row["image_id"]) for row in rows_in(out)] == [("in/first.jpg", 1)] * 2 + [("in/third.png", 3)]
    images = json.loads((out / "images.json").read_text())
    assert [(row["file_name"], row["name"], row["num_objects"]) for row in images] == [
        ("in/first.jpg", "first", 2), ("in/second.png", "second", 0), ("in/third.png", "third", 1)
    ]  # fmt: skip
    with Image.open(out / "first_labels.png") as labels:
        assert labels.mode == "I;16"
        np.testing.assert_array_equal(np.array(labels), label_map(TWO))
    with Image.open(out / "first_overlay.png") as overlay:
        assert (overlay.mode, overlay.size) == ("RGB", SIZE[::-1])


def test_images_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    paths = ["a/x.png", "b/x.png", "x.jpg", "x_2.png", "X.tif", "..", "y" * 300 + ".png"]
    out = tmp_path / "out"
    with files.PredictionWriter(out) as writer:
        names = [writer.write(path, IMAGE, TWO, CATEGORIES) for path in paths]
    assert names[:5] == ["x", "x_2", "x_3", "x_2_2", "X_4"]
    images = json.loads((out / "images.json").read_text())
    assert [(row["file_name"], row["name"]) for row in images] == list(zip(paths, names))
    assert len(list(out.glob("*_overlay.png"))) == len(list(out.glob("*_labels.png"))) == len(paths)
    assert not list(tmp_path.glob("*.png"))


def test_planes_of_another_size_lie_in_the_corner_of_the_label_maps(tmp_path: Path) -> None:
    source = Source("x.tif", (50, 60), (2,), "Z")
    small = np.zeros((30, 60, 3), np.uint8)
    with files.PredictionWriter(tmp_path, save=["ome-tiff"]) as writer:
        for frame, image in enumerate([np.zeros((50, 55, 3), np.uint8), small], start=1):
            found = detections([(2, 3, 20, 30)], size=image.shape[:2])
            writer.write_plane(Plane(source, frame, image, image), found, CATEGORIES)
    written = tifffile.imread(tmp_path / "x_labels.ome.tif")
    np.testing.assert_array_equal(written[1, :30], 2 * label_map(found))
    assert written.shape == (2, 50, 60) and written[0].max() == 1 and not written[1, 30:].any()


@pytest.mark.parametrize(
    ("axes", "counts", "places"),
    [("T", (2,), [(0, 0), (0, 1)]), ("Z", (2,), [(0, 0), (1, 0)]), ("TZ", (2, 2), [(0, 0), (1, 0), (0, 1), (1, 1)])],
)
def test_outlines_lie_in_their_depth_and_time(
    tmp_path: Path, axes: str, counts: tuple[int, ...], places: list[tuple[int, int]]
) -> None:
    source = Source("x.tif", SIZE, counts, axes)
    with files.PredictionWriter(tmp_path, save=["geojson"]) as writer:
        for frame in range(1, source.num_planes + 1):
            writer.write_plane(Plane(source, frame, IMAGE, IMAGE), TWO[:1], CATEGORIES)
    features = json.loads((tmp_path / "x.geojson").read_text())["features"]
    planes = [feature["geometry"]["plane"] for feature in features]
    assert planes == [{"c": -1, "z": z, "t": t} for z, t in places]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_what_was_done_before_a_stop_is_kept(tmp_path: Path, stop: type[BaseException]) -> None:
    def work() -> None:
        with files.PredictionWriter(tmp_path) as writer:
            writer.write("a.png", IMAGE, TWO, CATEGORIES)
            raise stop

    with pytest.raises(stop):
        work()
    assert len(rows_in(tmp_path)) == 2
    assert len(list(tmp_path.iterdir())) == 4


def test_rows_broken_off_in_the_middle_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        with files.PredictionWriter(tmp_path) as writer:
            writer.write("a.png", IMAGE, TWO, CATEGORIES)
            writer._rows._file.write(b',\n{"file_name": "b.p')  # Ctrl-C came here
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert len(rows_in(tmp_path)) == 2


def test_no_image_makes_an_empty_list(tmp_path: Path) -> None:
    with files.PredictionWriter(tmp_path):
        assert not (tmp_path / "predictions.json").exists()
    assert rows_in(tmp_path) == []


def test_a_second_run_replaces_the_first(tmp_path: Path) -> None:
    for found in (TWO, TWO[:1]):
        with files.PredictionWriter(tmp_path) as writer:
            writer.write("a.png", IMAGE, found, CATEGORIES)
    assert len(rows_in(tmp_path)) == 1
    assert len(list(tmp_path.iterdir())) == 4


def test_writing_outside_of_the_block_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="with"):
        files.PredictionWriter(tmp_path).write("a.png", IMAGE, TWO, CATEGORIES)


# Single files


def test_a_file_that_fails_leaves_the_old_one_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scores.json"
    atomic.write_json(path, {"AP": None, "name": "é"})
    with pytest.raises(ValueError, match="JSON"):
        atomic.write_json(path, {"AP": float("nan")})

    def full(self: Image.Image, file: object, format: str) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space"):
        atomic.write_png(path, IMAGE)
    assert json.loads(path.read_text(encoding="utf-8")) == {"AP": None, "name": "é"}
    assert list(tmp_path.iterdir()) == [path]


def test_files_get_the_rights_of_ordinary_files(tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    atomic.write_json(tmp_path / "scores.json", {})
    assert (tmp_path / "scores.json").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_brings_every_value_back(tmp_path: Path, dtype: type[np.unsignedinteger]) -> None:
    image = np.arange(256 * 256).reshape(256, 256).astype(dtype)
    atomic.write_png(tmp_path / "a.png", image)
    with Image.open(tmp_path / "a.png") as written:
        np.testing.assert_array_equal(np.array(written), image)
