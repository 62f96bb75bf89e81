"""Large images behind one interface: regions read at a scale, and samples of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from maskrcnn.config.model import Scaling
from maskrcnn.images.declared import check_region_size
from maskrcnn.images.files import errors_in_one_line
from maskrcnn.images.values import between, limits, to_channels

_SAMPLED = 1 << 22  # pixels, about so many are looked at for percentiles …
_SAMPLE_SIDE = 128  # … in squares of this side
Region = tuple[int, int, int, int]  # left, top, right, bottom


class LargeImage:
    """An image whose regions are read when they are asked for. To be closed, or used in a `with` block.

    Values of more than 8 bits are stretched as `read_image` stretches them, with limits taken once, over the whole image, so
    that neighboring regions agree. Of images above 4 million pixels every so-manieth square is looked at for them.

    Attributes:
        size: (height, width).
        channels: of what `read` gives.
        path: the file, where it came from one.
    """

    def __init__(
        self,
        array: Any,
        axes: str,
        *,
        path: str | None = None,
        channels: int = 3,
        scaling: Scaling = "all_channels",
        close: Callable[[], Any] = lambda: None,
    ) -> None:
        """Use `open_large`.

        Args:
            array: whatever has `shape` and `dtype` and is sliced like NumPy.
            axes: a letter each of its axes: Y, X, and C or S for channels; any others have length 1.
            path: what errors call it.
            channels: of the model.
            scaling: see `ImageConfig.scaling`.
            close: called at the end.
        """
        self.path, self._close = path, close
        self._array, self._axes = array, axes
        lengths = dict(zip(axes, array.shape, strict=True))
        planes = {name: length for name, length in lengths.items() if name not in "YXSC" and length > 1}
        if planes or not {"Y", "X"} <= set(axes) or {"S", "C"} <= set(axes):
            raise ValueError(
                f"{path or 'The array'} has the axes {axes} of lengths {tuple(array.shape)}; wanted is one plane with "
                "its channels: choose one, as array[0], and pass that."
            )
        self.size: tuple[int, int] = (lengths["Y"], lengths["X"])
        check_region_size(*self.size)
        own = next((lengths[name] for name in "SC" if name in lengths), 1)
        own = 3 if "S" in axes and own == 4 and channels == 3 else own  # transparency is dropped
        if (own, channels) not in ((own, own), (1, 3), (3, 1)):
            raise ValueError(f"{path or 'The array'} has {own} channels and the model takes {channels}.")
        self._own, self.channels, self._apart = own, channels, scaling == "each_channel"
        self._limits: tuple[np.ndarray, np.ndarray] | None = None
        chunks = getattr(array, "chunks", None)  # of zarr
        self._in_strips = chunks is not None and dict(zip(axes, chunks))["X"] >= lengths["X"]
        self._strip: tuple[tuple[int, int], np.ndarray] | None = None

    def __enter__(self) -> LargeImage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._strip = None
        self._close()

    def close_too(self, close: Callable[[], Any]) -> None:
        """Lets `close` be called at the end as well, after what is called now."""
        before = self._close

        def both() -> None:
            before()
            close()

        self._close = both

    def read(self, region: Region) -> np.ndarray:
        """(h, w, channels) uint8, what lies in a region.

        Raises:
            ValueError: for a file that is cut off or broken there.
        """
        values = self.values(region)
        if values.dtype != np.uint8:
            if self._limits is None:
                self._limits = self._percentiles()
            values = between(values.astype(np.float32), *self._limits)
        return to_channels(values, self.channels)

    def values(self, region: Region) -> np.ndarray:
        """(h, w, C) in the file's own depth and channels."""
        left, top, right, bottom = region
        if not self._in_strips:
            return self._cut(region)
        if self._strip is None or self._strip[0] != (top, bottom):  # strips are as wide as the image: decode each once
            self._strip = None
            self._strip = (top, bottom), self._cut((0, top, self.size[1], bottom))
        return self._strip[1][:, left:right]

    def _cut(self, region: Region) -> np.ndarray:
        left, top, right, bottom = region
        places: dict[str, Any] = {"Y": slice(top, bottom), "X": slice(left, right), "S": slice(None), "C": slice(None)}
        with errors_in_one_line(self.path or "the array"):
            values = np.asarray(self._array[tuple(places.get(name, 0) for name in self._axes)])
        axes = "".join(name for name in self._axes if name in places)
        values = values.transpose([axes.index(name) for name in "YXSC" if name in axes])
        values = values.reshape(bottom - top, right - left, -1)
        return values[:, :, : self._own]

    def _percentiles(self) -> tuple[np.ndarray, np.ndarray]:
        """What becomes 0 and what 255, each (1,) or (channels,)."""
        values = np.concatenate([self.values(region).reshape(-1, self._own) for region in sampled_regions(self.size)])
        low, high = limits(values.astype(np.float32), each_channel=self._apart)
        return low.astype(np.float32), high.astype(np.float32)


def sampled_regions(size: tuple[int, int]) -> list[Region]:
    """Squares that stand for an image of `size` (height, width), evenly spread, row by row; all of it where it is small."""
    height, width = size
    if height * width <= _SAMPLED:
        return [(0, 0, width, height)]
    part = math.sqrt(_SAMPLED / (height * width))
    tops, lefts = (_spread(length, max(1, round(length * part / _SAMPLE_SIDE))) for length in size)
    return [(x, y, min(x + _SAMPLE_SIDE, width), min(y + _SAMPLE_SIDE, height)) for y in tops for x in lefts]


def _spread(length: int, count: int) -> list[int]:
    """Where `count` squares begin, each in the middle of its part of the length."""
    return [max(0, int((k + 0.5) * length / count) - _SAMPLE_SIDE // 2) for k in range(count)]


def reduced(image: LargeImage, longest: int) -> tuple[np.ndarray, int]:
    """A small copy for the eye, no side above `longest`: (h, w, channels) uint8, and k, where each pixel is the mean of k × k.

    Read region by region; a last row or column of fewer than k pixels is left out.
    """
    height, width = image.size
    factor = max(1, math.ceil(max(height, width) / longest))
    side = max(1, 1024 // factor) * factor
    small = np.zeros((max(1, height // factor), max(1, width // factor), image.channels), np.uint8)
    for top in range(0, small.shape[0] * factor, side):
        for left in range(0, small.shape[1] * factor, side):
            place = small[top // factor : (top + side) // factor, left // factor : (left + side) // factor]
            end = left + place.shape[1] * factor, top + place.shape[0] * factor
            values = image.read((left, top, min(end[0], width), min(end[1], height)))
            place[:] = cv2.resize(values, place.shape[1::-1], interpolation=cv2.INTER_AREA).reshape(place.shape)
    return small, factor
