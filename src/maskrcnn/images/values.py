"""Values of pixels: to bytes, to the channels a model takes, through a window of gray values."""

from __future__ import annotations

from typing import Literal

import numpy as np

from maskrcnn.config.model import Scaling

_COUNTED = 1 << 22  # values at a time, of which NumPy makes integers of 8 bytes
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def to_channels(values: np.ndarray, channels: int = 3, scaling: Scaling = "all_channels") -> np.ndarray:
    """Values of any kind as a model of so many channels takes them.

    Args:
        values: (H, W) or (H, W, C); bytes stay, all else is stretched.
        channels: of the model.
        scaling: how it is stretched, see `ImageConfig.scaling`.

    Returns:
        (H, W, channels) uint8: gray repeated for 3 channels, RGB as luma for 1.

    Raises:
        ValueError: for any other number of channels than the model's; for complex values.
    """
    found = values.shape[2] if values.ndim == 3 else 1
    if values.ndim not in (2, 3) or 0 in values.shape or (found, channels) not in ((found, found), (1, 3), (3, 1)):
        more = {1: ", (H, W) or (H, W, 3)", 3: " or (H, W)"}.get(channels, "")
        wanted = f"an image for a model of {channels} channels is (H, W, {channels}){more}"
        raise ValueError(f"{wanted}; received shape {values.shape}")
    check_real(values)
    if (found, channels) == (3, 1):
        luma = values.astype(np.float32) @ LUMA
        values = np.rint(luma).astype(np.uint8) if values.dtype == np.uint8 else luma
    values = values.reshape(*values.shape[:2], -1)
    shown = values if values.dtype == np.uint8 else stretch(values, scaling)
    return np.ascontiguousarray(np.broadcast_to(shown, (*shown.shape[:2], channels)))


def check_real(values: np.ndarray) -> None:
    """Refuses complex values, of which NumPy would show the real part alone."""
    if np.iscomplexobj(values):
        raise ValueError(f"an image has real values; received {values.dtype}; save what shall be seen, as np.abs(values)")


def stretch(values: np.ndarray, scaling: Scaling = "all_channels") -> np.ndarray:
    """Values of any kind to uint8, between their `limits`. What is no number is black, as -inf is; inf is white."""
    if values.dtype in (np.uint16, np.int16):
        return _stretch_counted(values, each_channel=values.ndim == 3 and scaling == "each_channel")
    values = values.astype(np.float32)
    return between(values, *limits(values, each_channel=values.ndim == 3 and scaling == "each_channel"))


def limits(values: np.ndarray, *, each_channel: bool) -> tuple[np.ndarray, np.ndarray]:
    """What becomes 0 and what 255: the 0.1th and the 99.9th percentile of what is finite; its extremes where these are equal.

    Args:
        values: (..., C) float.
        each_channel: whether of each channel by itself.

    Returns:
        Two arrays, (C,) or (1,).
    """
    groups = values.reshape(-1, values.shape[-1]).T if each_channel else values.reshape(1, -1)
    pairs = []
    for group in groups:
        finite = group[np.isfinite(group)]
        low, high = np.percentile(finite, (0.1, 99.9)) if finite.size else (0.0, 0.0)
        pairs.append((finite.min(), finite.max()) if low == high and finite.size else (low, high))
    low, high = np.array(pairs).T
    return low, high


def _stretch_counted(values: np.ndarray, *, each_channel: bool) -> np.ndarray:
    """What `stretch` gives of whole numbers of 16 bits, by counting them: a fifth of the memory, and no sorting."""
    shown = np.empty(values.shape, np.uint8)
    groups = [(values[..., k], shown[..., k]) for k in range(values.shape[-1])] if each_channel else [(values, shown)]
    known = np.arange(1 << 16, dtype=np.uint16).view(values.dtype)  # each value, at the place of its bits
    order = np.argsort(known)
    for group, out in groups:
        step = max(1, _COUNTED // group[0].size)  # rows
        blocks = [slice(start, start + step) for start in range(0, len(group), step)]
        counts = np.zeros(1 << 16, np.int64)
        for block in blocks:
            counts += np.bincount(group[block].view(np.uint16).ravel(), minlength=1 << 16)
        pair = [_percentile(known[order], counts[order], part) for part in (0.1, 99.9)]
        if pair[0] == pair[1]:
            present = known[counts > 0]
            pair = [present.min(), present.max()]
        table = between(known.astype(np.float32), *np.array(pair, np.float64)[:, None])
        for block in blocks:
            out[block] = table[group[block].view(np.uint16)]
    return shown


def _percentile(values: np.ndarray, counts: np.ndarray, percent: float) -> float:
    """As `np.percentile`, of sorted values of which each comes so many times."""
    ends = np.cumsum(counts)
    place = (ends[-1] - 1) * (percent / 100)
    low, part = int(place), place - int(place)
    first, second = (float(values[np.searchsorted(ends, k, side="right")]) for k in (low, min(low + 1, int(ends[-1]) - 1)))
    return second - (second - first) * (1 - part) if part >= 0.5 else first + (second - first) * part


def between(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Float values as uint8: `low` and less become 0, `high` and more 255, NaN 0."""
    levels = (values - low) * (255.0 / np.maximum(high - low, 1e-30)) + 0.5
    return np.nan_to_num(np.clip(levels, 0, 255)).astype(np.uint8)


Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]


def windowed(values: np.ndarray, centre: float, width: float, *, function: str = "LINEAR") -> np.ndarray:
    """Values as gray levels: the window becomes 0 to 255, what lies below is black and above white.

    Args:
        values: (H, W).
        centre: of the window, in the values' own unit.
        width: of the window.
        function: of DICOM PS3.3: LINEAR (C.11.2.1.2.1), where a width of w holds w whole values; LINEAR_EXACT (C.11.2.1.3.2),
            where it is a length; SIGMOID (C.11.2.1.3.1).

    Returns:
        (H, W) uint8.

    Raises:
        ValueError: for a width that holds no value, another function, or complex values.
    """
    check_real(values)
    least = 1.0 if function == "LINEAR" else 0.0
    if not (width >= 1.0 if function == "LINEAR" else width > 0.0):
        raise ValueError(f"a window's width is {'at least 1' if least else 'above 0'}; received {width}")
    levels = values.astype(np.float64)
    if function == "SIGMOID":
        shown = 1.0 / (1.0 + np.exp(np.clip(-4.0 * (levels - centre) / width, -700.0, 700.0)))
    elif function in ("LINEAR", "LINEAR_EXACT"):
        middle, length = centre - 0.5 * least, width - least
        shown = (levels - (middle - length / 2)) / max(length, 1e-9)
    else:
        raise ValueError(f"a window's function is LINEAR, LINEAR_EXACT or SIGMOID; received {function}")
    return np.rint(255.0 * np.clip(np.nan_to_num(shown), 0.0, 1.0)).astype(np.uint8)


def looked_up(values: np.ndarray, table: np.ndarray, first: int, bits: int) -> np.ndarray:
    """Values as gray levels through a table (VOI LUT, DICOM PS3.3 C.11.2.1.1); beyond its ends the ends count.

    Args:
        values: (H, W); fractions are rounded.
        table: (N,) what is shown of `first`, `first + 1`, …
        first: the first value of the table.
        bits: of the table's entries: 2^bits - 1 is white.

    Returns:
        (H, W) uint8.
    """
    places = np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)
    return np.rint(np.asarray(table, np.float64)[places] * (255.0 / (2**bits - 1))).clip(0, 255).astype(np.uint8)
