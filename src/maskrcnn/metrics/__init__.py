"""Stage 4: from detections and truth to numbers."""

from maskrcnn.metrics.biology import evaluate_biology
from maskrcnn.metrics.coco import evaluate_coco

__all__ = ["evaluate_biology", "evaluate_coco"]
