"""Tracks as tables: positions frame by frame, and a summary of each."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskrcnn.atomic import write_whole
from maskrcnn.geometry import masks as mask_geometry
from maskrcnn.results.tracks.mot import Rows, shown_ids
from maskrcnn.structures import Detections, VideoFrame


class Positions(Rows):
    """A row for each frame and track: where it is, how large. x and y are the middle of the mask."""

    HEAD = "frame,time,track,class,score,x,y,area,left,top,right,bottom"

    def __init__(self, path: Path) -> None:
        super().__init__(path, self.HEAD + "\n")

    def write(self, frame: VideoFrame, detections: Detections) -> None:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        for row, (number, (x, y), area) in enumerate(_measured(detections)):
            box = [f"{value:.2f}" for value in detections.boxes[row].tolist()]
            where = [f"{x:.2f}", f"{y:.2f}", area]
            score = f"{detections.scores[row]:.4f}"
            table.writerow([frame.number, f"{frame.time:.4f}", number, _name(detections, row), score, *where, *box])
        self.append(text.getvalue())


@dataclass
class _Path:
    """What is kept of a track while it goes on."""

    name: str
    first_frame: int
    first_time: float
    first: np.ndarray  # x, y
    last_frame: int
    last_time: float
    last: np.ndarray
    frames: int = 0
    way: float = 0.0  # pixels
    area: float = 0.0  # sum over its frames
    smallest: int = 2**62
    largest: int = 0
    score: float = 0.0  # sum over its frames


class Summary:
    """A row a track: first and last frame, positions, areas and speed. Frames from 0, pixels, seconds."""

    HEAD = (
        "track,class,frames,first_frame,last_frame,first_time,last_time,first_x,first_y,last_x,last_y,"
        "mean_area,smallest_area,largest_area,path_length,mean_speed,mean_score"
    )

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tracks: dict[int, _Path] = {}

    def write(self, frame: VideoFrame, detections: Detections) -> None:
        for row, (number, place, area) in enumerate(_measured(detections)):
            path = self._tracks.get(number)
            if path is None:
                now = (frame.number, frame.time, place)
                path = self._tracks[number] = _Path(_name(detections, row), *now, *now)
            path.way += float(np.hypot(*(place - path.last)))
            path.last_frame, path.last_time, path.last = frame.number, frame.time, place
            path.frames += 1
            path.area += area
            path.smallest, path.largest = min(path.smallest, area), max(path.largest, area)
            path.score += float(detections.scores[row])

    def close(self) -> None:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(self.HEAD.split(","))
        for number, path in sorted(self._tracks.items()):
            seconds = path.last_time - path.first_time
            speed = f"{path.way / seconds:.3f}" if seconds > 0 else ""
            times = [f"{path.first_time:.4f}", f"{path.last_time:.4f}"]
            places = [f"{value:.2f}" for value in (*path.first, *path.last)]
            areas = [f"{path.area / path.frames:.1f}", path.smallest, path.largest]
            span = [path.frames, path.first_frame, path.last_frame]
            table.writerow(
                [number, path.name, *span, *times, *places, *areas, f"{path.way:.2f}", speed, f"{path.score / path.frames:.4f}"]
            )
        write_whole(self._path, lambda file: file.write(text.getvalue().encode()))


def _name(detections: Detections, row: int) -> str:
    return detections.class_names[detections.labels[row]] if detections.class_names else str(detections.labels[row])


def _measured(detections: Detections) -> Iterator[tuple[int, np.ndarray, int]]:
    """Id, middle (x, y) and area of each detection's mask; an empty mask is in the middle of its box."""
    for number, box, (cutout, corner) in zip(shown_ids(detections), detections.boxes, detections.cutouts()):
        middle, area = mask_geometry.centre_of(cutout, corner)
        yield number, middle if area else (box[:2] + box[2:]) / 2, area
