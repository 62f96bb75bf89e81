"""PyTorch's own kernels, where they were measured to be worth it (docs/notes.md has the figures)."""

from __future__ import annotations

import torch

from maskrcnn.ops.native import portable
from maskrcnn.ops.native.portable import Rows, in_parts, place_as  # noqa: F401

JIT_COMPILE = False  # PyTorch is eager
ONE_CALL_AT_A_TIME = False

add_bias = None


def conv(x, kernel, *, strides: tuple[int, int], padding: str, dilation_rate: tuple[int, int] = (1, 1)):
    """As `keras.ops.conv`, which on PyTorch copies every image twice to turn its channels there and back.

    Args:
        x: (B, H, W, C).
        kernel: (k, k, C / groups, out).
    """
    reach = [(pixels - 1) * rate + 1 for pixels, rate in zip(kernel.shape, dilation_rate)]
    missing = portable.missing_pixels(x.shape[1:3], reach, strides) if padding == "same" else [0, 0]
    x = x.permute(0, 3, 1, 2)  # a view, whose memory is what PyTorch calls channels last
    if any(pixels % 2 for pixels in missing):  # one more behind than before
        top, left = (pixels // 2 for pixels in missing)
        x, missing = torch.nn.functional.pad(x, (left, missing[1] - left, top, missing[0] - top)), [0, 0]
    answer = torch.nn.functional.conv2d(
        x,
        kernel.permute(3, 2, 0, 1),
        stride=tuple(strides),
        padding=tuple(pixels // 2 for pixels in missing),
        dilation=tuple(dilation_rate),
        groups=x.shape[1] // kernel.shape[2],
    )
    return answer.permute(0, 2, 3, 1)


def depthwise_conv(x, kernel, *, strides: tuple[int, int], padding: str):
    """As `keras.ops.depthwise_conv`: x (B, H, W, C), kernel (k, k, C, 1)."""
    return conv(x, kernel.permute(0, 1, 3, 2), strides=strides, padding=padding)


def sum_rows(values, places, weights):
    """Weighted sums of rows, none of which is held: PyTorch's embedding bag.

    Args:
        values: (R, C).
        places: (…, T) integers in 0 … R-1, the rows of each sum.
        weights: (…, T), their weights; no gradient goes through them.

    Returns:
        (…, C).
    """
    sums = torch.nn.functional.embedding_bag(
        places.reshape(-1, places.shape[-1]),
        values.float(),  # the sum in float32, as on TensorFlow
        per_sample_weights=weights.reshape(-1, places.shape[-1]).float(),
        mode="sum",
    )
    return sums.to(values.dtype).reshape(*places.shape[:-1], -1)


def num_used(valid):
    """See `Kernels.num_used`: (B, N) bool → a number."""
    rows = torch.arange(1, valid.shape[1] + 1, device=valid.device)
    return max(int((rows * valid.any(dim=0)).max()), 1)


def top_k(values, num_rows: int):
    """As `keras.ops.top_k`, (B, N) best first, but equal values keep their order; `torch.topk` promises none."""
    values, indices = torch.sort(values, dim=-1, descending=True, stable=True)
    return values[..., :num_rows], indices[..., :num_rows]


def pool_levels(features, levels, y, x):
    """See `Kernels.pool_levels`: a bin is one embedding bag."""
    pixels = portable.pixels_of(features)
    rows = portable.rows_of(pixels, levels, y, x)
    pooled = sum_bins(pixels.table, rows) if isinstance(y.count, int) else _sum_groups(pixels.table, rows)
    return pooled.reshape(*levels.shape, *pooled.shape[1:])  # (B, N, P, P, C)


def sum_bins(table, rows: Rows):
    """(·, C) and boxes that all have the same numbers of samples → (R, P, P, C)."""
    places, weights = (torch.stack(parts, dim=-1) for parts in zip(*portable.even_terms(rows), strict=True))  # (R, P, P, T)
    return sum_rows(table, places, weights)


def _sum_groups(table, rows: Rows):
    """As `sum_bins`, of boxes with different numbers of samples: those with the same numbers together."""
    numbers = torch.stack([rows.y.count, rows.x.count], dim=1)  # (R, 2)
    kinds, group = torch.unique(numbers, dim=0, return_inverse=True)  # (G, 2), (R,)
    order, pooled = [], []
    for number, (num_y, num_x) in enumerate(kinds.tolist()):
        here = torch.nonzero(group == number)[:, 0].int()
        order.append(here)
        if num_y * num_x == 0:
            side = (rows.y.num_bins, rows.x.num_bins)
            pooled.append(table.new_zeros((len(here), *side, table.shape[1])))
            continue
        same = rows.take(here)
        same = same._replace(y=same.y._replace(count=num_y), x=same.x._replace(count=num_x))
        pooled.append(sum_bins(table, same))
    # Each box lies in exactly one group: the inverse of a permutation puts them back into their order.
    return torch.cat(pooled)[torch.argsort(torch.cat(order))]  # (R, P, P, C)


def total(values):
    """See `Kernels.total`: over processes, each of which has a device. Gradients that are None stay so."""
    if part()[1] == 1:
        return values
    if isinstance(values, torch.Tensor):
        values = values.detach().clone()
        torch.distributed.all_reduce(values)
        return values
    known = [value for value in values if value is not None]
    flat = torch.cat([value.detach().reshape(-1) for value in known])  # one message, in the same order everywhere
    torch.distributed.all_reduce(flat)
    sums = iter(flat.split([value.numel() for value in known]))
    return [None if value is None else next(sums).reshape(value.shape) for value in values]


def part() -> tuple[int, int]:
    """See `Kernels.part`: a process's."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


KERNELS = portable.KERNELS._replace(pool_levels=pool_levels, num_used=num_used, total=total, part=part)
