"""Association by masks: objects whose boxes cross are told apart by their pixels.

Each track keeps the last mask in which its object was seen whole, and moves it on by its speed. So an object that another one
hides in part, or for a while, is looked for where all of it would be. Strong detections are associated before weak ones, as
ByteTrack does (Zhang et al. 2022), with the Hungarian method.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskrcnn import extras
from maskrcnn.geometry.masks import centre_of, shared_pixels
from maskrcnn.structures import Detections

SAME = 0.3  # least IoU of a mask and where its object is expected: SORT's for boxes (Bewley et al. 2016)
INSIDE = 0.6  # least part of the smaller one in the other, where an object is seen in part
WHOLE = 0.9  # of the object's area, from where on it counts as seen whole
FORGET = 0.98  # an object that stays smaller is after some frames believed to be so
SLOWING = 0.9  # of what is not seen, a frame: nobody knows whether it goes on as it went
GAIN = 0.3  # how fast a track's speed follows what is measured, and its color
OTHER = 60.0  # gray levels from where on two colors are those of different objects
YOUNG = 3  # seen in fewer frames than these, a track may be a mistake: an older one comes first


@dataclass(eq=False)
class _Track:
    number: int
    cutout: np.ndarray  # (h, w) bool, the object as last seen whole
    corner: np.ndarray  # (2,) float, left and top of the cutout where it is expected now
    area: float  # pixels of the whole object; shrinks slowly while less of it is seen
    speed: np.ndarray  # (2,) float, pixels a frame
    colour: np.ndarray  # (C,) float
    frames: int = 1  # in which it was seen
    unseen: int = 0  # frames since then


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
        masks = [(cutout, np.array(corner, float)) for cutout, corner in detections.cutouts()]
        areas = np.array([np.count_nonzero(cutout) for cutout, _ in masks], float)
        colours = np.array([_colour(image, *mask) for mask in masks]).reshape(-1, image.shape[2])
        for track in self._tracks:
            middle = np.array(track.cutout.shape[::-1]) / 2
            track.corner = track.corner + track.speed * SLOWING**track.unseen
            track.corner = np.clip(track.corner, -middle, np.array(detections.size[::-1]) - middle)  # it may come back there
            track.unseen += 1
        shared = shared_pixels([(track.cutout, track.corner) for track in self._tracks], masks)  # (T, N)
        own = np.array([np.count_nonzero(track.cutout) for track in self._tracks], float)[:, None]  # (T, 1)
        iou = shared / np.maximum(own + areas - shared, 1)
        inside = shared / np.maximum(np.minimum(own, areas), 1)
        strong = detections.scores >= self._score
        fresh = np.array([track.unseen == 1 for track in self._tracks], bool)
        alike = _likeness(self._tracks, colours)  # what comes back has the color that it had …
        alike = np.where(fresh[:, None], np.maximum(alike, iou), alike)  # … what stays, too, or it overlaps
        alike = alike * np.array([0.5 if track.frames < YOUNG else 1.0 for track in self._tracks])[:, None]

        free_tracks, free = np.ones(len(self._tracks), bool), areas > 0
        for measure, least, tracks, rows in (
            (lambda: iou, SAME, True, strong),
            (lambda: iou, SAME, fresh, ~strong),
            (lambda: inside, INSIDE, True, strong),
            (lambda: _nearness(self._tracks, masks), 0.0, True, strong),
        ):
            allowed = (free_tracks & tracks)[:, None] & (free & rows)
            if not allowed.any():
                continue
            similarity = measure()
            similarity = np.where(allowed & (similarity >= least), similarity * alike, 0)
            for t, row in zip(*self._assign(similarity, maximize=True)):
                if similarity[t, row] > 0:
                    free_tracks[t] = free[row] = False
                    numbers[row] = self._tracks[t].number
                    cutout, corner = masks[row]
                    _see(self._tracks[t], cutout, corner, areas[row], colours[row])

        for row in np.flatnonzero(free & strong):
            cutout, corner = masks[row]
            self._tracks.append(_Track(self._count, cutout, corner, areas[row], np.zeros(2), colours[row]))
            numbers[row] = self._count
            self._count += 1
        self._tracks = [track for track in self._tracks if track.unseen <= self._lost]
        return numbers


def _nearness(tracks: list[_Track], masks: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """(T, N) 1 where a mask's middle is where the track's is expected, 0 where it is out of reach.

    Within reach is an object's diameter, and as far besides as its speed took it, had it turned when it was seen last.
    """
    expected = np.array([centre_of(track.cutout, track.corner)[0] for track in tracks]).reshape(-1, 1, 2)
    found = np.array([centre_of(*mask)[0] for mask in masks]).reshape(-1, 2)
    reach = [np.sqrt(4 / np.pi * track.area) + np.linalg.norm(track.speed) * (track.unseen - 1) for track in tracks]
    return np.nan_to_num(1 - np.linalg.norm(expected - found, axis=2) / np.maximum(np.array(reach).reshape(-1, 1), 1))


def _likeness(tracks: list[_Track], colours: np.ndarray) -> np.ndarray:
    """(T, N) 1 where the colors are the same, 0 where they are those of different objects."""
    known = np.array([track.colour for track in tracks]).reshape(-1, 1, colours.shape[1])
    return np.maximum(1 - np.sqrt(((known - colours) ** 2).mean(axis=2)) / OTHER, 0)


def _colour(image: np.ndarray, cutout: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """(C,) median of a mask's pixels: some of them may be another object's."""
    left, top = corner.astype(int)
    bottom, right = top + cutout.shape[0], left + cutout.shape[1]
    pixels = image[top:bottom:2, left:right:2][cutout[::2, ::2]]  # a quarter of them says as much
    return np.median(pixels, axis=0) if len(pixels) else np.zeros(image.shape[2])


def _see(track: _Track, cutout: np.ndarray, corner: np.ndarray, area: float, colour: np.ndarray) -> None:
    """Corrects a track by a mask that is taken for its object.

    What is seen in part says neither shape nor speed, but it lies inside of the whole.
    """
    if area >= WHOLE * track.area:
        missed = centre_of(cutout, corner)[0] - centre_of(track.cutout, track.corner)[0]  # by how much the expectation was off
        gain = 1.0 if track.frames == 1 else GAIN
        track.speed = track.speed + gain * missed / track.unseen
        track.cutout, track.corner = cutout, corner
    else:
        before = np.minimum(corner - track.corner, 0)  # by how much it reaches out to the left and above …
        behind = np.maximum(
            corner + cutout.shape[::-1] - track.corner - track.cutout.shape[::-1], 0
        )  # … to the right and below
        track.corner = track.corner + before + behind
    track.area = max(area, FORGET * track.area)
    track.colour = track.colour + GAIN * (colour - track.colour)
    track.frames += 1
    track.unseen = 0
