"""RoIAlign (Mask R-CNN, section 3) over the levels of a feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence

from keras import ops

from maskrcnn.ops import boxes as box_ops
from maskrcnn.ops import native


def assign_levels(boxes, *, canonical_size: float, canonical_level: int, min_level: int, max_level: int):
    """The level each box is pooled from. FPN paper, eq. 1.

    Args:
        boxes: (…, 4) xyxy, pixels of the frame.

    Returns:
        (…,) int32 in min_level … max_level.
    """
    size = ops.sqrt(ops.maximum(box_ops.area(boxes), 1e-12))  # (B, N), pixels of the frame
    level = ops.floor(canonical_level + ops.log2(size / canonical_size + 1e-6))  # 1e-6: torchvision, so that 224 is P4
    return ops.cast(ops.clip(level, min_level, max_level), "int32")


def sample_places(boxes, strides, *, pool_size: int, sampling_ratio: int, aligned: bool):
    """Where RoIAlign samples each box, in feature pixels.

    Args:
        boxes: (…, 4) xyxy, pixels of the frame.
        strides: (…,) pixels of the frame a feature pixel.
        pool_size: bins along each side.
        sampling_ratio: samples a bin along each side.
        aligned: True puts a feature pixel's centre at half a pixel (detectron2's ROIAlignV2); False puts it at whole
            numbers and makes a box at least one feature pixel wide (the paper's release, torchvision's models).

    Returns:
        x and y, each (…, pool_size * sampling_ratio).
    """
    offset = 0.5 if aligned else 0.0
    x1, y1, x2, y2 = (side / strides - offset for side in ops.unstack(boxes, 4, axis=-1))
    width, height = x2 - x1, y2 - y1
    if not aligned:
        width, height = ops.maximum(width, 1.0), ops.maximum(height, 1.0)
    num_samples = pool_size * sampling_ratio
    steps = (ops.arange(num_samples, dtype="float32") + 0.5) / num_samples
    return (
        ops.expand_dims(x1, -1) + steps * ops.expand_dims(width, -1),
        ops.expand_dims(y1, -1) + steps * ops.expand_dims(height, -1),
    )


def roi_align(
    features: Sequence,
    boxes,
    *,
    strides: Sequence[int],
    pool_size: int,
    sampling_ratio: int = 2,
    aligned: bool = True,
    canonical_size: float = 224.0,
    canonical_level: int = 4,
    min_level: int = 2,
    use_native: bool = True,
):
    """Pools each box from the level that fits its size, exactly as the published CPU kernels do.

    Args:
        features: one (B, H_l, W_l, C) a level, finest first.
        boxes: (B, N, 4) xyxy, pixels of the frame.
        strides: pixels of the frame a feature pixel, one a level.
        pool_size, sampling_ratio, aligned: see `sample_places`.
        canonical_size, canonical_level: a box of this side is pooled from this level; FPN paper, eq. 1.
        min_level: number of the first level, 2 for P2.
        use_native: let the backend's own kernel do it where there is one (`ops.native`). XLA cannot compile TensorFlow's.

    Returns:
        (B, N, pool_size, pool_size, C), each bin the mean of its samples.
    """
    boxes = ops.stop_gradient(boxes)  # RoIs are data here, as in every peer
    levels = assign_levels(
        boxes,
        canonical_size=canonical_size,
        canonical_level=canonical_level,
        min_level=min_level,
        max_level=min_level + len(features) - 1,
    )
    levels = levels - min_level  # (B, N) in 0 … L-1
    box_strides = ops.take(ops.convert_to_tensor([float(stride) for stride in strides]), levels, axis=0)
    x, y = sample_places(boxes, box_strides, pool_size=pool_size, sampling_ratio=sampling_ratio, aligned=aligned)
    if use_native and native.sample_levels is not None:
        samples = native.sample_levels(features, levels, x, y)  # (B, N, P*S, P*S, C)
        return _mean_of_bins(samples, pool_size, sampling_ratio)
    return _gather_bins(features, levels, x, y, pool_size, sampling_ratio)


def _mean_of_bins(samples, pool_size: int, sampling_ratio: int):
    batch, num_rows = ops.shape(samples)[:2]
    channels = samples.shape[-1]
    side = pool_size * sampling_ratio
    flat = ops.reshape(samples, (-1, side, side, channels))
    pooled = ops.average_pool(flat, sampling_ratio, data_format="channels_last") if sampling_ratio > 1 else flat
    return ops.reshape(pooled, (batch, num_rows, pool_size, pool_size, channels))


def _gather_bins(features, levels, x, y, pool_size: int, sampling_ratio: int):
    """Sums the four neighbours of every sample, one gather at a time: a tensor of bins is held, never one of all samples."""
    batch, num_rows = ops.shape(levels)
    channels = features[0].shape[-1]
    shapes = [ops.shape(feature)[1:3] for feature in features]
    flat = ops.concatenate([ops.reshape(feature, (batch, -1, channels)) for feature in features], axis=1)
    num_places = ops.shape(flat)[1]
    flat = ops.reshape(flat, (-1, channels))  # (B * sum(H W), C)

    heights = _take([height for height, _ in shapes], levels)  # (B, N) int32
    widths = _take([width for _, width in shapes], levels)
    starts, start = [], 0
    for height, width in shapes:
        starts.append(start)
        start = start + height * width
    first = _take(starts, levels) + ops.expand_dims(ops.arange(batch, dtype="int32") * num_places, -1)

    grid = (batch, num_rows, pool_size, sampling_ratio)
    y_sides = [ops.reshape(part, grid) for part in _neighbours(y, heights)]
    x_sides = [ops.reshape(part, grid) for part in _neighbours(x, widths)]
    row_width, first = ops.reshape(widths, (batch, num_rows, 1, 1)), ops.reshape(first, (batch, num_rows, 1, 1))
    total = 0.0
    for sample_y in range(sampling_ratio):
        for y_place, y_weight in (y_sides[:2], y_sides[2:]):
            rows = first + ops.expand_dims(y_place[..., sample_y], -1) * row_width  # (B, N, P, 1)
            for sample_x in range(sampling_ratio):
                for x_place, x_weight in (x_sides[:2], x_sides[2:]):
                    places = rows + ops.expand_dims(x_place[..., sample_x], -2)  # (B, N, P, P)
                    weight = ops.expand_dims(y_weight[..., sample_y], -1) * ops.expand_dims(x_weight[..., sample_x], -2)
                    taken = ops.take(flat, places, axis=0)  # (B, N, P, P, C)
                    total = total + taken * ops.cast(ops.expand_dims(weight, -1), taken.dtype)
    return total / (sampling_ratio * sampling_ratio)


def _take(values, levels):
    return ops.take(ops.stack([ops.cast(value, "int32") for value in values]), levels, axis=0)


def _neighbours(places, limits):
    """The two pixels around each sample along one axis and their weights, with the kernels' rule at the edge.

    Samples more than a pixel outside count nothing; others are moved onto the edge (Caffe2's `roi_align`, copied by all).

    Args:
        places: (B, N, S) feature pixels.
        limits: (B, N) int32 pixels along the axis.

    Returns:
        low (B, N, S) int32, its weight, high int32, its weight.
    """
    last = ops.expand_dims(limits, -1) - 1
    limit = ops.cast(last, places.dtype)
    inside = ops.cast(ops.logical_and(places >= -1.0, places <= limit + 1.0), places.dtype)
    places = ops.minimum(ops.maximum(places, 0.0), limit)
    floor = ops.floor(places)
    fraction = places - floor
    low = ops.cast(floor, "int32")
    return low, (1.0 - fraction) * inside, ops.minimum(low + 1, last), fraction * inside
