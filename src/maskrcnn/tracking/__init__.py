"""Stage 4: detections of many frames become tracks: the same object, the same id."""

from maskrcnn.tracking.tracker import TRACKERS, Tracker

__all__ = ["TRACKERS", "Tracker"]
