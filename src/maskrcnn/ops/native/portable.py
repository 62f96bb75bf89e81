"""The kernels in `keras.ops` alone: what every backend, XLA included, can compile, and what the others are tested against.

Shapes: `B` images, `N` boxes, `P` bins along a side of a pooled box, `C` channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from keras import ops

from maskrcnn.ops.native.kernels import Kernels, Samples


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


class Rows(NamedTuple):
    """Boxes of all images one after the other, R = B N rows, and where their level lies in the table of `Pixels`."""

    first: Any  # (R,) int32, row of the table where the box's level of its image begins
    height: Any  # (R,) int32, of the level
    width: Any  # (R,) int32, of the level
    y: Samples  # of (R,)
    x: Samples  # of (R,)

    def take(self, rows) -> Rows:
        """Rows (N,) int32 of them alone, all of which have the first one's number of samples where that is a number."""
        first, height, width = (ops.take(values, rows, axis=0) for values in self[:3])  # (n,)
        axes = []
        for axis in (self.y, self.x):
            start, size = (ops.take(values, rows, axis=0) for values in axis[:2])  # (n,)
            count = axis.count if isinstance(axis.count, int) else ops.take(axis.count, rows, axis=0)
            axes.append(Samples(start, size, count, axis.num_bins))
        return Rows(first, height, width, *axes)


def rows_of(pixels: Pixels, levels, y: Samples, x: Samples) -> Rows:
    """(B, N) int32 levels, rows of `Pixels.heights`, and the boxes' samples → their `Rows`."""
    batch = ops.shape(levels)[0]
    heights, widths, starts = (ops.take(values, levels, axis=0) for values in pixels[1:4])  # (B, N) int32
    first = starts + ops.expand_dims(ops.arange(batch, dtype="int32") * pixels.num_rows, -1)  # (B, N) int32
    flat = lambda values: values if isinstance(values, int) else ops.reshape(values, (-1,))  # noqa: E731
    return Rows(flat(first), flat(heights), flat(widths), *(Samples(*map(flat, axis)) for axis in (y, x)))


def pool_levels(features: Sequence, levels, y: Samples, x: Samples):
    """See `Kernels.pool_levels`."""
    return gather_bins(pixels_of(features), levels, y, x)  # (B, N, P, P, C)


def gather_bins(pixels: Pixels, levels, y: Samples, x: Samples, *, while_loop: Callable[..., Any] = ops.while_loop):
    """Sums the four neighbors of every sample, one gather at a time: a tensor of bins is held, never one of all samples.

    Args:
        pixels: of the pyramid.
        levels: (B, N) int32, row of `Pixels.heights`.
        y, x: samples of the boxes along each axis.
        while_loop: goes through the samples where boxes have different numbers of them.

    Returns:
        (B, N, P, P, C).
    """
    rows = rows_of(pixels, levels, y, x)
    if isinstance(y.count, int):
        pooled = sum_terms(pixels.table, even_terms(rows))  # (R, P, P, C)
    else:
        pooled = sum_samples(pixels.table, rows, while_loop=while_loop)  # (R, P, P, C)
    return ops.reshape(pooled, (*ops.shape(levels), *pooled.shape[1:]))


def even_terms(rows: Rows) -> list[tuple[Any, Any]]:
    """Of boxes with the same numbers of samples: every pixel, (R, P, P) int32, that counts in a bin, and its weight."""
    terms = []
    sides_y, sides_x = (
        [side for sample in range(axis.count) for side in _neighbours(axis, sample, limit)]
        for axis, limit in ((rows.y, rows.height), (rows.x, rows.width))
    )
    for side_y in sides_y:
        terms.extend(_crossed(rows, side_y, side_x) for side_x in sides_x)
    return terms


def terms_of_sample(rows: Rows, number) -> list[tuple[Any, Any]]:
    """The four pixels, each (R, P, P) int32, around sample `number` of every bin, row by row, and their weights.

    Where a box has fewer samples the weights are 0.
    """
    columns = ops.maximum(rows.x.count, 1)  # (R,)
    sides_y = _neighbours(rows.y, number // columns, rows.height)
    sides_x = _neighbours(rows.x, number % columns, rows.width)
    return [_crossed(rows, side_y, side_x) for side_y in sides_y for side_x in sides_x]


def sum_terms(table, terms: Sequence[tuple[Any, Any]]):
    """Rows of the table, (·, C), at places (R, P, P), times their weights → (R, P, P, C), one gather at a time."""
    total = 0.0
    for places, weight in terms:
        taken = ops.take(table, places, axis=0)  # (R, P, P, C)
        total = total + taken * ops.cast(ops.expand_dims(weight, -1), taken.dtype)
    return total


def sum_samples(table, rows: Rows, *, while_loop: Callable[..., Any] = ops.while_loop):
    """Bins of boxes with different numbers of samples, in as many rounds as the widest box has samples: (R, P, P, C)."""
    most = ops.max(rows.y.count * rows.x.count)
    bins = (ops.shape(rows.first)[0], rows.y.num_bins, rows.x.num_bins, table.shape[-1])

    def is_left(number, total):
        return number < most

    def add(number, total):
        return number + 1, total + sum_terms(table, terms_of_sample(rows, number))

    _, pooled = while_loop(is_left, add, (ops.zeros((), "int32"), ops.zeros(bins, table.dtype)))
    return pooled


def _crossed(rows: Rows, side_y, side_x):
    """Places in the table and weights, each (R, P, P), of lines and of columns and their weights, each (R, P)."""
    (line, weight_y), (column, weight_x) = side_y, side_x
    start = ops.expand_dims(rows.first, -1) + line * ops.expand_dims(rows.width, -1)  # (R, P)
    places = ops.expand_dims(start, 2) + ops.expand_dims(column, 1)
    return places, ops.expand_dims(weight_y, 2) * ops.expand_dims(weight_x, 1)


def _neighbours(samples: Samples, sample, limits):
    """The two pixels around one sample of each bin along one axis and their weights, with the kernels' rule at the edge.

    Samples more than a pixel outside count nothing; others are moved onto the edge (Caffe2's `roi_align`, copied by all).

    Args:
        samples: of (R,) along the axis.
        sample: which; a number, or (R,) int32.
        limits: (R,) int32 pixels along the axis.

    Returns:
        (low, its weight), (high, its weight), each (R, P): int32 and float32.
    """
    count = ops.cast(ops.maximum(samples.count, 1), "float32")  # () or (R,)
    within = ops.expand_dims((ops.cast(sample, "float32") + 0.5) / count, -1)  # (1,) or (R, 1)
    bins = ops.arange(samples.num_bins, dtype="float32")  # (P,)
    places = ops.expand_dims(samples.start, -1) + (bins + within) * ops.expand_dims(samples.size, -1)  # (R, P)
    last = ops.expand_dims(limits, -1) - 1  # (R, 1) int32
    limit = ops.cast(last, "float32")
    counts = ops.logical_and(places >= -1.0, places <= limit + 1.0)
    counts = ops.logical_and(counts, ops.expand_dims(ops.convert_to_tensor(sample) < samples.count, -1))  # (R, P)
    weight = ops.cast(counts, "float32") / ops.expand_dims(count, -1)
    places = ops.minimum(ops.maximum(places, 0.0), limit)
    floor = ops.floor(places)
    fraction = places - floor
    low = ops.cast(floor, "int32")
    return (low, (1.0 - fraction) * weight), (ops.minimum(low + 1, last), fraction * weight)


def num_used(valid) -> int:
    """All rows of (B, N), whatever they hold: shapes are fixed."""
    return valid.shape[1]


def double(feature):
    """(B, H, W, C) → (B, 2H, 2W, C), nearest neighbor."""
    return ops.repeat(ops.repeat(feature, 2, axis=1), 2, axis=2)


def missing_pixels(sides, reach, strides) -> list[int]:
    """Pixels of padding along each axis that "same" means, of which the smaller half lies in front."""
    return [max((-(-side // stride) - 1) * stride + pixels - side, 0) for side, pixels, stride in zip(sides, reach, strides)]


def total(values):
    """The same tensor: one program has the whole batch, on however many devices it runs."""
    return values


def part() -> tuple[int, int]:
    """The first part of one."""
    return 0, 1


def in_parts(predict, model, batch):
    """What `predict` says of a batch of NumPy arrays, the model's devices each having a part of it."""
    return predict(batch)


def place_as(variable, value):
    """A NumPy array as `variable.assign` takes it."""
    return value


KERNELS = Kernels(pool_levels, num_used, ops.while_loop, ops.cast, double, total, part)
