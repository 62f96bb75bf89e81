"""Tracks in the layout of the Cell Tracking Challenge."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maskrcnn.atomic import write_whole
from maskrcnn.results.tracks.mot import apart, shown_ids
from maskrcnn.structures import Detections, VideoFrame


class CellTracking:
    """Cell Tracking Challenge, a result: label TIFFs, and for each label its first and last frame and its parent, 0 for none.

    Frames are counted from 0 without gaps, whatever part of the video is looked at (Ulman et al. 2017; the challenge's naming
    and content conventions). A label is in every frame from its first to its last, so an object that was not seen for a while
    goes on as a new label, the only child of the one before.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for old in (*folder.glob("mask*.tif"), *folder.glob("res_track.txt")):  # of a longer video, say
            old.unlink()
        self._count = 0
        self._spans: dict[int, tuple[int, int, int]] = {}  # of each label: first and last frame, parent
        self._latest: dict[int, int] = {}  # label of each track

    def write(self, frame: VideoFrame, detections: Detections) -> None:
        import tifffile

        ids = shown_ids(detections)
        spans: dict[int, tuple[int, int, int]] = {}
        latest: dict[int, int] = {}
        labels = np.zeros(detections.size, np.uint16)
        for row, mask, (left, top) in apart(detections):
            label = self._latest.get(ids[row], 0)
            first, last, parent = self._spans.get(label, (0, -2, 0))
            if last != self._count - 1:
                first, parent, label = self._count, label, len(self._spans.keys() | spans) + 1
            spans[label], latest[ids[row]] = (first, self._count, parent), label
            if label > 65535:
                raise ValueError("Cell Tracking Challenge files count up to 65535 tracks, and there are more. Leave out ctc.")
            labels[top : top + mask.shape[0], left : left + mask.shape[1]][mask] = label
        write_whole(self._mask(self._count), lambda file: tifffile.imwrite(file, labels, compression="zlib", metadata=None))
        self._spans |= spans
        self._latest |= latest
        self._count += 1

    def _mask(self, number: int) -> Path:
        return self._folder / f"mask{number:03d}.tif"

    def close(self) -> None:
        self._mask(self._count).unlink(missing_ok=True)  # of a frame that was broken off
        spans = {label: span for label, span in self._spans.items() if span[0] < self._count}
        lines = [f"{label} {first} {min(last, self._count - 1)} {parent}\n" for label, (first, last, parent) in spans.items()]
        write_whole(self._folder / "res_track.txt", lambda file: file.write("".join(lines).encode()))
