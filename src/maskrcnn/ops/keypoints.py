"""What the keypoint head should say of a RoI, and how far its heat maps are from that. Mask R-CNN, section 5."""

from __future__ import annotations

from keras import ops

from maskrcnn.ops import losses


def keypoint_places(keypoints, rois, size: int):
    """The place of each keypoint in the heat map of a RoI.

    Args:
        keypoints: (B, S, K, 3) x, y in the frame of `rois`, and visibility: 0 where nobody marked the point.
        rois: (B, S, 4) xyxy.
        size: M, side of the heat map; M × M places, rows first.

    Returns:
        places (B, S, K) int32 in 0 … M² - 1, and (B, S, K) bool: False where a point is not marked or not in its RoI. A point
        on the right or lower edge counts as inside (torchvision's `keypoints_to_heatmap`).
    """
    corner, end = rois[:, :, None, :2], rois[:, :, None, 2:]
    point = keypoints[..., :2]
    cells = (point - corner) * (size / ops.maximum(end - corner, 1e-3))
    cells = ops.where(ops.equal(point, end), float(size - 1), ops.floor(cells))  # (B, S, K, 2) x, y
    inside = ops.all(ops.logical_and(cells >= 0.0, cells < float(size)), axis=-1)
    cells = ops.cast(ops.clip(cells, 0.0, float(size - 1)), "int32")
    return cells[..., 1] * size + cells[..., 0], ops.logical_and(inside, keypoints[..., 2] > 0.0)


def keypoint_loss(heat_maps, places, counted, total: losses.Total = losses.whole):
    """Mean over the keypoints that count of the cross-entropy of a softmax over all places; 0 where none counts.

    Args:
        heat_maps: (B, S, K, M, M) logits.
        places: (B, S, K) int32.
        counted: (B, S, K) bool.
        total: of the number of those that count, where devices share the batch.
    """
    shape = ops.shape(heat_maps)
    logits = ops.reshape(heat_maps, (*shape[:3], heat_maps.shape[3] * heat_maps.shape[4]))
    chosen = ops.squeeze(ops.take_along_axis(logits, ops.expand_dims(places, -1), axis=-1), -1)
    return losses.weighted_mean(ops.logsumexp(logits, axis=-1) - chosen, counted, total)
