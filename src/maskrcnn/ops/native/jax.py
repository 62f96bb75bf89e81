"""JAX's own kernels, where they were measured to be worth it (docs/notes.md has the figures)."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
from keras import ops

from maskrcnn.ops.native import portable
from maskrcnn.ops.native.kernels import Samples
from maskrcnn.ops.native.portable import Rows

JIT_COMPILE = True  # JAX has nothing but XLA
ONE_CALL_AT_A_TIME = True  # Keras hands JAX a model's weights to be used up and takes them back with the answer

# Boxes whose samples are summed together, in as many rounds as the widest of them has samples.
BOXES_AT_ONCE = 32

top_k = ops.top_k


def pool_levels(features, levels, y: Samples, x: Samples):
    """See `Kernels.pool_levels`. Boxes with about as many samples go together, so that few wait for a wide one."""
    if isinstance(y.count, int):
        return portable.pool_levels(features, levels, y, x)
    pixels = portable.pixels_of(features)
    rows = portable.rows_of(pixels, levels, y, x)
    num_rows = rows.first.shape[0]
    order = jnp.argsort(rows.y.count * rows.x.count, descending=True)  # (R,)
    padding = -num_rows % BOXES_AT_ONCE
    place = jnp.argsort(order)  # (R,), where each box went
    order = jnp.concatenate([order, jnp.full(padding, order[-1], order.dtype)])
    pooled = _sum_groups(y.num_bins, pixels.table, *_arrays(rows.take(order)))[place]  # (R, P, P, C)
    return pooled.reshape(*levels.shape, *pooled.shape[1:])


def _arrays(rows: Rows) -> tuple:
    """The nine arrays of `Rows`, each (G, BOXES_AT_ONCE)."""
    flat = (*rows[:3], *rows.y[:3], *rows.x[:3])
    return tuple(values.reshape(-1, BOXES_AT_ONCE) for values in flat)


def _rows(arrays, num_bins: int) -> Rows:
    return Rows(*arrays[:3], Samples(*arrays[3:6], num_bins), Samples(*arrays[6:], num_bins))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _sum_groups(num_bins: int, table, *arrays):
    """(·, C) and groups of boxes, see `_arrays` → (G · BOXES_AT_ONCE, P, P, C); XLA differentiates no such loop."""
    pooled = jax.lax.map(lambda group: portable.sum_samples(table, _rows(group, num_bins)), arrays)
    return pooled.reshape(-1, *pooled.shape[2:])


def _forward(num_bins: int, table, *arrays):
    return _sum_groups(num_bins, table, *arrays), (table, arrays)


def _backward(num_bins: int, kept, slope):
    """Pooling is linear in the table: what a bin gathered it spreads again, with the same weights."""
    table, arrays = kept
    slope = slope.reshape(-1, BOXES_AT_ONCE, *slope.shape[1:])  # (G, ·, P, P, C)

    def spread(total, group_and_slope):
        group, slope = group_and_slope
        rows = _rows(group, num_bins)
        most = jnp.max(rows.y.count * rows.x.count)

        def add(number, total):
            for places, weight in portable.terms_of_sample(rows, number):
                total = total.at[places].add(slope * weight[..., None].astype(slope.dtype))
            return total  # (R, C)

        return jax.lax.fori_loop(0, most, add, total), None

    total, _ = jax.lax.scan(spread, jnp.zeros_like(table), (arrays, slope))
    return total, *(None for _ in arrays)


_sum_groups.defvjp(_forward, _backward)


def in_parts(predict, model, batch):
    """See `portable.in_parts`; a batch that does not divide is computed whole by each device."""
    layout = model.variables[0].value.sharding
    devices = layout.device_set
    if len(devices) == 1 or len(jax.tree.leaves(batch)[0]) % len(devices) or not layout.is_fully_addressable:
        return predict(batch)
    rows = jax.sharding.NamedSharding(layout.mesh, jax.sharding.PartitionSpec(layout.mesh.axis_names[0]))
    return predict(jax.device_put(batch, rows))


def place_as(variable, value):
    """See `portable.place_as`: where other processes have a part of the variable, it is as they do the same, and asks none."""
    layout = variable.value.sharding
    if layout.is_fully_addressable:
        return value
    value = value.astype(variable.value.dtype)
    return jax.make_array_from_callback(value.shape, layout, lambda index: value[index])


KERNELS = portable.KERNELS._replace(pool_levels=pool_levels)


@jax.custom_vjp
def add_bias(values, bias):
    """(…, C) and (C,) of 16-bit floats → (…, C). XLA's own gradient adds up in 16 bits on CPUs, and the more the worse."""
    return values + bias


def _add_bias_forward(values, bias):
    return values + bias, bias


def _add_bias_backward(bias, slope):
    total = jnp.sum(slope, axis=range(slope.ndim - 1), dtype="float32")
    return slope, total.astype(bias.dtype)


add_bias.defvjp(_add_bias_forward, _add_bias_backward)


def depthwise_conv(x, kernel, *, strides: tuple[int, int], padding: str):
    """As `keras.ops.depthwise_conv`, on CPUs one product a pixel of the kernel: XLA's own takes ten times as long there.

    JAX is asked for its devices here and not on import, because several processes meet before it knows them.

    Args:
        x: (B, H, W, C).
        kernel: (k, k, C, 1).
    """
    if jax.default_backend() != "cpu":
        return ops.depthwise_conv(x, kernel, strides=strides, padding=padding)
    call = _depthwise if tuple(strides) == (1, 1) else _plain_depthwise
    return call((tuple(strides), padding), x, kernel)


def _plain_depthwise(options, x, kernel):
    weights = kernel.reshape(-1, x.shape[-1])
    return sum(pixels * weight for pixels, weight in zip(_pixels_under(x, kernel.shape[:2], *options), weights))


def _depthwise_forward(options, x, kernel):
    return _plain_depthwise(options, x, kernel), (x, kernel)


def _depthwise_backward(options, kept, slope):
    """By the images it is the same sum with the kernel turned, one loop, where XLA's own makes an image of each pixel's."""
    (strides, padding), (x, kernel) = options, kept
    missing = portable.missing_pixels(x.shape[1:3], kernel.shape, strides)
    in_front = [pixels // 2 if padding == "same" else 0 for pixels in missing]
    edges = [
        (long - 1 - front, side + front - answer)
        for long, front, side, answer in zip(kernel.shape, in_front, x.shape[1:3], slope.shape[1:3])
    ]
    padded = ops.pad(slope, ((0, 0), *edges, (0, 0)))
    of_pixels = [
        jnp.sum(pixels * slope, axis=(0, 1, 2), dtype="float32") for pixels in _pixels_under(x, kernel.shape[:2], *options)
    ]
    return (
        _plain_depthwise((strides, "valid"), padded, kernel[::-1, ::-1]),
        jnp.stack(of_pixels).reshape(kernel.shape).astype(kernel.dtype),
    )


_depthwise = jax.custom_vjp(_plain_depthwise, nondiff_argnums=(0,))
_depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def conv(x, kernel, *, strides: tuple[int, int], padding: str, dilation_rate: tuple[int, int] = (1, 1)):
    """As `keras.ops.conv`; on CPUs the kernel's gradient is one product of matrices a pixel of the kernel.

    XLA's own is a convolution with a kernel as large as the image (docs/measurements.md has what that takes).

    Args:
        x: (B, H, W, C).
        kernel: (k, k, C / groups, out).
    """
    options = (tuple(strides), padding, tuple(dilation_rate))
    if jax.default_backend() != "cpu" or kernel.shape[2] != x.shape[3]:
        return _plain_conv(options, x, kernel)
    return _conv(options, x, kernel)


def _plain_conv(options, x, kernel):
    strides, padding, dilation_rate = options
    return ops.conv(x, kernel, strides=strides, padding=padding, dilation_rate=dilation_rate)


def _conv_forward(options, x, kernel):
    return _plain_conv(options, x, kernel), (x, kernel)


def _conv_backward(options, kept, slope):
    x, kernel = kept
    (slope_of_x,) = jax.vjp(lambda x: _plain_conv(options, x, kernel), x)[1](slope)
    flat = slope.reshape(-1, slope.shape[-1])  # (B · H' · W', out)
    of_pixels = [
        jnp.matmul(pixels.reshape(-1, x.shape[-1]).T, flat, preferred_element_type="float32")
        for pixels in _pixels_under(x, kernel.shape[:2], *options)
    ]
    return slope_of_x, jnp.stack(of_pixels).reshape(kernel.shape).astype(kernel.dtype)


_conv = jax.custom_vjp(_plain_conv, nondiff_argnums=(0,))
_conv.defvjp(_conv_forward, _conv_backward)


def _pixels_under(x, kernel_size, strides, padding: str, dilation_rate=(1, 1)):
    """For each pixel of a kernel, row by row, those of the images that it meets: (B, H', W', C)."""
    reach = [(pixels - 1) * rate + 1 for pixels, rate in zip(kernel_size, dilation_rate)]
    if padding == "same":
        missing = portable.missing_pixels(x.shape[1:3], reach, strides)
        x = ops.pad(x, ((0, 0), *((pixels // 2, pixels - pixels // 2) for pixels in missing), (0, 0)))
    rows, columns = ((side - long) // stride * stride + 1 for side, long, stride in zip(x.shape[1:3], reach, strides))
    for i, j in itertools.product(*(range(0, long, rate) for long, rate in zip(reach, dilation_rate))):
        yield x[:, i : i + rows : strides[0], j : j + columns : strides[1]]
