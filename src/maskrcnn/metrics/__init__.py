"""Stage 4: from detections and truth to numbers."""

from __future__ import annotations

__all__ = ["evaluate_biology", "evaluate_coco"]
