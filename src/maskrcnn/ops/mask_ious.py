"""How well masks in RoIs cover their objects, of which a part may lie outside."""

from __future__ import annotations

from keras import ops


def inside_shares(masks, mask_boxes, rois):
    """Which part of each object's area lies in a RoI.

    Args:
        masks: (B, P, T, T) 0 or 1, each the whole of `mask_boxes`.
        mask_boxes: (B, P, 4) xyxy, the objects' boxes.
        rois: (B, P, 4) xyxy, in the same frame.

    Returns:
        (B, P) in [0, 1]; 0 of an empty mask.
    """
    masks = ops.cast(masks, "float32")
    bx1, by1, bx2, by2 = ops.unstack(mask_boxes, 4, axis=-1)
    x1, y1, x2, y2 = ops.unstack(rois, 4, axis=-1)
    rows = ops.expand_dims(_inside(y1, y2, by1, by2, masks.shape[-2]), -1)  # (B, P, T, 1)
    columns = ops.expand_dims(_inside(x1, x2, bx1, bx2, masks.shape[-1]), -2)  # (B, P, 1, T)
    inside, whole = ops.sum(masks * rows * columns, axis=(-2, -1)), ops.sum(masks, axis=(-2, -1))
    return inside / ops.maximum(whole, 1.0)


def mask_ious(found, target, shares):
    """IoU of masks in RoIs and whole objects. Huang et al. 2019 (Mask Scoring R-CNN), section 3.3.

    Args:
        found: (B, P, M, M) bool.
        target: (B, P, M, M) 0 or 1, the part of the object in the RoI.
        shares: (B, P) of `inside_shares`, by which that part grows to the object.

    Returns:
        (B, P) in [0, 1]; 0 where the object has no cell in the RoI.
    """
    found = ops.cast(found, "float32")
    overlap, covered = ops.sum(found * target, axis=(-2, -1)), ops.sum(target, axis=(-2, -1))
    whole = covered / ops.maximum(shares, 1e-6)
    return overlap / ops.maximum(ops.sum(found, axis=(-2, -1)) + whole - overlap, 1e-6)


def _inside(start, end, mask_start, mask_end, num_pixels: int):
    """Part of each of a mask's pixels that lies in a RoI, along one axis: (B, P) each → (B, P, num_pixels)."""
    pixel = ops.expand_dims(ops.maximum(mask_end - mask_start, 1e-3) / num_pixels, -1)
    left = ops.expand_dims(mask_start, -1) + ops.arange(num_pixels, dtype="float32") * pixel
    shared = ops.minimum(left + pixel, ops.expand_dims(end, -1)) - ops.maximum(left, ops.expand_dims(start, -1))
    return ops.maximum(shared, 0.0) / pixel
