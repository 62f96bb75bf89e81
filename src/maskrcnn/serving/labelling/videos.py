"""Videos of a project: what the model followed, and the identities that people corrected.

The tracks lie in the project's folder as the server told them, a line of JSON a frame. Nothing changes them: a correction is a
row of the database, with its author and its time, and corrected tracks are those of the file with all corrections applied. A
correction names how many there were when it was made; where another came in between, it is refused.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maskrcnn.atomic import write_whole
from maskrcnn.config.model import Category
from maskrcnn.geometry.rle import rle_area, rle_from_json, rle_to_box, rle_to_mask
from maskrcnn.results.tracks.writer import TRACK_FORMATS, TrackWriter
from maskrcnn.serving.labelling.store import ConflictError, Store
from maskrcnn.structures import Detections, VideoFrame

VIDEOS = "videos"
LARGEST_ID = 2**31 - 1
FORMATS = tuple(name for name in TRACK_FORMATS if name != "overlay")  # whose frames are not kept
_MANY = 10_000  # objects of a frame


class RleMask(BaseModel):
    """COCO's compressed run lengths."""

    model_config = ConfigDict(extra="forbid")
    size: tuple[int, int]
    counts: str


class TrackedObject(BaseModel):
    """An object of a frame."""

    model_config = ConfigDict(allow_inf_nan=False)
    id: int = Field(ge=1, le=LARGEST_ID)
    class_name: str = Field(alias="class", max_length=200)
    score: float = Field(ge=0, le=1)
    box: tuple[float, float, float, float]
    mask: RleMask


class TrackedFrame(BaseModel):
    """A line of what `/v1/track` answers."""

    model_config = ConfigDict(allow_inf_nan=False)
    frame: int = Field(ge=0)
    time: float = Field(ge=0)
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    objects: list[TrackedObject] = Field(max_length=_MANY)


class IdentityChange(NamedTuple):
    """From a frame on an object has another identity; where that is taken, the two change places."""

    frame: int  # its number in the video
    identity: int
    other: int


class StoredVideo(NamedTuple):
    """A video of a project."""

    id: int
    file: str  # its tracks' name in the folder `videos`
    name: str  # as the person called it
    frames: int
    added: float  # seconds since 1970
    version: int  # how many corrections there are


def parse_tracks(data: bytes, class_names: Sequence[str], *, max_frames: int, max_pixels: int) -> list[str]:
    """The lines of a video's tracks, each checked.

    Args:
        data: as `/v1/track` answers.
        class_names: of the project.
        max_frames, max_pixels: of a video, and of a frame.

    Raises:
        ValueError: what is wrong with which line.
    """
    lines = data.split(b"\n")
    lines = lines[:-1] if not lines[-1].strip() else lines
    if not 1 <= len(lines) <= max_frames:
        raise ValueError(f"Tracks are 1 to {max_frames} lines of JSON, one a frame; received {len(lines)}.")
    checked, before = list[str](), -1
    for number, line in enumerate(lines, start=1):
        try:
            frame = TrackedFrame.model_validate_json(line)
            _check(frame, before, class_names, max_pixels)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise ValueError(f"Line {number}: {'.'.join(map(str, first['loc'])) or 'line'}: {first['msg']}.") from None
        except ValueError as error:
            raise ValueError(f"Line {number}: {error}") from None
        checked.append(frame.model_dump_json(by_alias=True))
        before = frame.frame
    return checked


def _check(frame: TrackedFrame, before: int, class_names: Sequence[str], max_pixels: int) -> None:
    if frame.height * frame.width > max_pixels:
        raise ValueError(f"a frame has up to {max_pixels / 1e6:g} million pixels; received {frame.width}×{frame.height}.")
    if frame.frame <= before:
        raise ValueError(f"frames come in their order; received {frame.frame} after {before}.")
    if len({item.id for item in frame.objects}) < len(frame.objects):
        raise ValueError("an identity is in a frame once.")
    for item in frame.objects:
        if item.class_name not in class_names:
            raise ValueError(f"the project has no class {item.class_name[:80]!r}; add it first.")
        if item.mask.size != (frame.height, frame.width):
            raise ValueError(f"a mask has its frame's size {[frame.height, frame.width]}; received {list(item.mask.size)}.")
        rle_from_json({"size": [frame.height, frame.width], "counts": item.mask.counts}, (frame.height, frame.width))


def add_video(store: Store, name: str, lines: Sequence[str]) -> tuple[StoredVideo, bool]:
    """A video, and whether it is a new one: the same tracks are kept once.

    Args:
        name: for people.
        lines: as `parse_tracks` gives them.
    """
    data = "".join(f"{line}\n" for line in lines).encode()
    file = f"{hashlib.sha256(data).hexdigest()[:24]}.jsonl"
    path = store.folder / VIDEOS / file
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        write_whole(path, lambda target: target.write(data))
    with store.transaction() as database:
        query = "INSERT OR IGNORE INTO videos (file, name, frames, added) VALUES (?, ?, ?, ?)"
        is_new = database.execute(query, (file, name, len(lines), time.time())).rowcount > 0
        (number,) = database.execute("SELECT id FROM videos WHERE file = ?", (file,)).fetchone()
    return video(store, number), is_new


def videos(store: Store) -> list[StoredVideo]:
    """All of a project."""
    rows = store.rows(
        "SELECT id, file, name, frames, added, (SELECT COUNT(*) FROM identities WHERE video_id = videos.id) "
        "FROM videos ORDER BY id"
    )
    return [StoredVideo(*row) for row in rows]


def video(store: Store, number: int) -> StoredVideo:
    """One of them.

    Raises:
        KeyError: there is none of this id.
    """
    for found in videos(store):
        if found.id == number:
            return found
    raise KeyError(number)


def changes(store: Store, number: int) -> list[dict[str, Any]]:
    """The corrections of a video's identities in their order, with who made them when."""
    names = (*IdentityChange._fields, "author", "saved")
    query = f"SELECT {', '.join(names)} FROM identities WHERE video_id = ? ORDER BY number"
    return [dict(zip(names, row, strict=True)) for row in store.rows(query, (number,))]


def change_identity(store: Store, number: int, change: IdentityChange, *, based_on: int, author: str) -> int:
    """Corrects an identity.

    Args:
        based_on: how many corrections the person saw.

    Returns:
        How many there are now.

    Raises:
        KeyError: there is no such video.
        ConflictError: another correction came in between.
    """
    video(store, number)
    with store.transaction() as database:
        newest = database.execute(
            "SELECT number, author FROM identities WHERE video_id = ? ORDER BY number DESC LIMIT 1", (number,)
        ).fetchone() or (0, "")
        if newest[0] != based_on:
            raise ConflictError(*newest)
        row = (number, based_on + 1, *change, author, time.time())
        database.execute("INSERT INTO identities VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    return based_on + 1


def corrected(store: Store, number: int) -> Iterator[dict[str, Any]]:
    """The frames of a video as `/v1/track` tells them, with the identities that people gave.

    Raises:
        KeyError: there is no such video.
    """
    path = store.folder / VIDEOS / video(store, number).file
    made = [IdentityChange(*(row[name] for name in IdentityChange._fields)) for row in changes(store, number)]
    with open(path, encoding="utf-8") as file:
        for line in file:
            frame = json.loads(line)
            for item in frame["objects"]:
                item["id"] = _identity(item["id"], [change for change in made if change.frame <= frame["frame"]])
            yield frame


def _identity(number: int, made: Sequence[IdentityChange]) -> int:
    for _, identity, other in made:
        number = {identity: other, other: identity}.get(number, number)
    return number


def write_tracks(store: Store, number: int, form: str, folder: Path) -> None:
    """Writes corrected tracks as `maskrcnn track --save` does.

    Args:
        form: one of `FORMATS`.
        folder: to write into.

    Raises:
        KeyError: there is no such video.
    """
    stored, names = video(store, number), store.class_names()
    times = [frame["time"] for frame in corrected(store, number)]
    rate = (len(times) - 1) / (times[-1] - times[0]) if times[-1] > times[0] else 1.0
    categories = [Category(place, name) for place, name in enumerate(names, start=1)]
    with TrackWriter(folder, categories, rate=rate, name=Path(stored.name).stem, save=[form]) as writer:
        for frame in corrected(store, number):
            nothing = np.zeros((frame["height"], frame["width"], 0), np.uint8)  # the video itself is not kept
            writer.write(VideoFrame(frame["frame"], frame["time"], nothing), _detections(frame, names))


def _detections(frame: dict[str, Any], class_names: list[str]) -> Detections:
    size = (frame["height"], frame["width"])
    rles = {item["id"]: rle_from_json(item["mask"], size) for item in frame["objects"]}
    objects = sorted((item for item in frame["objects"] if rle_area(rles[item["id"]])), key=lambda item: -item["score"])
    bitmaps, corners = [], []
    for item in objects:
        rle = rles[item["id"]]
        left, top, right, bottom = rle_to_box(rle).astype(int)
        bitmaps.append(rle_to_mask(rle)[top:bottom, left:right].astype(bool))
        corners.append((left, top))
    return Detections(
        boxes=np.array([item["box"] for item in objects], np.float32).reshape(-1, 4),
        scores=np.array([item["score"] for item in objects], np.float32),
        labels=np.array([class_names.index(item["class"]) for item in objects], np.int32),
        small_masks=np.zeros((len(objects), 0, 0), np.float32),
        size=size,
        class_names=class_names,
        bitmaps=bitmaps,
        corners=np.array(corners, int).reshape(-1, 2),
        track_ids=np.array([item["id"] for item in objects], np.int64),
    )
