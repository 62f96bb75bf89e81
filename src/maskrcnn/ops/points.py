"""Values of maps at points, for heads that look at single points: PointRend (Kirillov et al. 2020)."""

from __future__ import annotations

from keras import ops

from maskrcnn.ops import native
from maskrcnn.ops import rows as row_ops


def read_at(maps, places):
    """Maps read bilinearly at places between their pixels' centers; zeros lie around them.

    Args:
        maps: (N, H, W, C).
        places: (N, P, 2) x, y in pixels of the map, the first pixel covers 0 to 1.

    Returns:
        (N, P, C).
    """
    shape = ops.shape(maps)
    height, width = shape[1], shape[2]
    flat = ops.reshape(maps, (shape[0], height * width, maps.shape[3]))
    first = ops.floor(places - 0.5)  # (N, P, 2), of the two pixels along each axis
    part = places - 0.5 - first
    first = ops.cast(first, "int32")
    answer = 0.0
    for down in (0, 1):
        for right in (0, 1):
            x, y = first[..., 0] + right, first[..., 1] + down
            weight = (part[..., 0] if right else 1.0 - part[..., 0]) * (part[..., 1] if down else 1.0 - part[..., 1])
            inside = ops.logical_and(ops.logical_and(x >= 0, x < width), ops.logical_and(y >= 0, y < height))
            pixel = ops.where(inside, y * width + x, 0)
            weight = ops.cast(ops.where(inside, weight, 0.0), maps.dtype)
            answer = answer + row_ops.gather(flat, pixel) * ops.expand_dims(weight, -1)
    return answer


def grid(side: int):
    """(side², 2) x, y of the centers of a square's cells, the square being 0 to 1; rows first."""
    centres = (ops.arange(side, dtype="float32") + 0.5) / side
    y, x = ops.meshgrid(centres, centres, indexing="ij")
    return ops.reshape(ops.stack([x, y], axis=-1), (-1, 2))


def in_frame(points, boxes):
    """Points (…, P, 2) of a box's square 0 to 1 in the frame of the boxes (…, 4) xyxy: (…, P, 2)."""
    corner, end = ops.expand_dims(boxes[..., :2], -2), ops.expand_dims(boxes[..., 2:], -2)
    return corner + points * (end - corner)


def in_box(places, boxes):
    """Undoes `in_frame`; a box without area counts as a thousandth of a pixel wide."""
    corner, end = ops.expand_dims(boxes[..., :2], -2), ops.expand_dims(boxes[..., 2:], -2)
    return (places - corner) / ops.maximum(end - corner, 1e-3)


def most_uncertain(logits, count: int):
    """(N, count) int32 places of the logits (N, P) nearest to 0, where a mask's border is. PointRend, section 3.1."""
    _, places = native.top_k(-ops.abs(logits), count)
    return ops.cast(places, "int32")


def put_at(values, places, new):
    """Values (N, P) with new ones (N, Q) at places (N, Q) int32, no two of a row the same."""
    num_rows, count = ops.shape(values)
    first = ops.expand_dims(ops.arange(num_rows, dtype="int32") * count, -1)
    flat = ops.scatter_update(
        ops.reshape(values, (-1,)), ops.reshape(places + first, (-1, 1)), ops.reshape(ops.cast(new, values.dtype), (-1,))
    )
    return ops.reshape(flat, (num_rows, count))


def double(maps):
    """Twice the height and width, bilinear, pixel centers at half a pixel and edges repeated: (N, H, W, K) → (N, 2H, 2W, K)."""
    for axis in (1, 2):
        count = maps.shape[axis]
        before = ops.take(maps, [max(place - 1, 0) for place in range(count)], axis=axis)
        after = ops.take(maps, [min(place + 1, count - 1) for place in range(count)], axis=axis)
        halves = ops.stack([0.25 * before + 0.75 * maps, 0.75 * maps + 0.25 * after], axis=axis + 1)
        shape = list(maps.shape)
        shape[0], shape[axis] = -1, 2 * count
        maps = ops.reshape(halves, shape)
    return maps
