"""The files of a tracked video: MOT and MOTS text, COCO-video JSON, CSV tables, Cell Tracking Challenge folders, an overlay.

All are written frame by frame. However the video ends, each file is whole up to the last frame that was done, and has its name
only then. What a format gathers by track waits in a temporary database on disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Protocol

from maskrcnn.config.model import Category
from maskrcnn.results.tracks.cell_tracking import CellTracking
from maskrcnn.results.tracks.coco_video import CocoVideo
from maskrcnn.results.tracks.mot import Mot, Mots
from maskrcnn.results.tracks.overlay import OverlayWriter, find_encoders
from maskrcnn.results.tracks.tables import Positions, Summary
from maskrcnn.structures import Detections, VideoFrame

TRACK_FORMATS = ("overlay", "mot", "mots", "json", "csv", "ctc")
DEFAULT_FORMATS = ("overlay", "mot", "mots", "json", "csv")


def check_track_formats(save: Sequence[str], codec: str | None = None) -> None:
    """Whether tracks can be saved so, before the first frame is read.

    Raises:
        ValueError: for a format that is none of `TRACK_FORMATS`, or a codec of the overlay that is none or cannot be written.
        ImportError: for an overlay, where PyAV is not installed.
    """
    unknown = sorted(set(save) - set(TRACK_FORMATS))
    if unknown:
        raise ValueError(f"What a tracked video can be saved as is {', '.join(TRACK_FORMATS)}; received {unknown[0]!r}.")
    if "overlay" in save:
        find_encoders(codec)
    elif codec is not None:
        raise ValueError(f"A codec is of the overlay; received {codec!r} without it. Save overlay too, or leave the codec out.")


class _Writer(Protocol):
    def write(self, frame: VideoFrame, detections: Detections) -> None: ...
    def close(self) -> None: ...


class TrackWriter:
    """Writes a folder of results of a tracked video, and holds no frames.

    | in `save` | file | what |
    |---|---|---|
    | overlay | `overlay.mp4` | masks, ids in colors of their own, trails |
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
        codec: of the overlay, see `OverlayWriter`.

    Raises:
        ValueError, ImportError: as `check_track_formats`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        categories: Sequence[Category],
        *,
        rate: float,
        name: str = "video",
        save: Sequence[str] = DEFAULT_FORMATS,
        codec: str | None = None,
    ) -> None:
        check_track_formats(save, codec)
        self.folder = Path(folder)
        makers: tuple[tuple[str, str, Callable[[Path], _Writer]], ...] = (
            ("overlay", "overlay.mp4", lambda path: OverlayWriter(path, rate=rate, codec=codec)),
            ("mot", "mot.txt", Mot),
            ("mots", "mots.txt", lambda path: Mots(path, categories)),
            ("json", "tracks.json", lambda path: CocoVideo(path, categories, name)),
            ("csv", "positions.csv", Positions),
            ("csv", "tracks.csv", Summary),
            ("ctc", "ctc", CellTracking),
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

    def write(self, frame: VideoFrame, detections: Detections) -> None:
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
