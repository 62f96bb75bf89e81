"""What heads say of detections: only the first rows, which hold what was found, are computed where shapes may vary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from maskrcnn.ops.native import Kernels
from maskrcnn.structures import PaddedDetections


def of_used_rows(look: Callable[[Any, Any], Any], detections: PaddedDetections, kernels: Kernels):
    """What `look` says of boxes and labels, zeros in rows that were not looked at.

    Args:
        look: (B, n, 4) boxes and (B, n) labels → (B, n, …).
        detections: (B, N) rows.
        kernels: which rows are used.

    Returns:
        (B, N, …).
    """
    if kernels.in_slices is not None:
        return kernels.in_slices(look, (detections.boxes, detections.labels), detections.valid)
    num_rows = detections.valid.shape[1]
    used = kernels.num_used(detections.valid)
    answer = look(detections.boxes[:, :used], detections.labels[:, :used])
    if isinstance(used, int) and used == num_rows:
        return answer
    shape = ops.shape(answer)
    return ops.concatenate([answer, ops.zeros((shape[0], num_rows - used, *shape[2:]), answer.dtype)], axis=1)
