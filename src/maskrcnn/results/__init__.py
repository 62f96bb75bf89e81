"""Stage 3: from detections to what people keep: overlays, label maps, COCO results, a report."""

from maskrcnn.results.draw import as_rgb, draw_detections, draw_truth
from maskrcnn.results.files import PredictionWriter, coco_results, label_map, write_json, write_png
from maskrcnn.results.report import write_report

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
