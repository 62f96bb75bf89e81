"""Evaluate tracks: their scores, and a page that shows when they were lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from maskrcnn.annotations.tracks import read_tracks
from maskrcnn.metrics import tracks
from maskrcnn.metrics.track_events import track_events
from maskrcnn.reports.tracks import write_track_report


def evaluate_tracks(
    truth: str | os.PathLike[str], result: str | os.PathLike[str], *, folder: str | os.PathLike[str] | None = None
) -> dict[str, Any]:
    """Scores tracks against ground truth: HOTA, MOTA, IDF1, and sMOTSA if both have masks.

    Example:
        ```python
        scores = evaluate_tracks("truth.txt", "tracked", folder="report")
        print(scores["HOTA"], scores["switches"])
        ```

    Args:
        truth, result: MOT or MOTS text files, Cell Tracking Challenge folders, or the output of `maskrcnn track`; see
            `maskrcnn.annotations.tracks.read_tracks`.
        folder: where `report.html` with a timeline of each video and `report.json` are written; None: nowhere.

    Returns:
        See `maskrcnn.metrics.tracks.evaluate_tracks`.

    Raises:
        ValueError: for files that cannot be read or do not belong together.
        ImportError: trackeval is not installed.
    """
    wanted, found = read_tracks(Path(truth)), read_tracks(Path(result))
    scores = tracks.evaluate_tracks(wanted, found)
    if folder is not None:
        events = {name: track_events(video) for name, video in tracks.prepare_tracks(wanted, found).items()}
        write_track_report(folder, scores, events, title=f"{Path(result).name} against {Path(truth).name}")
    return scores
