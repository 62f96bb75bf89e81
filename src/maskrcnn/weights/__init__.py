"""Weights from elsewhere ↔ our weights, one file a source."""
