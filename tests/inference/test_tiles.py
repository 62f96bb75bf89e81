"""Laws of tiles: the objects found are those of the whole image, whatever the tiles; none doubled, none cut, none merged."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from blobs import CONFIG, blobs, find_blobs, model, painted, things
from PIL import Image

from maskrcnn.geometry.rle import cutout_rle, rle_from_json, rle_region, rle_to_mask
from maskrcnn.inference import tiles
from maskrcnn.inference.stitching import Tile
from maskrcnn.inference.tiles import detect_large, num_tiles, tiles_of
from maskrcnn.structures import Detections
from maskrcnn.verbs import predict
from maskrcnn.verbs.predict import predict_large


@pytest.fixture(autouse=True)
def _exact_model(monkeypatch):
    monkeypatch.setattr(tiles, "detect", find_blobs)


def found_in_tiles(canvas: np.ndarray, **options) -> list:
    return things(detect_large(model(), canvas, **options))


@pytest.mark.parametrize(
    ("size", "tile", "overlap"), [((97, 250), 40, 7), ((40, 40), 64, 8), ((64, 65), 64, 32), ((1, 500), 90, 1)]
)
def test_cores_cover_the_image_once_and_tiles_are_alike(size, tile, overlap):
    covered = np.zeros(size, int)
    every = [each for row in tiles_of(size, tile=tile, overlap=overlap) for each in row]
    for each in every:
        left, top, right, bottom = each.core
        covered[top:bottom, left:right] += 1
        x1, y1, x2, y2 = each.region
        assert x1 <= left < right <= x2 and y1 <= top < bottom <= y2
        assert (y2 - y1, x2 - x1) == (min(tile, size[0]), min(tile, size[1]))
    assert (covered == 1).all()
    lefts = sorted({each.region[0] for each in every})
    assert all(first + tile - second >= overlap for first, second in pairwise(lefts))


@pytest.mark.parametrize("seed", range(30))
def test_the_objects_are_those_of_the_whole_image(seed):
    """Ellipses over and beside each other, of every size up to the image's, in images, tiles and overlaps of every size."""
    rng = np.random.default_rng(seed)
    size = tuple(int(side) for side in rng.integers(50, 260, 2))
    canvas = painted(rng, size, count=int(rng.integers(5, 80)), largest=float(rng.choice([0.05, 0.1, 0.5, 1.0])))
    tile = int(rng.integers(32, 120))
    overlap = int(rng.integers(1, tile // 2 + 1))
    assert found_in_tiles(canvas, tile=tile, overlap=overlap) == things([blobs(canvas)])


def test_wherever_the_tiles_lie_the_objects_are_the_same():
    rng = np.random.default_rng(3)
    canvas = painted(rng, (120, 130), count=25, largest=0.2)
    for shift in range(0, 40, 3):
        moved = np.pad(canvas, ((shift, 0), (40 - shift, 0)))
        assert found_in_tiles(moved, tile=48, overlap=12) == things([blobs(moved)])


@pytest.mark.parametrize("shape", ["spiral", "ring", "comb", "cross"])
def test_an_object_larger_than_tiles_is_one(shape):
    canvas = np.zeros((200, 230), np.uint8)
    if shape == "spiral":
        turn = np.linspace(1, 90, 600)
        points = np.stack([115 + turn * np.cos(turn / 4), 100 + turn * np.sin(turn / 4)], axis=1).astype(np.int32)
        cv2.polylines(canvas, [points], False, 90, 3)
    elif shape == "ring":
        cv2.circle(canvas, (115, 100), 90, 90, 5)
    elif shape == "comb":  # many pieces in most tiles, one beyond them
        canvas[10:190, 10:220:8] = 90
        canvas[186:190, 10:220] = 90
    else:
        canvas[90:110], canvas[:, 100:120] = 90, 90
    assert len(blobs(canvas)) == 1
    assert found_in_tiles(canvas, tile=50, overlap=10) == things([blobs(canvas)])


def test_an_object_on_the_corner_of_four_tiles_is_one():
    canvas = np.zeros((100, 100), np.uint8)
    cv2.circle(canvas, (50, 50), 17, 90, -1)
    assert sum(len(row) for row in tiles_of((100, 100), tile=56, overlap=10)) == 4
    assert found_in_tiles(canvas, tile=56, overlap=10) == things([blobs(canvas)])


def test_neighbours_that_touch_on_a_seam_stay_apart():
    canvas = np.zeros((60, 120), np.uint8)
    canvas[10:50, 30:64], canvas[10:50, 64:100] = 90, 40  # the border between them lies in the overlap
    canvas[52:58, 30:100] = 160  # of another class
    found = found_in_tiles(canvas, tile=72, overlap=20)
    assert len(found) == 3 and found == things([blobs(canvas)])


def test_objects_of_different_classes_are_not_joined(monkeypatch):
    """The same patch, called otherwise by each tile, stays two objects."""

    def undecided(_, images, **__):
        for number, image in enumerate(images):
            found = blobs(image)
            yield Detections(**{**vars(found), "labels": found.labels * 0 + number % 2})

    monkeypatch.setattr(tiles, "detect", undecided)
    canvas = np.zeros((60, 100), np.uint8)
    canvas[20:40, 40:60] = 90
    assert len(found_in_tiles(canvas, tile=60, overlap=30)) == 2


@pytest.mark.parametrize(("scores", "area"), [((0.6, 0.9), 15 * 8), ((0.9, 0.6), 20 * 8)])
def test_of_two_words_on_a_whole_object_the_surer_counts(monkeypatch, scores, area):
    """Two tiles see all of it; their masks agree to three quarters."""

    def words(_, images, **__):
        for number, image in enumerate(images):
            found = blobs(image)
            mask = found.bitmaps[0].copy()
            mask[: 5 * number] = False
            yield Detections(**{**vars(found), "bitmaps": [mask], "scores": np.array(scores[number : number + 1], np.float32)})

    monkeypatch.setattr(tiles, "detect", words)
    canvas = np.zeros((60, 100), np.uint8)
    canvas[20:40, 46:54] = 90
    (found,) = list(detect_large(model(), canvas, tile=60, overlap=20))
    assert len(found) == 1 and found.scores[0] == np.float32(0.9) and found.areas()[0] == area


@pytest.mark.parametrize(("column", "count"), [(36, 1), (48, 0)])
def test_what_one_tile_alone_sees_counts_in_its_core(monkeypatch, column, count):
    """Tiles end at 60 and begin at 40, their cores meet at 50; the second one sees nothing at all."""

    def first_alone(_, images, **__):
        for number, image in enumerate(images):
            yield blobs(image)[: 10 * (number == 0)]

    monkeypatch.setattr(tiles, "detect", first_alone)
    canvas = np.zeros((60, 100), np.uint8)
    canvas[20:30, column : column + 10] = 90
    assert sum(map(len, detect_large(model(), canvas, tile=60, overlap=20))) == count


def test_a_border_is_decided_by_the_tile_that_sees_more_around_it(monkeypatch):
    """An object through two tiles, whose masks swell towards their borders: the swelling is cut off."""

    def swollen(_, images, **__):
        for number, image in enumerate(images):
            found = blobs(image)
            mask = np.zeros(image.shape[:2], bool)
            mask[20:40] = image[20:40, :, 0] > 0
            edge = slice(-10, None) if number == 0 else slice(0, 10)
            mask[10:50, edge] = True
            yield Detections(**{**vars(found), "bitmaps": [mask], "corners": np.zeros((1, 2), int)})

    monkeypatch.setattr(tiles, "detect", swollen)
    canvas = np.zeros((60, 100), np.uint8)
    canvas[20:40, 5:95] = 90
    (found,) = list(detect_large(model(), canvas, tile=64, overlap=28))
    np.testing.assert_array_equal(found.masks, [canvas > 0])


def test_objects_are_given_as_soon_as_no_tile_can_touch_them():
    canvas = np.zeros((400, 60), np.uint8)
    canvas[10:20, 10:20], canvas[300:310, 10:20], canvas[90:270, 40:44] = 90, 90, 90
    rows = tiles_of((400, 60), tile=64, overlap=16)
    seen: list[Tile] = []
    stream = detect_large(model(), canvas, tile=64, overlap=16, on_tile=seen.append)
    given = [(int(detections.boxes[k, 3]), seen[-1].region[3]) for detections in stream for k in range(len(detections))]
    assert [bottom for bottom, _ in given] == [20, 270, 310]
    for bottom, so_far in given:
        assert so_far - bottom <= 64 + 16
    assert seen == [each for row in rows for each in row]


def test_detections_are_those_of_the_whole_image_in_form():
    canvas = painted(np.random.default_rng(0), (150, 140))
    parts = list(detect_large(model(), canvas, tile=64, overlap=16))
    for found in parts:
        assert found.size == (150, 140) and found.class_names == ["blob", "other"]
        assert (np.diff(found.scores) <= 0).all()
        np.testing.assert_allclose(found.boxes[:, :2], found.corners)
    assert sum(map(len, parts)) == len(blobs(canvas))


def test_a_tile_is_seen_at_the_scale_that_was_asked_for(monkeypatch):
    def look(seen, images, **_):
        frames.append((seen.config.image.short_side, next(iter(images)).shape[:2]))
        yield from ()

    monkeypatch.setattr(tiles, "detect", look)
    frames: list = []
    for options in ({}, {"tile": 50}, {"tile": 50, "scale": 2.0}, {"scale": 0.5}):
        with pytest.raises((StopIteration, RuntimeError)):
            next(detect_large(model(), np.zeros((300, 300), np.uint8), **options))
    assert frames == [(64, (64, 64)), (64, (50, 50)), (100, (50, 50)), (64, (128, 128))]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 64, "overlap": 0}, "overlap is from 1 pixel to half a tile, 32; received 0."),
        ({"tile": 64, "overlap": 33}, "overlap is from 1 pixel to half a tile, 32; received 33."),
        ({"tile": 8}, "A tile's side is at least 32 pixels; received 8."),
        ({"scale": 0.0}, "scale is a factor above 0; received 0.0."),
    ],
)
def test_what_makes_no_tiles_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        list(detect_large(model(), np.zeros((300, 300), np.uint8), **options))


def test_tiles_are_counted_without_an_image():
    assert num_tiles(CONFIG, (400, 60), tile=64, overlap=16) == (8, 64)
    assert num_tiles(CONFIG, (400, 60)) == (7, 64)


@pytest.fixture
def canvas_file(tmp_path) -> tuple[np.ndarray, Path]:
    canvas = painted(np.random.default_rng(5), (260, 1200), count=120, largest=0.15)
    canvas[100:104, 30:1170] = 250  # crosses all strips of tiles
    rgb = np.repeat(canvas[:, :, None], 3, axis=2)
    tifffile.imwrite(tmp_path / "canvas.tif", rgb, tile=(128, 128), compression="zlib", photometric="rgb")
    return canvas, tmp_path / "canvas.tif"


def test_all_results_say_the_same(canvas_file, tmp_path):
    zarr = pytest.importorskip("zarr")
    canvas, path = canvas_file
    out = tmp_path / "found"
    count = predict_large(model(), path, out, tile=96, overlap=24, save=("overlay", "labels", "geojson", "zarr"))
    truth = things([blobs(canvas)])
    assert count == len(truth)
    names = ["canvas.geojson", "canvas_labels.tif", "canvas_labels.zarr", "canvas_overlay.jpg", "canvas_predictions.json"]
    assert sorted(file.name for file in out.iterdir()) == names
    rows = json.loads((out / "canvas_predictions.json").read_text())
    masks = [rle_to_mask(rle_from_json(row["segmentation"], canvas.shape)) for row in rows]
    assert {mask.tobytes() for mask in masks} == {mask.tobytes() for mask in blobs(canvas).masks}
    assert {row["category_name"] for row in rows} == {"blob", "other"}
    labels = tifffile.imread(out / "canvas_labels.tif")
    assert labels.dtype == np.uint32
    for number, mask in enumerate(masks, start=1):
        np.testing.assert_array_equal(labels == number, mask)
    np.testing.assert_array_equal(zarr.open(out / "canvas_labels.zarr", mode="r")[:], labels)
    features = json.loads((out / "canvas.geojson").read_text())["features"]
    assert [feature["properties"]["measurements"]["object"] for feature in features] == list(range(1, count + 1))
    for feature, row in zip(features, rows):
        rings = feature["geometry"]["coordinates"]
        rings = rings if feature["geometry"]["type"] == "MultiPolygon" else [rings]
        points = np.concatenate([np.array(ring) for polygon in rings for ring in polygon])
        x, y, width, height = row["bbox"]
        assert points.min(axis=0).tolist() == [x, y] and points.max(axis=0).tolist() == [x + width, y + height]
    with Image.open(out / "canvas_overlay.jpg") as overlay:
        assert overlay.size == (1200, 260)
    with tifffile.TiffFile(out / "canvas_labels.tif") as file:
        assert file.is_bigtiff and file.pages[0].is_tiled


def test_the_overlay_is_small_and_its_objects_are_in_their_places(canvas_file, tmp_path, monkeypatch):
    canvas, path = canvas_file
    monkeypatch.setattr(predict, "LONGEST_OVERLAY", 400)
    predict_large(model(), path, tmp_path / "found", tile=96, overlap=24, save=["overlay"])
    with Image.open(tmp_path / "found" / "canvas_overlay.jpg") as image:
        overlay = np.asarray(image).astype(int)
    assert overlay.shape == (86, 400, 3)
    coloured = (overlay.max(axis=2) - overlay.min(axis=2)) > 40
    covered = (canvas[:258] > 0).reshape(86, 3, 400, 3).mean(axis=(1, 3))
    assert coloured[covered == 1].mean() > 0.95 and coloured[cv2.blur(covered, (5, 5)) == 0].mean() < 0.02


def test_an_error_leaves_nothing_behind_and_old_results_as_they_were(canvas_file, tmp_path, monkeypatch):
    _, path = canvas_file
    out = tmp_path / "found"
    everything = ("overlay", "labels", "geojson", "zarr")
    predict_large(model(), path, out, tile=96, overlap=24, save=everything)
    before = {file: file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file()}

    def broken(_, images, **__):
        for number, image in enumerate(images):
            if number == 20:
                raise ValueError("broken off")
            yield blobs(image)

    monkeypatch.setattr(tiles, "detect", broken)
    with pytest.raises(ValueError, match="broken off"):
        predict_large(model(), path, out, tile=96, overlap=24, save=everything)
    assert {file: file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file()} == before
    assert all(not file.name.startswith(".") for file in out.iterdir())


def test_an_unknown_format_is_named(canvas_file, tmp_path):
    with pytest.raises(ValueError, match="saved as overlay, labels, geojson, zarr; received 'nifti'."):
        predict_large(model(), canvas_file[1], tmp_path / "found", save=["nifti"])
    assert not (tmp_path / "found").exists()


def test_a_region_of_an_enormous_rle_is_what_was_put_there():
    mask = np.random.default_rng(0).random((70, 50)) < 0.5
    rle = cutout_rle(mask, (99_000, 98_000), (100_000, 100_000))
    seen, area = rle_region(rle, (98_990, 98_010, 99_060, 98_100))
    assert area == mask.sum()
    np.testing.assert_array_equal(seen, np.pad(mask[10:], ((0, 30), (10, 10))))
