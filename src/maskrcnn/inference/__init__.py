"""A detector and images become detections in original pixels."""
