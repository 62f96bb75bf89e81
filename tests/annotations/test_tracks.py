"""Laws of reading tracks: MOT, MOTS and Cell Tracking Challenge, frames from 0, and what is said of what cannot be read."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from maskrcnn.annotations.tracks import read_tracks
from maskrcnn.geometry.rle import mask_to_rle, rle_to_json, rle_to_mask


def text(path, *lines: str):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def square(left: int, top: int, side: int = 4, size=(16, 20)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def counts(mask: np.ndarray) -> str:
    return rle_to_json(mask_to_rle(mask))["counts"]


def test_a_result_of_mot_counts_frames_and_pixels_from_one(tmp_path):
    path = text(tmp_path / "street.txt", "1,7,11,21,30,40,0.9,-1,-1,-1", "3,7,12,21,30,40,0.8,-1,-1,-1")
    videos = read_tracks(path)
    assert list(videos) == ["street"]
    assert list(videos["street"]) == [0, 2]
    first = videos["street"][0]
    assert (first.ids.tolist(), first.boxes.tolist(), first.rles, first.ignored) == ([7], [[10, 20, 40, 60]], None, None)


def test_truth_of_mot_counts_pedestrians_ignores_distractors_and_wants_nothing_else(tmp_path):
    lines = ["1,1,1,1,10,10,1,1,1.0", "1,2,21,1,10,10,0,1,1.0", "1,3,41,1,10,10,0,7,0.5", "1,4,61,1,10,10,0,3,0.5"]
    text(tmp_path / "MOT17-02/gt/gt.txt", *lines)
    (video,) = read_tracks(tmp_path / "MOT17-02").values()
    assert video[0].ids.tolist() == [1, 2, 3, 4]
    assert video[0].ignored.tolist() == [False, False, True, False]
    assert video[0].unwanted.tolist() == [False, True, False, True]


def test_mots_has_masks_and_a_class_whose_region_does_not_count(tmp_path):
    one, other = square(2, 3), square(9, 5)
    path = text(tmp_path / "mots.txt", f"1 2001 2 16 20 {counts(one)}", f"1 10000 10 16 20 {counts(other)}")
    (video,) = read_tracks(path).values()
    np.testing.assert_array_equal([rle_to_mask(rle) for rle in video[0].rles], [one, other])
    assert video[0].boxes.tolist() == [[2, 3, 6, 7], [9, 5, 13, 9]]
    assert (video[0].labels.tolist(), video[0].ignored.tolist()) == ([2, 10], [False, True])


@pytest.mark.parametrize("layout", ["beside", "above", "truth"])
def test_cell_tracking_folders_are_read_wherever_their_table_lies(tmp_path, layout):
    table, maps, prefix = {
        "beside": ("res_track.txt", ".", "mask"),
        "above": ("res_track.txt", "masks", "mask"),
        "truth": ("TRA/man_track.txt", "TRA", "man_track"),
    }[layout]
    (tmp_path / maps).mkdir(exist_ok=True)
    for number, left in enumerate((2, 4)):
        labels = square(left, 3) * np.uint16(300) + square(12, 8) * np.uint16(5)
        tifffile.imwrite(tmp_path / maps / f"{prefix}{number:03d}.tif", labels)
    text(tmp_path / table, "5 0 1 0", "300 0 1 0")
    (video,) = read_tracks((tmp_path / table).parent).values()
    assert [each.ids.tolist() for each in video.values()] == [[5, 300], [5, 300]]
    np.testing.assert_array_equal(rle_to_mask(video[1].rles[1]), square(4, 3))
    assert video[1].boxes[1].tolist() == [4, 3, 8, 7]


def test_an_only_child_after_a_gap_is_the_same_object_and_children_of_a_division_are_not(tmp_path):
    for number, label in enumerate((1, 0, 2, 0, 4, 5)):
        labels = square(2, 3) * np.uint16(label) + square(9, 3) * np.uint16(9 + number // 3)
        tifffile.imwrite(tmp_path / f"mask{number:03d}.tif", labels)
    text(tmp_path / "res_track.txt", "1 0 0 0", "2 2 2 1", "4 4 4 2", "5 5 5 4", "9 0 2 0", "10 3 5 9")
    (video,) = read_tracks(tmp_path).values()
    assert [sorted(each.ids.tolist()) for each in video.values()] == [[1, 9], [9], [1, 9], [10], [1, 10], [5, 10]]


def test_a_folder_of_sequences_is_told_apart_by_names(tmp_path):
    text(tmp_path / "one/gt/gt.txt", "1,1,1,1,10,10,1,1,1.0")
    text(tmp_path / "two.txt", "1,1,1,1,10,10,0.5,-1,-1,-1")
    assert set(read_tracks(tmp_path)) == {"one", "two"}


def test_of_a_folder_that_track_wrote_the_masks_are_taken(tmp_path):
    text(tmp_path / "mot.txt", "1,1,1,1,10,10,0.5,-1,-1,-1")
    text(tmp_path / "mots.txt", f"1 1 1 16 20 {counts(square(2, 3))}")
    (video,) = read_tracks(tmp_path).values()
    assert video[0].rles is not None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1,1,1,1,ten,10,0.5,-1,-1,-1", r"a.txt, line 2: .*ten.*Wanted is MOT"),
        ("1,1,1,1,-5,10,0.5,-1,-1,-1", "line 2: a box has finite numbers and no side below 0"),
        ("1,1,1", "line 2"),
        ("1 1 1 16 20 ???", "line 2"),
        ("1,3,1,1,10,10,0.5,-1,-1,-1", "an id twice in frame 1"),
    ],
)
def test_lines_that_cannot_be_read_are_named(tmp_path, line, said):
    path = text(tmp_path / "a.txt", "1,3,1,1,10,10,0.5,-1,-1,-1", line)
    with pytest.raises(ValueError, match=said) as told:
        read_tracks(path)
    assert "\n" not in str(told.value)


def test_what_holds_no_tracks_is_told(tmp_path):
    with pytest.raises(ValueError, match="There is no file or folder .*none"):
        read_tracks(tmp_path / "none")
    with pytest.raises(ValueError, match="There are no tracks in"):
        read_tracks(tmp_path)
    tifffile.imwrite(tmp_path / "mask000.tif", np.zeros((4, 4), np.uint16))
    text(tmp_path / "res_track.txt", "1 0 zero 0")
    with pytest.raises(ValueError, match="res_track.txt, line 1: wanted are four numbers"):
        read_tracks(tmp_path)
