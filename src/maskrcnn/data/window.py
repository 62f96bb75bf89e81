"""Values of any kind as the bytes that are shown: a window of them, or a lookup table."""

from __future__ import annotations

from typing import Literal

import numpy as np

from maskrcnn.data.images import check_real

Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]


def windowed(values: np.ndarray, centre: float, width: float, *, function: str = "LINEAR") -> np.ndarray:
    """Values as grey levels: the window becomes 0 to 255, what lies below is black and above white.

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
    """Values as grey levels through a table (VOI LUT, DICOM PS3.3 C.11.2.1.1); beyond its ends the ends count.

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
