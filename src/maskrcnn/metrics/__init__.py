"""From detections and ground truth to numbers."""
