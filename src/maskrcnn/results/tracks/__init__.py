"""Tracks become files: MOT, MOTS, COCO video, Cell Tracking Challenge, tables, overlays."""
