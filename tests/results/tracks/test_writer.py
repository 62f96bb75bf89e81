"""Laws of the files of tracks: each says what was found, as its format wants it, up to the last whole frame."""

from __future__ import annotations

import csv
import json
from contextlib import suppress

import numpy as np
import pytest
import tifffile
from small_tracks import CATEGORIES, SIZE, TIMES, drawn, found, tracked

from maskrcnn.annotations.tracks import read_tracks
from maskrcnn.geometry.rle import rle_from_json, rle_to_mask
from maskrcnn.results.tracks.writer import TRACK_FORMATS, TrackWriter
from maskrcnn.structures import VideoFrame

VIDEO = tracked()
EXPECTED = {
    frame.number: dict(zip(each.track_ids.tolist(), each.boxes.tolist())) for frame, each in VIDEO if len(each.track_ids)
}


def write_all(folder, save, *, name="video", num_frames=4) -> None:
    with TrackWriter(folder, CATEGORIES, rate=2, name=name, save=save) as writer:
        for frame, detections in VIDEO[:num_frames]:
            writer.write(frame, detections)


def rows_of(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def boxes_of(folder, kind: str) -> dict[int, dict[int, list[float]]]:
    (video,) = read_tracks(folder / kind).values()
    return {frame: dict(zip(each.ids.tolist(), each.boxes.tolist())) for frame, each in video.items()}


def test_mot_says_every_box_and_counts_frames_and_pixels_from_one(tmp_path):
    write_all(tmp_path, ("mot",))
    assert (tmp_path / "mot.txt").read_text().splitlines()[0] == "1,1,11.00,11.00,20.00,20.00,0.9000,-1,-1,-1"
    assert boxes_of(tmp_path, "mot.txt") == EXPECTED


def test_mots_gives_each_pixel_to_the_best_mask_and_classes_their_own_numbers(tmp_path):
    write_all(tmp_path, ("mots",))
    (video,) = read_tracks(tmp_path / "mots.txt").values()
    assert len(video) == sum(len(detections) > 0 for _, detections in VIDEO) > 0
    for (frame, detections), number in zip(VIDEO, range(len(VIDEO))):
        if not len(detections):
            assert number not in video
            continue
        said = video[frame.number]
        masks = np.array([rle_to_mask(rle) for rle in said.rles])
        assert masks.sum(axis=0).max() == 1
        assert np.array_equal(masks.any(axis=0), np.any(detections.masks, axis=0))
        best = int(detections.scores.argmax())
        row = said.ids.tolist().index(detections.track_ids[best])
        assert np.array_equal(masks[row], detections.masks[best])
        assert said.labels[row] == CATEGORIES[detections.labels[best]].id


def test_coco_video_has_a_mask_or_null_for_every_frame_of_every_track(tmp_path):
    write_all(tmp_path, ("json",), name="street")
    said = json.loads((tmp_path / "tracks.json").read_text())
    (video,) = said["videos"]
    assert (video["name"], video["length"], video["height"], video["width"]) == ("street", len(VIDEO), *SIZE)
    assert video["frames"] == [frame.number for frame, _ in VIDEO]
    np.testing.assert_allclose(video["times"], TIMES)
    assert [(each["id"], each["name"]) for each in said["categories"]] == [(each.id, each.name) for each in CATEGORIES]
    assert [each["track_id"] for each in said["annotations"]] == [1, 2, 3]
    for track in said["annotations"]:
        for place, (_, detections) in enumerate(VIDEO):
            rows = np.flatnonzero(detections.track_ids == track["track_id"])
            lists = [track[name][place] for name in ("segmentations", "bboxes", "areas")]
            if not len(rows):
                assert lists == [None] * 3
                continue
            (row,) = rows
            mask = rle_to_mask(rle_from_json(lists[0], SIZE))
            assert np.array_equal(mask, detections.masks[row])
            assert lists[2] == mask.sum()
            left, top, right, bottom = detections.boxes[row].tolist()
            assert lists[1] == [left, top, right - left, bottom - top]
            assert track["category_id"] == CATEGORIES[detections.labels[row]].id


def test_tables_say_where_how_large_and_how_fast(tmp_path):
    write_all(tmp_path, ("csv",))
    positions, tracks = rows_of(tmp_path / "positions.csv"), rows_of(tmp_path / "tracks.csv")
    assert len(positions) == sum(len(each) for _, each in VIDEO)
    assert {key: positions[0][key] for key in ("frame", "time", "track", "class", "x", "y", "area")} == {
        "frame": "0", "time": "0.0000", "track": "1", "class": "disc", "x": "20.00", "y": "20.00", "area": "400"
    }  # fmt: skip
    first = tracks[0]  # goes 3 and 4 pixels a frame, a frame in half a second
    assert (first["track"], first["frames"], first["first_frame"], first["last_frame"]) == ("1", "3", "0", "3")
    assert (float(first["path_length"]), float(first["mean_speed"])) == (15, 10)
    assert (first["first_x"], first["first_y"], first["last_x"], first["last_y"]) == ("20.00", "20.00", "29.00", "32.00")
    assert (first["mean_area"], first["smallest_area"], first["largest_area"]) == ("400.0", "400", "400")
    assert tracks[2]["mean_speed"] == ""  # seen once


def test_cell_tracking_counts_frames_from_zero_and_a_gap_begins_a_new_label_whose_parent_is_the_old_one(tmp_path):
    write_all(tmp_path, ("ctc",))
    assert sorted(file.name for file in (tmp_path / "ctc").iterdir()) == [
        *(f"mask{number:03d}.tif" for number in range(len(VIDEO))),
        "res_track.txt",
    ]
    maps = [tifffile.imread(file) for file in sorted((tmp_path / "ctc").glob("mask*.tif"))]
    assert all(each.dtype == np.uint16 and each.shape == SIZE for each in maps)
    table = [tuple(map(int, line.split())) for line in (tmp_path / "ctc/res_track.txt").read_text().splitlines()]
    assert table == [(1, 0, 1, 0), (2, 0, 1, 0), (3, 3, 3, 1), (4, 3, 3, 2), (5, 3, 3, 0)]
    for number, labels in enumerate(maps):
        assert set(np.unique(labels)) - {0} == {label for label, first, last, _ in table if first <= number <= last}


def test_what_is_read_of_cell_tracking_files_are_the_tracks_again(tmp_path):
    write_all(tmp_path, ("ctc", "mots"))
    (one,), (other,) = (read_tracks(tmp_path / name).values() for name in ("ctc", "mots.txt"))

    def named(video) -> dict:  # ids may differ in number, not in whom they name
        first = {}
        return {
            frame: {first.setdefault(number, rle["counts"]): rle["counts"] for number, rle in zip(each.ids.tolist(), each.rles)}
            for frame, each in video.items()
            if len(each.ids)
        }

    assert named(one) == named(other)


def test_a_shorter_video_leaves_nothing_of_a_longer_one_in_its_folder(tmp_path):
    write_all(tmp_path, TRACK_FORMATS[1:])
    write_all(tmp_path, TRACK_FORMATS[1:], num_frames=1)
    assert len(list((tmp_path / "ctc").glob("mask*.tif"))) == 1
    assert set(boxes_of(tmp_path, "mot.txt")) == {0}


def test_what_a_run_does_not_write_itself_is_set_aside_and_nothing_is_lost(tmp_path):
    (tmp_path / "notes.md").write_text("mine")
    write_all(tmp_path, ("mots", "csv"))
    write_all(tmp_path, ("mot",), num_frames=2)
    assert {path.name for path in tmp_path.iterdir()} == {"notes.md", "mot.txt", "earlier"}
    assert {path.name for path in (tmp_path / "earlier/1").iterdir()} == {"mots.txt", "positions.csv", "tracks.csv"}
    (video,) = read_tracks(tmp_path).values()
    assert set(video) == {0, 1}
    write_all(tmp_path, ("ctc",))
    write_all(tmp_path, ("csv",))
    assert (tmp_path / "earlier/2/mot.txt").exists() and (tmp_path / "earlier/3/ctc/res_track.txt").exists()
    with pytest.raises(ValueError, match="There are no tracks in"):
        read_tracks(tmp_path)


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_however_the_video_ends_every_file_is_whole_up_to_the_last_frame(tmp_path, kind):
    formats = TRACK_FORMATS[1:]
    write_all(tmp_path / "whole", formats, num_frames=2)
    with suppress(kind), TrackWriter(tmp_path / "cut", CATEGORIES, rate=2, save=formats) as writer:
        for frame, detections in VIDEO[:2]:
            writer.write(frame, detections)
        assert not (tmp_path / "cut/mot.txt").exists()  # only whole files have their names
        raise kind
    names = sorted(str(path.relative_to(tmp_path / "whole")) for path in (tmp_path / "whole").rglob("*.*"))
    assert names == sorted(str(path.relative_to(tmp_path / "cut")) for path in (tmp_path / "cut").rglob("*.*"))
    for name in names:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_frame_that_fails_half_way_is_in_no_file(tmp_path):
    broken = found([(0, 0, 9, 9)], ids=[9], labels=[7])  # a class that is none
    with suppress(IndexError), TrackWriter(tmp_path, CATEGORIES, rate=2, save=("mots", "json")) as writer:
        writer.write(*VIDEO[0])
        writer.write(VideoFrame(1, 0.5, drawn([])), broken)
    assert set(boxes_of(tmp_path, "mots.txt")) == {0}
    said = json.loads((tmp_path / "tracks.json").read_text())
    assert said["videos"][0]["length"] == 1
    assert {each["track_id"] for each in said["annotations"]} == {1, 2}


def test_unknown_formats_and_detections_without_ids_are_told(tmp_path):
    with pytest.raises(ValueError, match="saved as is overlay, mot, .*'avi'"):
        TrackWriter(tmp_path, CATEGORIES, rate=2, save=("avi",))
    with TrackWriter(tmp_path, CATEGORIES, rate=2, save=("mot",)) as writer, pytest.raises(ValueError, match="have ids"):
        writer.write(VIDEO[0][0], found([(0, 0, 9, 9)]))
