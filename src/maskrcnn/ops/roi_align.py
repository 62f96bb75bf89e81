"""RoIAlign (Mask R-CNN, section 3) over the levels of a feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence

from keras import ops

from maskrcnn.ops import boxes as box_ops
from maskrcnn.ops.native import KERNELS, Kernels, Samples


def assign_levels(
    boxes,
    *,
    canonical_size: float,
    canonical_level: int,
    min_level: int,
    max_level: int,
    level_epsilon: float = 1e-6,
    level_shift: float = 0.0,
):
    """The level each box is pooled from. FPN paper, eq. 1.

    Args:
        boxes: (…, 4) xyxy, pixels of the frame.
        level_epsilon: added to side / canonical_size, so that a box of just that side is not rounded down to the finer level.
        level_shift: added to the level itself before rounding down; 0.5 rounds to the nearest.

    Returns:
        (…,) int32 in min_level … max_level.
    """
    size = ops.sqrt(ops.maximum(box_ops.area(boxes), 1e-12))  # (B, N), pixels of the frame
    level = ops.floor(canonical_level + ops.log2(size / canonical_size + level_epsilon) + level_shift)
    return ops.cast(ops.clip(level, min_level, max_level), "int32")


def align_samples(start, stop, *, pool_size: int, sampling_ratio: int, aligned: bool, limit=None) -> Samples:
    """RoIAlign's samples along one axis. Mask R-CNN, section 3.

    Args:
        start, stop: (B, N) ends of the boxes, feature pixels.
        pool_size: bins.
        sampling_ratio: samples a bin; 0 takes as many as a bin has feature pixels, rounded up, as detectron2 and MMDetection
            do: none of a box without area.
        aligned: True puts a feature pixel's center at half a pixel (detectron2's ROIAlignV2); False puts it at whole
            numbers and makes a box at least one feature pixel wide (the paper's release, torchvision's models).
        limit: (B, N) int32 pixels of each box's level along the axis, where the ratio is 0: a bin has no more samples. Only a
            box `pool_size` times as long as its frame would.
    """
    if aligned:
        start, stop = start - 0.5, stop - 0.5
    length = stop - start if aligned else ops.maximum(stop - start, 1.0)  # (B, N)
    count = sampling_ratio or _pixels_of_bins(length, pool_size, limit)
    return Samples(start, length / pool_size, count, pool_size)


def _pixels_of_bins(length, pool_size: int, limit):
    """ceil(length / pool_size), int32 in 0 … limit, all (B, N), also where XLA multiplies by 1 / pool_size."""
    length = ops.minimum(length, ops.cast(limit * pool_size, "float32"))
    count = ops.ceil(length / pool_size)
    count = ops.where((count - 1.0) * pool_size >= length, count - 1.0, count)
    return ops.cast(ops.where(length > 0.0, count, 0.0), "int32")


def corner_samples(start, stop, *, pool_size: int) -> Samples:
    """One sample a bin, the first and the last on the ends of the box: `tf.image.crop_and_resize`, as matterport pools.

    Args:
        start, stop: (B, N) ends of the boxes, feature pixels whose centers lie at whole numbers.
        pool_size: bins, more than one.
    """
    size = (stop - start) / (pool_size - 1)  # (B, N)
    return Samples(start - 0.5 * size, size, 1, pool_size)


def roi_align(
    features: Sequence,
    boxes,
    *,
    strides: Sequence[int],
    pool_size: int,
    mode: str = "roi_align",
    sampling_ratio: int = 2,
    aligned: bool = True,
    canonical_size: float = 224.0,
    canonical_level: int = 4,
    level_epsilon: float = 1e-6,
    level_shift: float = 0.0,
    kernels: Kernels = KERNELS,
):
    """Pools each box from the level that fits its size, exactly as the published CPU kernels do.

    Args:
        features: one (B, H_l, W_l, C) a level, finest first.
        boxes: (B, N, 4) xyxy, pixels of the frame.
        strides: pixels of the frame a feature pixel, one a level.
        mode: "roi_align", see `align_samples`; "crop_and_resize", see `corner_samples`, for boxes that name their last pixel:
            0 is the first feature pixel of a level and the frame's last pixel is its last.
        pool_size, sampling_ratio, aligned: see `align_samples`.
        canonical_size, canonical_level, level_epsilon, level_shift: see `assign_levels`.
        kernels: what pools; XLA compiles `native.PORTABLE` alone.

    Returns:
        (B, N, pool_size, pool_size, C), each bin the mean of its samples.
    """
    boxes = ops.stop_gradient(boxes)  # RoIs are data here, as in every peer
    shapes = [ops.shape(feature)[1:3] for feature in features]
    to_features = _scales(shapes, strides, mode, kernels)  # (L, 2) y, x
    min_level = strides[0].bit_length() - 1  # 2 for P2, whose stride is 4
    sized = boxes
    if mode == "crop_and_resize":  # the frame's side counts in full, though a box names its last pixel
        frame = [kernels.as_scalar(side * strides[0], "float32") for side in shapes[0]]
        stretch = ops.stack([side / (side - 1.0) for side in frame])  # y, x
        sized = boxes * ops.stack([stretch[1], stretch[0], stretch[1], stretch[0]])
    levels = assign_levels(
        sized,
        canonical_size=canonical_size,
        canonical_level=canonical_level,
        level_epsilon=level_epsilon,
        level_shift=level_shift,
        min_level=min_level,
        max_level=min_level + len(features) - 1,
    )
    levels = levels - min_level  # (B, N) in 0 … L-1
    scale_y, scale_x = ops.unstack(ops.take(to_features, levels, axis=0), 2, axis=-1)
    x1, y1, x2, y2 = ops.unstack(boxes, 4, axis=-1)
    ends = (y1 * scale_y, y2 * scale_y), (x1 * scale_x, x2 * scale_x)
    if mode == "crop_and_resize":
        y, x = (corner_samples(*axis, pool_size=pool_size) for axis in ends)
    else:
        options = {"pool_size": pool_size, "sampling_ratio": sampling_ratio, "aligned": aligned}
        limits = [ops.stack([kernels.as_scalar(side, "int32") for side in sides]) for sides in zip(*shapes)]  # (L,) y, x
        y, x = (align_samples(*axis, **options, limit=ops.take(limit, levels, axis=0)) for axis, limit in zip(ends, limits))
    return kernels.pool_levels(features, levels, y, x)  # (B, N, P, P, C)


def _scales(shapes, strides, mode: str, kernels: Kernels):
    """(L, 2) by which y and x of the frame are multiplied to become y and x of each level."""
    if mode == "roi_align":
        return ops.convert_to_tensor([[1.0 / stride, 1.0 / stride] for stride in strides])
    scalar = lambda side: kernels.as_scalar(side, "float32")  # noqa: E731
    frame = [scalar(side * strides[0]) for side in shapes[0]]
    return ops.stack(
        [
            ops.stack([(scalar(side) - 1.0) / (whole - 1.0) for side, whole in zip(shape, frame)])  # (2,)
            for shape in shapes
        ]
    )
