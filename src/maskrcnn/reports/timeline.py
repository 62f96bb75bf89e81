"""A time line of tracks as inline SVG: a row a track, a color for each number it was found under."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np

from maskrcnn.metrics.track_events import ABSENT, MISSED, TrackEvents

_WIDTH, _ROW, _LEFT, _RIGHT, _TOP = 1000, 16, 70, 14, 24  # in the chart's own units


def timeline(events: TrackEvents, rows: np.ndarray, *, name: str) -> str:
    """Some tracks of a video.

    Args:
        events: of the video.
        rows: which of its tracks, from the top down.
        name: of the video, read out.
    """
    frames = events.frames
    places = {int(frame): place for place, frame in enumerate(frames)}
    height = _TOP + _ROW * len(rows) + 6
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(frames), 1)
    drawn = ""
    for line, row in enumerate(rows.tolist()):
        top = _TOP + _ROW * line
        drawn += f'<text x="{_LEFT - 8}" y="{top + 12}" text-anchor="end">{events.tracks[row]}</text>'
        for start, stop, number in _runs(events.found[row]):
            x, width = _LEFT + start * step, max((stop - start) * step, 0.8)
            span = f"frames {frames[start]} to {frames[stop - 1]}" if stop - start > 1 else f"frame {frames[start]}"
            said = "missed" if number == MISSED else f"found as {number}"
            shape = (
                f'y="{top + 7}" height="3" class="lost"'
                if number == MISSED
                else f'y="{top + 2}" height="12" class="fill-{number % 8}"'
            )
            title = f"<title>track {events.tracks[row]}, {span}: {said}</title>"
            drawn += f'<rect x="{x:.1f}" width="{width:.1f}" {shape}>{title}</rect>'
        for switch in (switch for switch in events.switches if switch.track == events.tracks[row]):
            x = _LEFT + places[switch.frame] * step
            text = f"track {switch.track}, frame {switch.frame}: {switch.before} becomes {switch.after}"
            drawn += f'<path class="switch" d="M{x:.1f} {top + 1}v14"><title>{text}</title></path>'
    ticks = "".join(
        f'<text x="{_LEFT + place * step:.1f}" y="14" text-anchor="{anchor}">{frames[place]}</text>'
        for place, anchor in ((0, "start"), (len(frames) // 2, "middle"), (len(frames) - 1, "end"))
    )
    label = escape(f"Tracks of {name} by frame")
    return (
        f'<div class="card" tabindex="0" role="region" aria-label="{label}"><svg class="timeline" '
        f'viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{label}"><g class="grid">{ticks}{drawn}</g></svg></div>\n'
    )


def _runs(found: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(start, stop, id) of each stretch of frames in which a track is the same; where it is absent there is none."""
    edges = np.flatnonzero(np.diff(found)) + 1
    for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(found)]):
        if stop > start and found[start] != ABSENT:
            yield start, stop, int(found[start])
