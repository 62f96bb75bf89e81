"""Which image to correct next: where the model is unsure, and which is unlike what was corrected so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

_SIDE = 6  # cells of a reduced image, a side
_BINS = 8  # of its gray values


class Candidate(NamedTuple):
    """An image that waits."""

    id: int
    scores: Sequence[float]  # of what the model found in it
    features: Sequence[float]


class Suggestion(NamedTuple):
    """An image and why it is worth a person's time."""

    id: int
    why: str


def features_of(image: np.ndarray) -> list[float]:
    """What tells an image (H, W, C) uint8 from others: how light it is where, and how its values are spread."""
    grey = image.mean(axis=2).astype(np.float32) / 255
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    spread, _ = np.histogram(grey, _BINS, (0, 1))
    return [round(float(value), 4) for value in (*small.ravel() / _SIDE, *np.sqrt(spread / grey.size))]


def uncertainty(scores: Sequence[float]) -> float:
    """How many of an image's objects the model is unsure of: 1 for each score of 0.5, 0 for scores of 0 and 1."""
    return float(sum(1 - abs(2 * score - 1) for score in scores))


def order(waiting: Sequence[Candidate], done: Sequence[Sequence[float]]) -> list[Suggestion]:
    """The images that wait, the most helpful first: half by uncertainty, half by distance from all images before them.

    Farthest-first: each image that is put into the order counts as done for those after it (k-center greedy, Sener and Savarese
    2018).

    Args:
        waiting: candidates.
        done: features of the images that were corrected.
    """
    if not waiting:
        return []
    features = np.array([candidate.features for candidate in waiting], np.float64)  # (N, F)
    unsure = np.array([uncertainty(candidate.scores) for candidate in waiting])
    seen = np.array(done, np.float64).reshape(-1, features.shape[1])
    nearest = (
        np.linalg.norm(features[:, None] - seen, axis=2).min(axis=1) if len(seen) else np.full(len(waiting), np.inf)
    )  # (N,) distance to the most similar image that is done
    scale = max(float(np.linalg.norm(features - features.mean(axis=0), axis=1).mean()), 1e-9)
    left, suggestions = list(range(len(waiting))), []
    while left:
        rank = unsure[left] / max(float(unsure.max()), 1e-9) + np.minimum(nearest[left] / scale, 2) / 2
        best = left.pop(int(np.argmax(rank)))
        suggestions.append(Suggestion(waiting[best].id, _why(waiting[best], nearest[best] / scale)))
        nearest = np.minimum(nearest, np.linalg.norm(features - features[best], axis=1))
    return suggestions


def _why(candidate: Candidate, distance: float) -> str:
    unsure = sum(0.25 <= score <= 0.75 for score in candidate.scores)
    parts = [f"{unsure} unsure object{'s' if unsure != 1 else ''}"] if unsure else []
    if distance > 1:
        parts.append("unlike the images done so far")
    return ", ".join(parts) or "the model is sure of it"
