"""The files of a tracked video: MOT and MOTS text, COCO-video JSON, CSV tables, Cell Tracking Challenge folders, an overlay.

All are written frame by frame. However the video ends, each file is whole up to the last frame that was done, and has its name
only then. What a format gathers by track waits in a temporary database on disk.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np

from maskrcnn.config import Category
from maskrcnn.geometry import masks as mask_geometry
from maskrcnn.results.video import OverlayWriter
from maskrcnn.results.whole import part_of, write_whole
from maskrcnn.structures import Detections, Frame

TRACK_FORMATS = ("overlay", "mot", "mots", "json", "csv", "ctc")
DEFAULT_FORMATS = ("overlay", "mot", "mots", "json", "csv")


class _Writer(Protocol):
    def write(self, frame: Frame, detections: Detections) -> None: ...
    def close(self) -> None: ...


class TrackWriter:
    """Writes a folder of results of a tracked video, and holds no frames.

    | in `save` | file | what |
    |---|---|---|
    | overlay | `overlay.mp4` | masks, ids in colours of their own, trails |
    | mot | `mot.txt` | MOT Challenge: frame and pixel counted from 1 |
    | mots | `mots.txt` | MOTS: masks as RLE, no pixel in two of them |
    | json | `tracks.json` | COCO-video, as YouTube-VIS has it: for each track its masks, null where it is not seen |
    | csv | `tracks.csv`, `positions.csv` | a row a track; a row for each frame and track |
    | ctc | `ctc/` | Cell Tracking Challenge: label TIFFs `mask000.tif`, … and `res_track.txt` |

    Of an earlier run's files in the folder, those that are written again are replaced; the others go to `earlier/1/`, or the
    next free number.

    Example:
        with TrackWriter("found", model.config.categories, rate=25) as writer:
            for frame, detections in track_frames(model, "street.mp4"):
                writer.write(frame, detections)

    Args:
        folder: made where it is not there.
        categories: what the detections' labels mean.
        rate: frames a second, on average.
        name: of the video, in the JSON.
        save: some of `TRACK_FORMATS`.

    Raises:
        ValueError: for a format that is none of them.
        ImportError: for an overlay, where PyAV is not installed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        categories: Sequence[Category],
        *,
        rate: float,
        name: str = "video",
        save: Sequence[str] = DEFAULT_FORMATS,
    ) -> None:
        unknown = sorted(set(save) - set(TRACK_FORMATS))
        if unknown:
            raise ValueError(f"What a tracked video can be saved as is {', '.join(TRACK_FORMATS)}; received {unknown[0]!r}.")
        self.folder = Path(folder)
        makers: tuple[tuple[str, str, Callable[[Path], _Writer]], ...] = (
            ("overlay", "overlay.mp4", lambda path: OverlayWriter(path, rate=rate)),
            ("mot", "mot.txt", _Mot),
            ("mots", "mots.txt", lambda path: _Mots(path, categories)),
            ("json", "tracks.json", lambda path: _CocoVideo(path, categories, name)),
            ("csv", "positions.csv", _Positions),
            ("csv", "tracks.csv", _Summary),
            ("ctc", "ctc", _CellTracking),
        )
        self._makers = [(make, self.folder / file) for wanted, file, make in makers if wanted in save]
        self._others = [self.folder / file for wanted, file, _ in makers if wanted not in save]
        self._writers: list[_Writer] = []
        self._closing = ExitStack()

    def __enter__(self) -> TrackWriter:
        self.folder.mkdir(parents=True, exist_ok=True)
        for make, path in self._makers:
            writer = make(path)
            self._writers.append(writer)
            self._closing.callback(writer.close)
        self._closing.callback(self._set_aside)  # before the files get their names
        return self

    def write(self, frame: Frame, detections: Detections) -> None:
        """Writes one frame's tracks.

        Raises:
            ValueError: for detections without `track_ids`.
        """
        if detections.track_ids is None:
            raise ValueError("Tracks have ids; received Detections whose track_ids are None. maskrcnn.track gives them.")
        for writer in self._writers:
            writer.write(frame, detections)

    def _set_aside(self) -> None:
        """Files of an earlier run that this one does not write: beside its own nothing would tell whose they are."""
        earlier = [path for path in self._others if path.exists()]
        if earlier:
            place = next(place for k in count(1) if not (place := self.folder / f"earlier/{k}").exists())
            place.mkdir(parents=True)
            for path in earlier:
                path.rename(place / path.name)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closing.close()


def apart(detections: Detections) -> Iterator[tuple[int, np.ndarray, tuple[int, int]]]:
    """Row, mask in its window, and the window's corner (left, top), best first: a pixel in several masks is the best one's.

    Detections of which nothing is left are left out.
    """
    taken = np.zeros(detections.size, bool)
    windows = list(detections.windows())
    for row in np.argsort(-detections.scores, kind="stable").tolist():
        window, (left, top) = windows[row]
        below = taken[top : top + window.shape[0], left : left + window.shape[1]]
        mask = window & ~below
        below |= window
        if mask.any():
            yield row, mask, (left, top)


class _Rows:
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


class _Mot(_Rows):
    """frame, id, left, top, width, height, score, -1, -1, -1; all from 1 (MOTChallenge 2015, section 3.3)."""

    def write(self, frame: Frame, detections: Detections) -> None:
        lines = []
        for number, (left, top, right, bottom), score in zip(_ids(detections), detections.boxes.tolist(), detections.scores):
            box = (left + 1, top + 1, right - left, bottom - top)
            lines.append(f"{frame.number + 1},{number},{','.join(f'{value:.2f}' for value in box)},{score:.4f},-1,-1,-1\n")
        self.append("".join(lines))


class _Mots(_Rows):
    """frame id class height width RLE (Voigtlaender et al. 2019); frames from 1, classes by category id."""

    def __init__(self, path: Path, categories: Sequence[Category]) -> None:
        super().__init__(path)
        self._categories = categories

    def write(self, frame: Frame, detections: Detections) -> None:
        lines, ids = [], _ids(detections)
        height, width = detections.size
        for row, mask, corner in apart(detections):
            counts = mask_geometry.rle_to_json(mask_geometry.window_rle(mask, corner, detections.size))["counts"]
            category = self._categories[detections.labels[row]].id
            lines.append(f"{frame.number + 1} {ids[row]} {category} {height} {width} {counts}\n")
        self.append("".join(lines))


class _Positions(_Rows):
    """A row for each frame and track: where it is, how large. x and y are the middle of the mask."""

    HEAD = "frame,time,track,class,score,x,y,area,left,top,right,bottom"

    def __init__(self, path: Path) -> None:
        super().__init__(path, self.HEAD + "\n")

    def write(self, frame: Frame, detections: Detections) -> None:
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


class _Summary:
    """A row a track: first and last frame, positions, areas and speed. Frames from 0, pixels, seconds."""

    HEAD = (
        "track,class,frames,first_frame,last_frame,first_time,last_time,first_x,first_y,last_x,last_y,"
        "mean_area,smallest_area,largest_area,path_length,mean_speed,mean_score"
    )

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tracks: dict[int, _Path] = {}

    def write(self, frame: Frame, detections: Detections) -> None:
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


class _CellTracking:
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

    def write(self, frame: Frame, detections: Detections) -> None:
        import tifffile

        ids = _ids(detections)
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


class _CocoVideo:
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

    def write(self, frame: Frame, detections: Detections) -> None:
        boxes = detections.boxes.tolist()
        rows = [
            (
                number,
                self._count,
                self._categories[detections.labels[row]].id,
                float(detections.scores[row]),
                mask_geometry.rle_area(rle),
                json.dumps([left, top, right - left, bottom - top]),
                json.dumps(mask_geometry.rle_to_json(rle)),
            )
            for row, (number, rle, (left, top, right, bottom)) in enumerate(zip(_ids(detections), detections.rle(), boxes))
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


def _ids(detections: Detections) -> list[int]:
    assert detections.track_ids is not None
    return [int(number) for number in detections.track_ids]


def _name(detections: Detections, row: int) -> str:
    return detections.class_names[detections.labels[row]] if detections.class_names else str(detections.labels[row])


def _measured(detections: Detections) -> Iterator[tuple[int, np.ndarray, int]]:
    """Id, middle (x, y) and area of each detection's mask; an empty mask is in the middle of its box."""
    for number, box, (window, corner) in zip(_ids(detections), detections.boxes, detections.windows()):
        middle, area = mask_geometry.centre_of(window, corner)
        yield number, middle if area else (box[:2] + box[2:]) / 2, area
