"""Gives detections ids that stay from frame to frame, whichever way of association is chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np

from maskrcnn.structures import Detections
from maskrcnn.tracking.boxes import BOX_TRACKERS, BoxTracker
from maskrcnn.tracking.masks import MaskTracker

TRACKERS = ("mask", *BOX_TRACKERS)
WEAK = 0.1  # the least score of what may carry a track on: ByteTrack (Zhang et al. 2022), section 4.1


class Association(Protocol):
    """One way to follow objects of one class."""

    def update(self, detections: Detections, image: np.ndarray) -> np.ndarray:
        """(N,) int64: a number from 0 for each detection that is part of a track, else -1."""


class Tracker:
    """Follows the objects of a video, those of each class apart.

    Ids are counted from 1 in the order in which objects appear, over all classes.

    Args:
        name: one of `TRACKERS`: by masks, or by boxes as ByteTrack, BoT-SORT, OC-SORT and SORT do.
        score: the least score with which a track begins. Weaker detections, down to `WEAK`, only carry tracks on.
        lost: frames for which a track that is not seen is remembered.

    Raises:
        ValueError: for another name, or numbers out of their range.
        ImportError: for a tracker by boxes, where their library is not installed.
    """

    def __init__(self, name: str = "mask", *, score: float = 0.5, lost: int = 30) -> None:
        if name not in TRACKERS:
            raise ValueError(f"A tracker is one of {', '.join(TRACKERS)}; received {name!r}.")
        if not 0 < score <= 1 or lost < 0:
            raise ValueError(f"score is above 0 and at most 1, lost at least 0 frames; received {score} and {lost}.")
        self.name, self.score, self.lost = name, score, lost
        self._by_class: dict[int, Association] = {}
        self._ids: dict[tuple[int, int], int] = {}
        self._associate()  # so that a missing library is told at once

    @property
    def weakest(self) -> float:
        """The least score of the detections that `update` has use for."""
        return min(WEAK, self.score)

    def update(self, detections: Detections, image: np.ndarray) -> Detections:
        """The detections of the next frame that are part of a track, with their ids.

        Args:
            detections: what was found in it, from the score `weakest` up.
            image: (H, W, 3) uint8 RGB, the frame.
        """
        ids = np.full(len(detections), -1, np.int64)
        for label in sorted({*self._by_class, *detections.labels.tolist()}):
            if label not in self._by_class:
                self._by_class[label] = self._associate()
            rows = np.flatnonzero(detections.labels == label)
            numbers = self._by_class[label].update(detections[rows], image)
            for row, number in zip(rows, numbers.tolist()):
                if number >= 0:
                    ids[row] = self._ids.setdefault((label, number), len(self._ids) + 1)
        return replace(detections, track_ids=ids)[ids > 0]

    def _associate(self) -> Association:
        if self.name == "mask":
            return MaskTracker(score=self.score, lost=self.lost)
        return BoxTracker(self.name, score=self.score, lost=self.lost)
