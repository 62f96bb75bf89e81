"""Stage 4: from detections and truth to numbers."""

from maskrcnn.metrics.coco import evaluate_coco

__all__ = ["evaluate_coco"]
