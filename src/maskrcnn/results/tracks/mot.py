"""Tracks in the formats of the MOT and MOTS challenges."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from maskrcnn.atomic import part_of
from maskrcnn.config.model import Category
from maskrcnn.geometry import rle
from maskrcnn.structures import Detections, VideoFrame


def apart(detections: Detections) -> Iterator[tuple[int, np.ndarray, tuple[int, int]]]:
    """Row, mask in its cutout, and the cutout's corner (left, top), best first: a pixel in several masks is the best one's.

    Detections of which nothing is left are left out.
    """
    taken = np.zeros(detections.size, bool)
    cutouts = list(detections.cutouts())
    for row in np.argsort(-detections.scores, kind="stable").tolist():
        cutout, (left, top) = cutouts[row]
        below = taken[top : top + cutout.shape[0], left : left + cutout.shape[1]]
        mask = cutout & ~below
        below |= cutout
        if mask.any():
            yield row, mask, (left, top)


class Rows:
    """A text file whose frames are whole: what was broken off in the middle of one goes when it is closed."""

    def __init__(self, path: Path, head: str = "") -> None:
        self._path, self._part = path, part_of(path)
        self._file = open(self._part, "wb")  # noqa: SIM115
        self.append(head)

    def append(self, text: str) -> None:
        self._file.write(text.encode())
        self._file.flush()
        self._end = self._file.tell()

    def close(self) -> None:
        self._file.truncate(self._end)
        self._file.close()
        os.replace(self._part, self._path)


class Mot(Rows):
    """frame, id, left, top, width, height, score, -1, -1, -1; all from 1 (MOTChallenge 2015, section 3.3)."""

    def write(self, frame: VideoFrame, detections: Detections) -> None:
        lines = []
        for number, (left, top, right, bottom), score in zip(
            shown_ids(detections), detections.boxes.tolist(), detections.scores
        ):
            box = (left + 1, top + 1, right - left, bottom - top)
            lines.append(f"{frame.number + 1},{number},{','.join(f'{value:.2f}' for value in box)},{score:.4f},-1,-1,-1\n")
        self.append("".join(lines))


class Mots(Rows):
    """frame id class height width RLE (Voigtlaender et al. 2019); frames from 1, classes by category id."""

    def __init__(self, path: Path, categories: Sequence[Category]) -> None:
        super().__init__(path)
        self._categories = categories

    def write(self, frame: VideoFrame, detections: Detections) -> None:
        lines, ids = [], shown_ids(detections)
        height, width = detections.size
        for row, mask, corner in apart(detections):
            counts = rle.rle_to_json(rle.cutout_rle(mask, corner, detections.size))["counts"]
            category = self._categories[detections.labels[row]].id
            lines.append(f"{frame.number + 1} {ids[row]} {category} {height} {width} {counts}\n")
        self.append("".join(lines))


def shown_ids(detections: Detections) -> list[int]:
    assert detections.track_ids is not None
    return [int(number) for number in detections.track_ids]
