"""The kernels in `keras.ops` alone: what every backend, XLA included, can compile, and what the others are tested against.

Shapes: `B` images, `N` boxes, `P` bins along a side of a pooled box, `S` samples along a side of a bin, `C` channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from keras import ops

from maskrcnn.ops.native.kernels import Kernels, Samples

SumRows = Callable[[Any, Any, Any], Any]  # (R, C), places (…, T), weights (…, T) → (…, C)


class Pixels(NamedTuple):
    """Every pixel of a pyramid in one table, from which any is a single gather."""

    table: Any  # (B * sum(H_l W_l), C), image by image, level by level
    heights: Any  # (L,) int32, of each level
    widths: Any  # (L,) int32, of each level
    starts: Any  # (L,) int32, of each level among its image's rows of the table
    num_rows: Any  # of an image


def pixels_of(features: Sequence, as_scalar: Callable[[Any, str], Any] = ops.cast) -> Pixels:
    """One (B, H_l, W_l, C) a level → `Pixels`."""
    batch, channels = ops.shape(features[0])[0], features[0].shape[-1]
    table = ops.concatenate([ops.reshape(feature, (batch, -1, channels)) for feature in features], axis=1)  # (B, R, C)
    heights, widths = zip(*(ops.shape(feature)[1:3] for feature in features))
    starts, start = [], 0
    for height, width in zip(heights, widths):
        starts.append(start)
        start = start + height * width
    of_levels = (ops.stack([as_scalar(value, "int32") for value in values]) for values in (heights, widths, starts))  # (L,)
    return Pixels(ops.reshape(table, (-1, channels)), *of_levels, ops.shape(table)[1])


def pool_levels(features: Sequence, levels, y: Samples, x: Samples):
    """See `Kernels.pool_levels`."""
    return gather_bins(pixels_of(features), levels, y, x)  # (B, N, P, P, C)


def gather_bins(pixels: Pixels, levels, y: Samples, x: Samples, sum_rows: SumRows | None = None):
    """Sums the four neighbours of every sample, one gather at a time: a tensor of bins is held, never one of all samples.

    Args:
        pixels: of the pyramid.
        levels: (B, N) int32, row of `Pixels.heights`.
        y, x: samples of the boxes along each axis.
        sum_rows: sums weighted rows of a table at once, where a backend can.

    Returns:
        (B, N, P, P, C).
    """
    batch, num_samples = ops.shape(levels)[0], y.places.shape[-1]
    heights, widths, starts = (ops.take(values, levels, axis=0) for values in pixels[1:4])  # (B, N) int32
    first = starts + ops.expand_dims(ops.arange(batch, dtype="int32") * pixels.num_rows, -1)  # (B, N) int32

    y_sides, x_sides = _neighbours(y, heights), _neighbours(x, widths)
    row_width, first = _spread(widths), _spread(first)  # (B, N, 1, 1)
    terms = []  # of each bin: pixels (B, N, P, P) and their weights
    for sample_y in range(num_samples):
        for y_place, y_weight in (y_sides[:2], y_sides[2:]):
            rows = first + ops.expand_dims(y_place[..., sample_y], -1) * row_width  # (B, N, P, 1)
            for sample_x in range(num_samples):
                for x_place, x_weight in (x_sides[:2], x_sides[2:]):
                    places = rows + ops.expand_dims(x_place[..., sample_x], -2)  # (B, N, P, P)
                    weight = ops.expand_dims(y_weight[..., sample_y], -1) * ops.expand_dims(x_weight[..., sample_x], -2)
                    terms.append((places, weight))
    if sum_rows is not None:
        return sum_rows(pixels.table, *(ops.stack(parts, axis=-1) for parts in zip(*terms)))
    total = 0.0
    for places, weight in terms:
        taken = ops.take(pixels.table, places, axis=0)  # (B, N, P, P, C)
        total = total + taken * ops.cast(ops.expand_dims(weight, -1), taken.dtype)
    return total


def _spread(values):
    """(B, N) → (B, N, 1, 1)."""
    return ops.expand_dims(ops.expand_dims(values, -1), -1)


def _neighbours(samples: Samples, limits):
    """The two pixels around each sample along one axis and their weights, with the kernels' rule at the edge.

    Samples more than a pixel outside count nothing; others are moved onto the edge (Caffe2's `roi_align`, copied by all).

    Args:
        samples: along the axis.
        limits: (B, N) int32 pixels along the axis.

    Returns:
        low (B, N, P, S) int32, its weight, high int32, its weight.
    """
    places = samples.places
    last = _spread(limits) - 1
    limit = ops.cast(last, places.dtype)
    inside = ops.cast(ops.logical_and(places >= -1.0, places <= limit + 1.0), places.dtype)  # (B, N, P, S)
    inside = inside * ops.expand_dims(samples.weights, 2)
    places = ops.minimum(ops.maximum(places, 0.0), limit)
    floor = ops.floor(places)
    fraction = places - floor
    low = ops.cast(floor, "int32")
    return low, (1.0 - fraction) * inside, ops.minimum(low + 1, last), fraction * inside


def num_used(valid) -> int:
    """All rows of (B, N), whatever they hold: shapes are fixed."""
    return valid.shape[1]


def double(feature):
    """(B, H, W, C) → (B, 2H, 2W, C), nearest neighbour."""
    return ops.repeat(ops.repeat(feature, 2, axis=1), 2, axis=2)


def missing_pixels(sides, reach, strides) -> list[int]:
    """Pixels of padding along each axis that "same" means, of which the smaller half lies in front."""
    return [max((-(-side // stride) - 1) * stride + pixels - side, 0) for side, pixels, stride in zip(sides, reach, strides)]


KERNELS = Kernels(pool_levels, num_used, ops.while_loop, ops.cast, double)
