"""Laws of what becomes of tracks over time: the counts are trackeval's, and the places are those worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from metrics.test_tracks import TWO, objects

from maskrcnn.metrics.track_events import ABSENT, MISSED, Switch, TrackEvents, track_events
from maskrcnn.metrics.tracks import evaluate_tracks, prepare_tracks
from maskrcnn.structures import TrackedObjects

Frames = list[TrackedObjects]


def events_of(truth: Frames, result: Frames) -> TrackEvents:
    pytest.importorskip("scipy", reason="the extra `tracking` is not installed")
    (video,) = prepare_tracks({"a": dict(enumerate(truth))}, {"b": dict(enumerate(result))}).values()
    return track_events(video)


def test_a_track_that_is_lost_and_comes_back_under_another_number() -> None:
    result = [objects((4, 5, 20), (9, 50, 20)), objects((4, 5, 20)), objects((4, 5, 20), (8, 50, 20)), objects((3, 80, 15))]
    events = events_of(TWO, result)
    assert events.tracks.tolist() == [1, 2]
    assert events.found.tolist() == [[4, 4, 4, MISSED], [9, MISSED, 8, MISSED]]
    assert events.switches == [Switch(2, 2, 9, 8)]
    assert events.missed.tolist() == [0, 1, 0, 2]
    assert events.wrong.tolist() == [0, 0, 0, 1]
    assert events.num_switches().tolist() == [0, 0, 1, 0]


def test_objects_that_come_and_go_are_absent_not_missed() -> None:
    truth = [objects((1, 5, 20)), objects((1, 5, 20), (2, 50, 20)), objects((2, 50, 20))]
    events = events_of(truth, truth)
    assert events.found.tolist() == [[1, 1, ABSENT], [ABSENT, 2, 2]]
    assert not events.switches and not events.missed.any() and not events.wrong.any()


def test_a_pair_stays_together_while_it_overlaps_enough() -> None:
    truth = [objects((1, 10, 20))] * 2
    result = [objects((5, 10, 20)), objects((5, 15, 20), (6, 10, 20))]  # 6 fits better in the second frame, 5 was there first
    events = events_of(truth, result)
    assert events.found.tolist() == [[5, 5]]
    assert events.wrong.tolist() == [0, 1]


@pytest.mark.parametrize("seed", range(12))
def test_the_counts_are_those_of_the_scores(seed: int) -> None:
    pytest.importorskip("trackeval", reason="the extra `tracking` is not installed")
    rng = np.random.default_rng(seed)
    truth, result = [], []
    for _ in range(15):
        here = [(number, 4 + 24 * number + int(rng.integers(0, 4)), 18) for number in range(4) if rng.random() < 0.8]
        ids = rng.permutation(6)
        there = [
            (int(ids[number]) if rng.random() < 0.3 else number, left + int(rng.integers(-9, 10)), width)
            for number, left, width in here
            if rng.random() < 0.8
        ]
        there = list({row[0]: (row[0], max(row[1], 0), row[2]) for row in there}.values())
        there += [(9, int(rng.integers(0, 80)), 15)] if rng.random() < 0.3 else []
        truth.append(objects(*here))
        result.append(objects(*there))
    scores = evaluate_tracks({"a": dict(enumerate(truth))}, {"b": dict(enumerate(result))})
    events = events_of(truth, result)
    counts = len(events.switches), int(events.missed.sum()), int(events.wrong.sum())
    assert counts == (scores["switches"], scores["missed"], scores["wrong"])
    assert scores["switches"] + scores["missed"] + scores["wrong"] > 5
    assert int((events.found != ABSENT).sum()) == scores["objects"]
