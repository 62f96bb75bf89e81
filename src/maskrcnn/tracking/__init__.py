"""Detections of many frames become tracks: the same object, the same id."""
