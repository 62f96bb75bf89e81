"""Gives detections ids that stay from frame to frame, whichever way of association is chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np

from maskrcnn.geometry.masks import shared_pixels
from maskrcnn.structures import Detections
from maskrcnn.tracking.boxes import BOX_TRACKERS, BoxTracker
from maskrcnn.tracking.masks import MaskTracker

TRACKERS = ("mask", *BOX_TRACKERS)
WEAK = 0.3  # the least score of what may carry a track on; ByteTrack's 0.1 is for detectors without second opinions
FADING = 0.9  # of a belief, a frame
DOUBLE = 0.5  # IoU of two masks, of whatever classes, from where on they are one object: half of their pixels
THERE = 0.3  # IoU from where on an object may be the one that was there in the last frame


class Association(Protocol):
    """One way to follow objects of one class."""

    def update(self, detections: Detections, image: np.ndarray) -> np.ndarray:
        """(N,) int64: a number from 0 for each detection that is part of a track, else -1."""


class Tracker:
    """Follows the objects of a video, those of each class apart.

    Ids are counted from 1 in the order in which objects appear, over all classes.

    Args:
        name: one of `TRACKERS`: by masks, or by boxes as ByteTrack, BoT-SORT, OC-SORT and SORT do.
        score: the least score with which a track begins, of all classes or (K,) of each. Weaker detections, down to `WEAK`,
            only carry tracks on.
        lost: frames for which a track that is not seen is remembered.

    Raises:
        ValueError: for another name, or numbers out of their range.
        ImportError: for a tracker by boxes, where their library is not installed.
    """

    def __init__(self, name: str = "mask", *, score: float | np.ndarray = 0.5, lost: int = 30) -> None:
        if name not in TRACKERS:
            raise ValueError(f"A tracker is one of {', '.join(TRACKERS)}; received {name!r}.")
        if not (np.all(np.greater(score, 0)) and np.all(np.less_equal(score, 1))) or lost < 0:
            raise ValueError(f"score is above 0 and at most 1, lost at least 0 frames; received {score} and {lost}.")
        self.name, self.score, self.lost = name, score, lost
        self._by_class: dict[int, Association] = {}
        self._ids: dict[tuple[int, int], int] = {}  # by class and number
        self._opinions: tuple[Detections, np.ndarray] | None = None  # of the last frame, and how much each was believed
        self._associate(0)  # so that a missing library is told at once

    @property
    def weakest(self) -> float:
        """The least score of the detections that `update` has use for."""
        return min(WEAK, float(np.min(self.score)))

    def update(self, detections: Detections, image: np.ndarray) -> Detections:
        """The detections of the next frame that are part of a track, with their ids.

        Args:
            detections: what was found in it, from the score `weakest` up.
            image: (H, W, 3) uint8 RGB, the frame.
        """
        if isinstance(self.score, np.ndarray):  # what is too weak for its own class
            detections = detections[detections.scores >= np.minimum(WEAK, self.score)[detections.labels]]
        whole = _with_bitmaps(detections)
        kept = _once(whole, self._weigh(whole))
        detections, whole = detections[kept], whole[kept]
        keys = [(-1, -1)] * len(detections)
        for label in sorted({*self._by_class, *detections.labels.tolist()}):
            if label not in self._by_class:
                self._by_class[label] = self._associate(label)
            rows = np.flatnonzero(detections.labels == label)
            for row, number in zip(rows, self._by_class[label].update(whole[rows], image).tolist()):
                keys[row] = (label, number)
        rows = np.flatnonzero([number >= 0 for _, number in keys])
        ids = [self._ids.setdefault(keys[row], len(self._ids) + 1) for row in rows]
        return replace(detections[rows], track_ids=np.array(ids, np.int64))

    def _weigh(self, detections: Detections) -> np.ndarray:
        """(N,) how sure it is by now that each is of its class: the mean of the scores at its place, late ones most."""
        before = np.zeros(len(detections))
        if self._opinions is not None:
            opinions, believed = self._opinions
            same = (_iou(detections, opinions) > THERE) & (detections.labels[:, None] == opinions.labels)
            before = (same * believed).max(axis=1, initial=0.0)
        beliefs = FADING * before + (1 - FADING) * detections.scores
        self._opinions = detections, beliefs
        return beliefs

    def _associate(self, label: int) -> Association:
        score = float(self.score[label]) if isinstance(self.score, np.ndarray) else self.score
        if self.name == "mask":
            return MaskTracker(score=score, lost=self.lost)
        return BoxTracker(self.name, score=score, lost=self.lost)


def _with_bitmaps(detections: Detections) -> Detections:
    """The same with the masks pasted: they are asked for more than once."""
    cutouts = list(detections.cutouts())
    corners = np.array([corner for _, corner in cutouts], int).reshape(-1, 2)
    return replace(detections, bitmaps=[cutout for cutout, _ in cutouts], corners=corners)


def _once(detections: Detections, beliefs: np.ndarray) -> np.ndarray:
    """(N,) bool: those that are not a second opinion on the class of an object of which another one is believed.

    A model removes doubles class by class, and which class has the higher score may change from frame to frame. A second
    opinion on what hides an object would take that object's track with it.
    """
    same = _iou(detections, detections) > DOUBLE
    keep = np.ones(len(detections), bool)
    for row in np.argsort(-beliefs, kind="stable"):
        if keep[row]:
            keep &= ~same[row] | (np.arange(len(keep)) == row)
    return keep


def _iou(first: Detections, second: Detections) -> np.ndarray:
    """(N, M) of masks."""
    cutouts = list(first.cutouts()), list(second.cutouts())
    one, other = (np.array([np.count_nonzero(cutout) for cutout, _ in each], float) for each in cutouts)
    shared = shared_pixels(*cutouts)
    return shared / np.maximum(one[:, None] + other - shared, 1)
