"""Reads files of tracks: MOT Challenge and MOTS text, Cell Tracking Challenge folders; truth and results alike."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from maskrcnn.geometry.masks import mask_to_box
from maskrcnn.geometry.rle import cutout_rle, rle_from_json, rle_to_box
from maskrcnn.images.images import read_label_map
from maskrcnn.structures import TrackedObjects

MOT_PEDESTRIAN = 1  # the class of MOT's truth that is scored (Milan et al. 2016, table 3)
MOT_DISTRACTORS = (2, 7, 8, 12)  # a person on a vehicle, standing still, alike, mirrored: neither wrong nor right to be found
MOTS_IGNORE = 10  # the class of MOTS' truth whose region does not count (Voigtlaender et al. 2019)

Video = dict[int, TrackedObjects]  # frames by their number, from 0


def read_tracks(path: str | Path) -> dict[str, Video]:
    """The videos of a file or folder, each its frames by number; frames without objects may be missing.

    Frames are counted from 0, as label TIFFs count them; MOT and MOTS count theirs from 1.

    Args:
        path: a text of MOT or MOTS; a folder with label TIFFs and `res_track.txt` or `man_track.txt` beside or above them; a
            folder that `maskrcnn track` wrote, of which the masks are taken where there are some; a sequence of MOT
            (`gt/gt.txt`); or a folder of several sequences or texts, which are told apart by their names.

    Raises:
        ValueError: for anything else, and for lines or label maps that cannot be read; one line that names the place.
    """
    path = Path(path)
    if path.is_file():
        return {path.stem: _read_text(path)}
    if not path.is_dir():
        raise ValueError(f"There is no file or folder {path}.")
    found = _video_of(path)
    if found is not None:
        return {path.resolve().name: found}
    folders = {entry.name: video for entry in sorted(path.iterdir()) if entry.is_dir() and (video := _video_of(entry))}
    texts = {file.stem: _read_text(file) for file in sorted(path.glob("*.txt"))}
    if not folders and not texts:
        raise ValueError(f"There are no tracks in {path}; wanted are MOT or MOTS texts, or label TIFFs with res_track.txt.")
    return folders | texts


def _video_of(folder: Path) -> Video | None:
    """What a folder holds of one video."""
    for name in ("mots.txt", "gt/gt.txt", "mot.txt"):
        if (folder / name).is_file():
            return _read_text(folder / name)
    for place in (folder, folder / "ctc"):
        tables = [place / name for name in ("man_track.txt", "res_track.txt") if (place / name).is_file()]
        maps = [
            file for inside in (place, place / "masks", place / "TRA") for file in inside.glob("*.tif*") if _number(file) >= 0
        ]
        if tables and maps:
            return _read_label_maps(maps, _gaps(tables[0]))
    return None


def _gaps(table: Path) -> dict[int, int]:
    """Labels that are other labels' objects after a gap, and whose: only children that do not begin as their parents end.

    A label has no gaps itself (the challenge's naming and content conventions). Cells that divide have two children, at once.
    """
    rows: dict[int, tuple[int, int, int]] = {}
    for number, fields in _lines(table):
        try:
            label, first, last, parent = map(int, fields)
        except ValueError:
            raise ValueError(f"{table}, line {number}: wanted are four numbers, label, first, last, parent.") from None
        rows[label] = (first, last, parent)
    children = Counter(parent for *_, parent in rows.values())
    same: dict[int, int] = {}
    for label, (first, _, parent) in sorted(rows.items(), key=lambda row: row[1]):
        if parent in rows and children[parent] == 1 and first > rows[parent][1] + 1:
            same[label] = same.get(parent, parent)
    return same


def _read_label_maps(files: list[Path], same: dict[int, int]) -> Video:
    frames: Video = {}
    for file in sorted(files, key=_number):
        labels = read_label_map(file)
        rows, columns = np.nonzero(labels)
        values = labels[rows, columns]
        order = np.argsort(values, kind="stable")
        ids, starts = np.unique(values[order], return_index=True)
        boxes, rles = [], []
        for number, pixels in zip(ids, np.split(order, starts[1:])):
            top, left = rows[pixels].min(), columns[pixels].min()
            cutout = labels[top : rows[pixels].max() + 1, left : columns[pixels].max() + 1] == number
            boxes.append(mask_to_box(cutout) + np.tile([left, top], 2).astype(np.float32))
            rles.append(cutout_rle(cutout, (int(left), int(top)), labels.shape))
        objects = [same.get(number, number) for number in ids.tolist()]
        frames[_number(file)] = _objects(objects, boxes, np.zeros(len(ids)), rles)
    return frames


def _number(file: Path) -> int:
    """The last number in a file's name, t in `mask007.tif`; -1 where there is none."""
    digits = re.findall(r"\d+", file.stem)
    return int(digits[-1]) if digits else -1


def _read_text(path: Path) -> Video:
    by_frame: dict[int, list[tuple]] = defaultdict(list)
    for number, fields in _lines(path):
        try:
            frame, *row = _mots_row(fields) if len(fields) == 6 else _mot_row(fields)
        except (ValueError, IndexError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise ValueError(
                f"{path}, line {number}: {reason}. Wanted is MOT: frame,id,left,top,width,height,score,…; or MOTS: "
                "frame id class height width RLE."
            ) from None
        by_frame[frame].append(tuple(row))
    frames: Video = {}
    for frame, rows in by_frame.items():
        ids, boxes, labels, rles, roles = zip(*rows)
        ignored, unwanted = (np.array([each == role for each in roles]) for role in ("ignored", "unwanted"))
        if len(set(ids)) < len(ids) - sum(ignored):
            raise ValueError(f"{path} has an id twice in frame {frame}; the objects of a frame have ids of their own.")
        if any(rle is None for rle in rles) != all(rle is None for rle in rles):
            raise ValueError(f"{path} mixes lines with and without masks in frame {frame}.")
        objects = _objects(ids, boxes, labels, None if rles[0] is None else list(rles))
        frames[frame - 1] = objects._replace(
            ignored=ignored if ignored.any() else None, unwanted=unwanted if unwanted.any() else None
        )
    return frames


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"Cannot read {path}: {error}.") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line.split(",") if "," in line.split(" ")[0] or "," in line[:12] else line.split()


def _mot_row(fields: list[str]) -> tuple:
    """frame, id, box, label, no mask, role.

    Truth has a flag in the place of the score, and a class (Milan et al. 2016). Pedestrians are scored; distractors are
    ignored; what is switched off or of another class, cars say, is wrong to be found.
    """
    frame, number, left, top, width, height = (float(field) for field in fields[:6])
    if not np.isfinite([frame, number, left, top, width, height]).all() or width < 0 or height < 0:
        raise ValueError("a box has finite numbers and no side below 0")
    box = np.array([left - 1, top - 1, left - 1 + width, top - 1 + height], np.float32)
    if len(fields) != 9:
        return int(frame), int(number), box, 0, None, ""
    flag, label = float(fields[6]), int(float(fields[7]))
    role = "ignored" if label in MOT_DISTRACTORS else "" if flag and label == MOT_PEDESTRIAN else "unwanted"
    return int(frame), int(number), box, label, None, role


def _mots_row(fields: list[str]) -> tuple:
    frame, number, label, height, width = (int(field) for field in fields[:5])
    rle = rle_from_json({"size": [height, width], "counts": fields[5]}, (height, width))
    return frame, number, rle_to_box(rle), label, rle, "ignored" if label == MOTS_IGNORE else ""


def _objects(ids, boxes, labels, rles) -> TrackedObjects:  # type: ignore[no-untyped-def]
    return TrackedObjects(
        ids=np.array(ids, np.int64),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        rles=rles,
    )
