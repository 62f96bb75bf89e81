"""Association by boxes: the trackers of the library `trackers` behind one door."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from maskrcnn import extras
from maskrcnn.structures import Detections

BOX_TRACKERS = {
    "bytetrack": "ByteTrackTracker",  # Zhang et al. 2022
    "botsort": "BoTSORTTracker",  # Aharon et al. 2022; makes up for the camera's motion
    "ocsort": "OCSORTTracker",  # Cao et al. 2023
    "sort": "SORTTracker",  # Bewley et al. 2016
}
LIBRARY_RATE = 30.0  # frames a second by which the library counts its memory: at this rate in frames


class BoxTracker:
    """One class's tracker of the library.

    Args:
        name: one of `BOX_TRACKERS`.
        score: the least score with which a track begins; of those trackers that know two kinds of detections, weak and strong,
            also where the strong ones start.
        lost: frames for which a track that is not seen is remembered.
    """

    def __init__(self, name: str, *, score: float, lost: int) -> None:
        why = f'The tracker "{name}" needs trackers'
        library = extras.load("trackers", extra="tracking", why=why)
        self._detections = extras.load("supervision", extra="tracking", why=why).Detections
        tracker = getattr(library, BOX_TRACKERS[name])
        wanted = {
            "lost_track_buffer": lost,
            "frame_rate": LIBRARY_RATE,
            "track_activation_threshold": score,
            "high_conf_det_threshold": score,
        }
        known = inspect.signature(tracker).parameters
        self._tracker = tracker(**{key: value for key, value in wanted.items() if key in known})
        self._looks = name == "botsort"  # the others warn where they are shown the frame

    def update(self, detections: Detections, image: np.ndarray) -> np.ndarray:
        """(N,) int64: a number from 0 for each detection that is part of a track, else -1."""
        given = self._detections(
            xyxy=detections.boxes.astype(np.float64).reshape(-1, 4),
            confidence=detections.scores.astype(np.float64),
            class_id=np.zeros(len(detections), int),
            data={"row": np.arange(len(detections))},
        )
        blue_first = [2, 1, 0] if image.shape[2] >= 3 else [0, 0, 0]
        shown: dict[str, Any] = {"frame": np.ascontiguousarray(image[:, :, blue_first])} if self._looks else {}
        answer = self._tracker.update(given, **shown)
        numbers = np.full(len(detections), -1, np.int64)
        if len(answer):  # empty answers have lost their rows
            numbers[answer.data["row"]] = answer.tracker_id
        return numbers
