"""Maps that grow, for heads that look closer than they pool."""

from __future__ import annotations

from keras import ops


def double(maps):
    """Twice the height and width, bilinear, pixel centres at half a pixel and edges repeated: (N, H, W, K) → (N, 2H, 2W, K)."""
    for axis in (1, 2):
        count = maps.shape[axis]
        before = ops.take(maps, [max(place - 1, 0) for place in range(count)], axis=axis)
        after = ops.take(maps, [min(place + 1, count - 1) for place in range(count)], axis=axis)
        halves = ops.stack([0.25 * before + 0.75 * maps, 0.75 * maps + 0.25 * after], axis=axis + 1)
        shape = list(maps.shape)
        shape[0], shape[axis] = -1, 2 * count
        maps = ops.reshape(halves, shape)
    return maps
