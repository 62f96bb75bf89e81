"""What the mask head should say of a RoI."""

from __future__ import annotations

from keras import ops


def mask_targets(masks, mask_boxes, rois, mask_size: int):
    """The part of each true mask that lies in a RoI, on the mask head's grid. Mask R-CNN, section 3.1.

    A cell's value is the part of its area that the object covers. Area, not a sample in the middle, so that a large object
    on a small grid does not depend on single pixels. The overlap of two grids is separable: two small matrix products.

    Args:
        masks: (B, S, T, T) 0 or 1, each the whole of `mask_boxes`.
        mask_boxes: (B, S, 4) xyxy, the objects' boxes.
        rois: (B, S, 4) xyxy, in the same frame.
        mask_size: M, side of the head's grid.

    Returns:
        (B, S, M, M) float32, 1 where the object covers at least half of the cell, else 0.
    """
    truth_size = masks.shape[-1]
    bx1, by1, bx2, by2 = ops.unstack(mask_boxes, 4, axis=-1)
    x1, y1, x2, y2 = ops.unstack(rois, 4, axis=-1)
    rows = _overlap(y1, y2, by1, by2, mask_size, truth_size)  # (B, S, M, T)
    columns = _overlap(x1, x2, bx1, bx2, mask_size, truth_size)  # (B, S, M, T)
    covered = ops.matmul(ops.matmul(rows, ops.cast(masks, "float32")), ops.swapaxes(columns, -1, -2))
    return ops.cast(covered >= 0.5, "float32")


def _overlap(start, end, mask_start, mask_end, num_cells: int, num_pixels: int):
    """Part of each of a RoI's cells that lies in each of a mask's pixels, along one axis: (B, S, num_cells, num_pixels)."""
    pixel = ops.maximum(mask_end - mask_start, 1e-3) / num_pixels
    start, end = (start - mask_start) / pixel, (end - mask_start) / pixel  # in pixels of the mask
    cell = ops.expand_dims(ops.maximum(end - start, 1e-6) / num_cells, -1)
    left = ops.expand_dims(start, -1) + ops.arange(num_cells, dtype="float32") * cell  # (B, S, M)
    left, cell = ops.expand_dims(left, -1), ops.expand_dims(cell, -1)
    pixels = ops.arange(num_pixels, dtype="float32")
    shared = ops.minimum(left + cell, pixels + 1.0) - ops.maximum(left, pixels)
    return ops.maximum(shared, 0.0) / cell
