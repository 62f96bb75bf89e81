"""Stage 4: detections of many frames become tracks: the same object, the same id."""

from __future__ import annotations

__all__ = ["TRACKERS", "Tracker"]
