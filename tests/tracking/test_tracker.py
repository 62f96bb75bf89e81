"""Laws of tracks: an object keeps its id through crossing, hiding and gaps, and classes never mix."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from small_tracks import SIZE, drawn, found

from maskrcnn.structures import Detections
from maskrcnn.tracking.tracker import TRACKERS, Tracker

pytest.importorskip("scipy")
IMAGE = drawn([])


def trackers(*names: str):
    missing = __import__("importlib.util").util.find_spec("trackers") is None
    skip = pytest.mark.skipif(missing, reason="the library trackers is not installed")
    return pytest.mark.parametrize("name", [pytest.param(name, marks=() if name == "mask" else skip) for name in names])


def ids_of(tracker: Tracker, frames: list[Detections]) -> list[list[int]]:
    """For each frame the ids, sorted by their objects' left edge."""
    answer = []
    for frame in frames:
        tracked = tracker.update(frame, IMAGE)
        answer.append(tracked.track_ids[np.argsort(tracked.boxes[:, 0])].tolist())
    return answer


@trackers(*TRACKERS)
def test_objects_that_move_keep_their_ids(name):
    frames = [found([(2 * k, 5, 2 * k + 20, 25), (70 - 2 * k, 40, 90 - 2 * k, 60)]) for k in range(12)]
    ids = ids_of(Tracker(name), frames)[3:]  # some wait until an object was seen three times
    assert all(row == ids[0] and len(set(row)) == 2 for row in ids)


@trackers(*TRACKERS)
def test_classes_are_tracked_apart(name):
    frames = [found([(10, 10, 30, 30), (60, 10, 80, 30)], labels=[0, 1] if k < 5 else [1, 0]) for k in range(12)]
    ids = ids_of(Tracker(name), frames)
    assert not set(ids[4]) & set(ids[-1])


@trackers(*TRACKERS)
def test_a_gap_shorter_than_the_memory_keeps_the_id_and_a_longer_one_does_not(name):
    def left_and_came(gap: int) -> tuple[int, int]:
        tracker = Tracker(name, lost=5)
        frames = [found([(20, 20, 44, 44)])] * 6 + [found([])] * gap + [found([(20, 20, 44, 44)])] * 6
        ids = ids_of(tracker, frames)
        return ids[5][0], ids[-1][0]

    assert len(set(left_and_came(4))) == 1
    assert len(set(left_and_came(12))) == 2


@trackers(*TRACKERS)
def test_weak_detections_begin_no_track(name):
    assert not any(ids_of(Tracker(name, score=0.6), [found([(20, 20, 44, 44)], scores=[0.4])] * 6))


@trackers(*TRACKERS)
def test_each_class_may_have_a_score_of_its_own(name):
    frames = [found([(10, 10, 30, 30), (60, 10, 80, 30)], labels=[0, 1], scores=[0.25, 0.25])] * 6
    for scores, expected in (((0.2, 0.6), {0}), ((0.6, 0.2), {1}), ((0.2, 0.2), {0, 1})):
        tracker = Tracker(name, score=np.array(scores))
        assert tracker.weakest == 0.2
        tracked = [tracker.update(frame, IMAGE) for frame in frames][-1]
        assert set(tracked.labels.tolist()) == expected
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        Tracker(name, score=np.array([0.5, 0.0]))


@trackers("mask", "bytetrack", "botsort")
def test_weak_detections_carry_a_track_on(name):
    frames = [found([(20, 20, 44, 44)])] * 4 + [found([(20, 20, 44, 44)], scores=[0.4])] * 3
    ids = ids_of(Tracker(name), frames)
    assert ids[3] == ids[-1] != []


@trackers("mask", "bytetrack")
def test_frames_without_detections_and_empty_masks_are_no_trouble(name):
    tracker = Tracker(name)
    assert len(tracker.update(found([]), IMAGE)) == 0
    flat = found([(30, 30, 30.2, 30.2)])
    for _ in range(3):
        tracker.update(flat, IMAGE)
    assert tracker.update(found([]), IMAGE).track_ids.dtype == np.int64


def diagonals(shift: int) -> Detections:
    """Two thin diagonal stripes side by side, whose boxes are nearly the same."""
    masks = [np.eye(40, dtype=bool) | np.eye(40, k=1, dtype=bool) | np.eye(40, k=-1, dtype=bool)]
    masks.append(masks[0][:, ::-1].copy())
    boxes = np.array([[10 + shift, 10, 50 + shift, 50], [10 - shift, 10, 50 - shift, 50]], np.float32)
    return Detections(
        boxes=boxes,
        scores=np.array([0.9, 0.9], np.float32),
        labels=np.zeros(2, np.int32),
        small_masks=np.zeros((2, 0, 0), np.float32),
        size=SIZE,
        class_names=["stripe"],
        bitmaps=masks,
        corners=boxes[:, :2].astype(int),
    )


def test_masks_tell_apart_what_boxes_cannot():
    tracker = Tracker("mask")
    ids = [tracker.update(diagonals(shift), IMAGE).track_ids.tolist() for shift in (-1, 0, 0, 1, 1)]
    assert ids == [[1, 2]] * 5
    swapped = tracker.update(diagonals(1)[[1, 0]], IMAGE)
    assert swapped.track_ids.tolist() == [2, 1]


def test_an_object_that_is_hidden_in_part_and_wholly_comes_out_with_its_id():
    def seen(k: int) -> Detections:
        left, right = 2 * k, 2 * k + 20  # moves to the right, behind a bar from 40 to 64
        parts = [(left, 20, min(right, 40), 40)] * (left < 38) + [(max(left, 64), 20, right, 40)] * (right > 66)
        return found([*parts, (40, 10, 64, 50)])

    ids = ids_of(Tracker("mask"), [seen(k) for k in range(36)])
    assert ids[0][0] == ids[-1][-1]
    assert len({number for row in ids for number in row}) == 2


def test_what_leaves_the_image_is_looked_for_at_its_border_as_far_along_as_its_speed_could_take_it():
    leaving = [found([(70 + 4 * k, 8, min(90 + 4 * k, 96), 28)]) for k in range(6)]  # 4 pixels a frame, out to the right
    away = [found([])] * 8
    back = [found([(max(92 - 4 * k, 60), 36, 96, 56)]) for k in range(4)]  # 28 pixels farther down
    ids = ids_of(Tracker("mask"), leaving + away + back)
    assert ids[0] == ids[-1] == [1]
    standing = [found([(70, 8, 90, 28)])] * 6 + away + [found([(70, 36, 90, 56)])] * 4
    assert ids_of(Tracker("mask"), standing)[-1] == [2]


def test_what_appears_in_the_place_of_another_one_in_other_colours_is_another_one():
    def last_id(colour: int) -> int:
        tracker = Tracker("mask")
        for shade in [200] * 5 + [0] * 5 + [colour] * 2:
            seen = found([] if shade == 0 else [(20, 20, 44, 44)])
            answer = tracker.update(seen, np.full((*SIZE, 3), shade, np.uint8))
        return int(answer.track_ids[0])

    assert (last_id(200), last_id(180), last_id(60)) == (1, 1, 2)


def test_a_change_of_light_alone_changes_no_id():
    tracker = Tracker("mask")
    images = [np.full((*SIZE, 3), shade, np.uint8) for shade in (200, 90, 10)]
    assert [tracker.update(found([(20, 20, 44, 44)]), image).track_ids[0] for image in images] == [1, 1, 1]


@trackers(*TRACKERS)
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_frames_of_any_channels_can_be_tracked(name, channels):
    tracker, image = Tracker(name), np.zeros((*SIZE, channels), np.uint8)
    for _ in range(4):
        answer = tracker.update(found([(20, 20, 44, 44)]), image)
    assert len(answer) == 1


def test_a_second_opinion_on_the_class_is_no_object_and_does_not_take_over():
    both = [(20, 20, 44, 44), (20, 20, 44, 45)]
    sure = [found(both, scores=[0.9, 0.6], labels=[0, 1])] * 5
    unsure = [found(both, scores=[0.5, 0.8], labels=[0, 1])]
    tracker = Tracker("mask")
    answers = [tracker.update(frame, IMAGE) for frame in sure + unsure]
    assert [answer.labels.tolist() for answer in answers] == [[0]] * 6
    assert {tuple(answer.track_ids.tolist()) for answer in answers} == {(1,)}


def test_the_track_of_a_hidden_object_does_not_follow_a_second_opinion_on_what_hides_it():
    disc = (20, 20, 44, 44)
    lefts = [70, 60, 50, 40, 30, 22, 22, 32, 42, 52, 62]  # of a bar that passes in front
    tracker, ids = Tracker("mask"), []
    for left in lefts:
        bar = (left, 20, left + 24, 44)
        seen = found([bar, bar if left < 30 else disc], scores=[0.9, 0.8], labels=[1, 0])
        answer = tracker.update(seen, IMAGE)
        ids.append(dict(zip(answer.labels.tolist(), answer.track_ids.tolist())))
    assert [len(row) for row in ids] == [2] * 5 + [1, 1] + [2] * 4
    assert {row[0] for row in ids if 0 in row} == {ids[0][0]}
    assert {row[1] for row in ids} == {ids[0][1]}


def test_where_overlaps_hardly_differ_the_colour_tells_which_one_it_is():
    image = drawn([(31, 20, 55, 44)])
    tracker = Tracker("mask")
    for _ in range(4):
        tracker.update(found([(20, 20, 44, 44)]), drawn([(20, 20, 44, 44)]))
    white, black = (31, 20, 55, 44), (10, 20, 34, 44)  # which overlaps a little more with where the white one was
    assert tracker.update(found([white, black]), image).track_ids.tolist() == [1, 2]


def test_what_was_seen_once_does_not_take_an_object_from_the_track_that_had_it():
    whole, part = (20, 20, 44, 44), (20, 20, 44, 30)
    tracker = Tracker("mask")
    for _ in range(4):
        tracker.update(found([whole]), IMAGE)
    assert tracker.update(found([whole, part]), IMAGE).track_ids.tolist() == [1, 2]
    assert tracker.update(found([(20, 20, 44, 33)]), IMAGE).track_ids.tolist() == [1]


def test_what_is_handed_in_stays_as_it_is():
    given = found([(20, 20, 44, 44)])
    Tracker("mask").update(given, IMAGE)
    assert given.track_ids is None


def test_names_and_numbers_out_of_range_are_told():
    with pytest.raises(ValueError, match="A tracker is one of mask, bytetrack, .*'deepsort'"):
        Tracker("deepsort")
    with pytest.raises(ValueError, match="score is above 0"):
        Tracker("mask", score=0)
    with pytest.raises(ValueError, match="lost at least 0"):
        Tracker("mask", lost=-1)


def test_without_its_library_a_tracker_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(ImportError, match=r'The tracker "sort" needs trackers, .* pip install "maskrcnn\[tracking\]"'):
        Tracker("sort")


def test_tracking_loads_neither_keras_nor_the_library_it_does_not_need():
    code = (
        "import sys, maskrcnn.tracking.tracker as t; t.Tracker(); print([m for m in ('keras', 'trackers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"
