"""What changes gradients and nothing else."""

from __future__ import annotations

from keras import ops


def scale_gradient(values, scale: float):
    """The values as they are; what flows back through them is multiplied by `scale`. (B, N) or other, unchanged."""
    kept = ops.stop_gradient(values)
    return kept + scale * (values - kept)  # the difference is 0 exactly
