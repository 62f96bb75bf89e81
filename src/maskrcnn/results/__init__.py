"""Stage 3: from detections to what people keep: overlays, label maps, COCO results, a report."""

from __future__ import annotations

__all__ = [
    "PredictionWriter",
    "as_rgb",
    "coco_results",
    "draw_detections",
    "draw_truth",
    "label_map",
    "write_json",
    "write_png",
    "write_report",
]
