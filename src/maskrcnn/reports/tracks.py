"""The report of tracks: their scores, and when each was lost or went on under another number."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.atomic import write_json, write_text
from maskrcnn.metrics.track_events import ABSENT, MISSED, TrackEvents
from maskrcnn.reports.document import Section, details, document, number, paragraph, table, tiles
from maskrcnn.reports.timeline import timeline

PAGE, NUMBERS = "report.html", "report.json"
_SCORES = ("HOTA", "DetA", "AssA", "MOTA", "sMOTSA", "IDF1")
_COUNTS = ("switches", "missed", "wrong", "objects", "tracks", "tracks_found")
_MOST_TRACKS = 60  # of a video's time line
_MOST_SWITCHES = 500  # of a table


def write_track_report(
    folder: str | os.PathLike[str], scores: Mapping[str, Any], events: Mapping[str, TrackEvents], *, title: str
) -> Path:
    """Writes `report.html` and `report.json` into a folder, each whole or not at all.

    Args:
        folder: made where it is not there.
        scores: as `metrics.tracks.evaluate_tracks` gives them.
        events: of each video.
        title: the page's heading.

    Returns:
        The page's path.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {"title": title, "scores": dict(scores), "videos": {name: _plain(video) for name, video in events.items()}}
    write_json(folder / NUMBERS, numbers)
    write_text(folder / PAGE, track_page(scores, events, title=title))
    return folder / PAGE


def track_page(scores: Mapping[str, Any], events: Mapping[str, TrackEvents], *, title: str) -> str:
    """The page as HTML."""
    sections = [Section("scores", "Scores", _scores(scores))]
    for place, (name, video) in enumerate(events.items()):
        sections.append(Section(f"video-{place}", name, _video(name, video)))
    lead = (
        f"Compared by {scores['compared']}; an object is found where the IoU is at least 0.5. Numbers are in {NUMBERS} beside "
        "this page."
    )
    return document(title, [lead, scores.get("note", "")], sections)


def _scores(scores: Mapping[str, Any]) -> str:
    names = [name for name in _SCORES if name in scores]
    rows = {"all": scores, **scores.get("per_video", {})}
    by_video = [
        [name, *(number(row[score]) for score in names), *(str(row[count]) for count in _COUNTS)] for name, row in rows.items()
    ]
    heads = ["", *names, *(count.replace("_", " ") for count in _COUNTS)]
    shown = tiles([(number(scores[name]), name) for name in ("HOTA", "MOTA", "IDF1")] + [(str(scores["switches"]), "switches")])
    return shown + table(heads, by_video, name="Scores of tracks")


def _video(name: str, events: TrackEvents) -> str:
    if not len(events.tracks):
        return paragraph("The truth has no track here.")
    missed, present = (events.found == MISSED).sum(axis=1), (events.found != ABSENT).sum(axis=1)
    switched = np.array([sum(switch.track == track for switch in events.switches) for track in events.tracks.tolist()])
    worst = np.lexsort((-missed, -switched))[:_MOST_TRACKS]
    text = (
        "A row is a track of the truth, its color the number that it was found under; a thin red line where it was missed, a "
        "stroke across it where the number changed. Those that changed most come first."
    )
    if len(events.tracks) > len(worst):
        text += f" {len(worst)} of {len(events.tracks)} tracks."
    heads = ["track", "frames", "missed", "switches", "numbers"]
    rows = []
    for row in worst.tolist():
        numbers = [int(value) for value in dict.fromkeys(events.found[row].tolist()) if value not in (ABSENT, MISSED)]
        listed = ", ".join(map(str, numbers[:8])) + (" …" if len(numbers) > 8 else "")
        counts = (present[row], missed[row], switched[row])
        rows.append([str(events.tracks[row]), *map(str, counts), listed or "–"])
    changes = [[str(s.frame), str(s.track), str(s.before), str(s.after)] for s in events.switches[:_MOST_SWITCHES]]
    return (
        paragraph(text)
        + timeline(events, worst, name=name)
        + table(heads, rows, name=f"Tracks of {name}")
        + details(
            f"{len(events.switches)} switches",
            table(["frame", "track", "from", "to"], changes, name=f"Switches of {name}") if changes else "",
        )
    )


def _plain(events: TrackEvents) -> dict[str, Any]:
    return {
        "frames": events.frames.tolist(),
        "missed": events.missed.tolist(),
        "wrong": events.wrong.tolist(),
        "switches": [switch._asdict() for switch in events.switches],
    }
