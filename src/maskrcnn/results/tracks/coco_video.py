"""Tracks as COCO-style video results."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from maskrcnn.atomic import part_of, write_whole
from maskrcnn.config.model import Category
from maskrcnn.geometry.rle import rle_area, rle_to_json
from maskrcnn.results.tracks.mot import shown_ids
from maskrcnn.structures import Detections, VideoFrame


class CocoVideo:
    """COCO-video: as YouTube-VIS (Yang et al. 2019), with `track_id`, `score`, and times and indices of the frames beside."""

    def __init__(self, path: Path, categories: Sequence[Category], name: str) -> None:
        self._path, self._categories, self._name = path, categories, name
        self._waiting = part_of(path.with_suffix(".rows"))
        self._waiting.unlink(missing_ok=True)
        self._rows = sqlite3.connect(self._waiting, isolation_level=None)
        self._rows.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
            "CREATE TABLE frames (number INTEGER PRIMARY KEY, frame INTEGER, time REAL, file TEXT, "
            "height INTEGER, width INTEGER);"
            "CREATE TABLE rows (track INTEGER, number INTEGER, category INTEGER, score REAL, area INTEGER, box TEXT, mask TEXT,"
            "PRIMARY KEY (track, number)) WITHOUT ROWID;"
        )
        self._count = 0

    def write(self, frame: VideoFrame, detections: Detections) -> None:
        boxes = detections.boxes.tolist()
        rows = [
            (
                number,
                self._count,
                self._categories[detections.labels[row]].id,
                float(detections.scores[row]),
                rle_area(rle),
                json.dumps([left, top, right - left, bottom - top]),
                json.dumps(rle_to_json(rle)),
            )
            for row, (number, rle, (left, top, right, bottom)) in enumerate(zip(shown_ids(detections), detections.rle(), boxes))
        ]
        file = f"{self._name}/{frame.number:06d}" if frame.path is None else Path(frame.path).as_posix()
        self._rows.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self._rows.execute(
            "INSERT INTO frames VALUES (?, ?, ?, ?, ?, ?)", (self._count, frame.number, frame.time, file, *detections.size)
        )
        self._count += 1  # rows whose frame is not there were broken off

    def close(self) -> None:
        write_whole(self._path, lambda file: file.writelines(text.encode() for text in self._json()))
        self._rows.close()
        self._waiting.unlink(missing_ok=True)

    def _json(self) -> Iterator[str]:
        frames = self._rows.execute("SELECT frame, time, file, height, width FROM frames ORDER BY number").fetchall()
        height, width = frames[0][3:] if frames else (0, 0)
        video = {"id": 1, "name": self._name, "width": width, "height": height, "length": len(frames)}
        video |= dict(zip(("frames", "times", "file_names"), map(list, zip(*(row[:3] for row in frames))))) if frames else {}
        categories = [{"id": category.id, "name": category.name} for category in self._categories]
        yield f'{{"videos": [{json.dumps(video)}],\n"categories": {json.dumps(categories)},\n"annotations": ['
        about = "SELECT track, MIN(category), AVG(score) FROM rows WHERE number < ? GROUP BY track ORDER BY track"
        for place, (track, category, score) in enumerate(self._rows.execute(about, (len(frames),)).fetchall()):
            fields = {"id": place + 1, "video_id": 1, "track_id": track, "category_id": category, "score": score, "iscrowd": 0}
            fields |= {"width": width, "height": height, "length": len(frames)}
            yield (",\n" if place else "\n") + json.dumps(fields)[:-1]
            for name, column in (("segmentations", "mask"), ("bboxes", "box"), ("areas", "area")):
                yield f', "{name}": ['
                yield from self._column(column, track, len(frames))
                yield "]"
            yield "}"
        yield "\n]}\n"

    def _column(self, column: str, track: int, length: int) -> Iterator[str]:
        place = 0
        rows = self._rows.execute(
            f"SELECT number, {column} FROM rows WHERE track = ? AND number < ? ORDER BY number", (track, length)
        )
        for number, value in rows:
            yield from (("null" if k == 0 else ", null") for k in range(place, number))
            yield (", " if number else "") + str(value)
            place = number + 1
        yield from (", null" for _ in range(place, length))
