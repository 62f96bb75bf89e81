"""When tracks were lost and when their numbers changed: MOTA's matching, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from maskrcnn import extras
from maskrcnn.metrics.tracks import SAME

ABSENT, MISSED = -2, -1  # in the place of a result's track
_KEEPS = 1000.0  # a pair that was matched in the frame before comes before any IoU


class Switch(NamedTuple):
    """A true track goes on under another number."""

    frame: int
    track: int
    before: int
    after: int


class TrackEvents(NamedTuple):
    """What became of the tracks of one video of `F` frames."""

    frames: np.ndarray  # (F,) int64, their numbers
    tracks: np.ndarray  # (N,) int64, the truth's ids, in the order in which they appear
    found: np.ndarray  # (N, F) int64, the id under which each was found, or ABSENT, or MISSED
    wrong: np.ndarray  # (F,) int64, how many objects of the result are nothing of the truth
    switches: list[Switch]

    @property
    def missed(self) -> np.ndarray:
        """(F,) int64, how many objects of the truth were not found."""
        return (self.found == MISSED).sum(axis=0)

    def num_switches(self) -> np.ndarray:
        """(F,) int64."""
        frames = [switch.frame for switch in self.switches]
        return np.bincount(np.searchsorted(self.frames, frames), minlength=len(self.frames)).astype(np.int64)


def track_events(video: Mapping[str, Any]) -> TrackEvents:
    """Matches the objects of each frame as MOTA does (Bernardin & Stiefelhagen 2008), at IoU 0.5.

    A pair that belonged together in the frame before stays together while it overlaps enough; the others are assigned for the
    largest sum of IoU. The counts are those of `evaluate_tracks`.

    Args:
        video: as `metrics.tracks.prepare_tracks` gives it.

    Raises:
        ImportError: scipy is not installed.
    """
    assign = extras.load("scipy.optimize", extra="tracking", why="Scores of tracks need scipy").linear_sum_assignment
    true_names, found_names = (np.array(video[name], np.int64) for name in ("gt_names", "tracker_names"))
    num_frames = len(video["frames"])
    found = np.full((len(true_names), num_frames), ABSENT, np.int64)
    wrong = np.zeros(num_frames, np.int64)
    last = np.full(len(true_names), -1)  # of each true track, the result's track that it was found as last
    matched = last.copy()  # the same, of the last frame in which both had objects
    switches: list[Switch] = []
    for place, (true, result, overlaps) in enumerate(zip(video["gt_ids"], video["tracker_ids"], video["similarity_scores"])):
        found[true, place] = MISSED
        wrong[place] = len(result)
        if not len(true) or not len(result):
            continue
        likely = np.where(overlaps >= SAME - np.finfo(float).eps, overlaps + _KEEPS * (matched[true][:, None] == result), 0.0)
        rows, columns = assign(likely, maximize=True)
        fits = likely[rows, columns] > np.finfo(float).eps
        true, result = true[rows[fits]], result[columns[fits]]
        wrong[place] -= len(true)
        found[true, place] = found_names[result]
        for number, before, after in zip(true.tolist(), last[true].tolist(), result.tolist()):
            if before not in (-1, after):
                ids = (int(true_names[number]), int(found_names[before]), int(found_names[after]))
                switches.append(Switch(int(video["frames"][place]), *ids))
        last[true] = result
        matched[:] = -1
        matched[true] = result
    return TrackEvents(np.array(video["frames"], np.int64), true_names, found, wrong, switches)
