"""Association by masks: objects whose boxes cross are told apart by their pixels.

Each track keeps the last mask in which its object was seen whole, and moves it on by its speed. So an object that another one
hides in part, or for a while, is looked for where all of it would be. Strong detections are associated before weak ones, as
ByteTrack does (Zhang et al. 2022), with the Hungarian method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maskrcnn import extras
from maskrcnn.structures import Detections

SAME = 0.3  # least IoU of a mask and where its object is expected: SORT's for boxes (Bewley et al. 2016)
INSIDE = 0.6  # least part of the smaller one in the other, where an object is seen in part
WHOLE = 0.8  # of the object's area, from where on it counts as seen whole
FORGET = 0.98  # an object that stays smaller is after some frames believed to be so
GAIN = 0.3  # how fast a track's speed follows what is measured


@dataclass(eq=False)
class _Track:
    number: int
    window: np.ndarray  # (h, w) bool, the object as last seen whole
    corner: np.ndarray  # (2,) float, left and top of the window where it is expected now
    area: float  # pixels; shrinks slowly while less of it is seen
    speed: np.ndarray  # (2,) float, pixels a frame
    frames: int = 1  # in which it was seen
    unseen: int = 0  # frames since then

    def centre(self) -> np.ndarray:
        return self.corner + _centre(self.window)


class MaskTracker:
    """Follows the objects of one class by their masks.

    Args:
        score: the least score with which a track begins; weaker detections carry tracks on.
        lost: frames for which a track that is not seen is remembered.
    """

    def __init__(self, *, score: float, lost: int) -> None:
        self._assign = extras.load("scipy.optimize", extra="video", why="Tracking needs scipy").linear_sum_assignment
        self._score, self._lost = score, lost
        self._tracks: list[_Track] = []
        self._count = 0

    def update(self, detections: Detections, image: np.ndarray) -> np.ndarray:
        """(N,) int64: a number from 0 for each detection that is part of a track, else -1."""
        numbers = np.full(len(detections), -1, np.int64)
        masks = [(window, np.array(corner, float)) for window, corner in detections.windows()]
        areas = np.array([np.count_nonzero(window) for window, _ in masks], float)
        for track in self._tracks:
            track.corner = track.corner + track.speed
            track.unseen += 1
        shared = _shared_pixels([(track.window, track.corner) for track in self._tracks], masks)  # (T, N)
        own = np.array([np.count_nonzero(track.window) for track in self._tracks], float)[:, None]  # (T, 1)
        iou = shared / np.maximum(own + areas - shared, 1)
        inside = shared / np.maximum(np.minimum(own, areas), 1)
        strong = detections.scores >= self._score
        fresh = np.array([track.unseen == 1 for track in self._tracks], bool)

        free_tracks, free = np.ones(len(self._tracks), bool), areas > 0
        for similarity, least, tracks, rows in (
            (iou, SAME, True, strong),
            (iou, SAME, fresh, ~strong),
            (inside, INSIDE, True, strong),
        ):
            allowed = (free_tracks & tracks)[:, None] & (free & rows)
            similarity = np.where(allowed & (similarity >= least), similarity, 0)
            for t, row in zip(*self._assign(similarity, maximize=True)):
                if similarity[t, row] > 0:
                    free_tracks[t] = free[row] = False
                    numbers[row] = self._tracks[t].number
                    window, corner = masks[row]
                    _see(self._tracks[t], window, corner, areas[row])

        for row in np.flatnonzero(free & strong):
            self._tracks.append(_Track(self._count, *masks[row], areas[row], np.zeros(2)))
            numbers[row] = self._count
            self._count += 1
        self._tracks = [track for track in self._tracks if track.unseen <= self._lost]
        return numbers


def _see(track: _Track, window: np.ndarray, corner: np.ndarray, area: float) -> None:
    """Corrects a track by a mask that is taken for its object. What is seen in part says neither shape nor speed."""
    if area >= WHOLE * track.area:
        missed = corner + _centre(window) - track.centre()  # by how much the expectation was beside it
        gain = 1.0 if track.frames == 1 else GAIN
        track.speed = track.speed + gain * missed / track.unseen
        track.window, track.corner, track.area = window, corner, area
    else:
        track.area = max(area, FORGET * track.area)
    track.frames += 1
    track.unseen = 0


def _centre(window: np.ndarray) -> np.ndarray:
    """(2,) x, y of the mask's centre of mass in its window; pixels."""
    columns, rows = window.sum(axis=0), window.sum(axis=1)
    return np.array([columns @ np.arange(len(columns)), rows @ np.arange(len(rows))]) / max(columns.sum(), 1) + 0.5


def _shared_pixels(
    ones: Sequence[tuple[np.ndarray, np.ndarray]], others: Sequence[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """(T, N) how many pixels masks have in common; only those whose windows touch are compared."""
    shared = np.zeros((len(ones), len(others)))
    first, second = _edges(ones), _edges(others)  # (T, 4), (N, 4)
    low = np.maximum(first[:, None, :2], second[:, :2])  # (T, N, 2) left, top of what two windows share
    high = np.minimum(first[:, None, 2:], second[:, 2:])
    for t, n in zip(*np.nonzero((high > low).all(axis=2))):
        (left, top), (right, bottom) = low[t, n], high[t, n]
        (x, y), (u, v) = first[t, :2], second[n, :2]
        one = ones[t][0][top - y : bottom - y, left - x : right - x]
        shared[t, n] = np.count_nonzero(one & others[n][0][top - v : bottom - v, left - u : right - u])
    return shared


def _edges(masks: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """(N, 4) int, left, top, right and bottom of the masks' windows."""
    corners = np.rint([corner for _, corner in masks]).astype(int).reshape(-1, 2)
    sizes = np.array([window.shape[::-1] for window, _ in masks], int).reshape(-1, 2)
    return np.concatenate([corners, corners + sizes], axis=1)
