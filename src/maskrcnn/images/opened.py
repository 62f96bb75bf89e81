"""What every kind of image file is once it is open: one object that answers all questions about it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from maskrcnn.config.model import Scaling
from maskrcnn.images.content import Content
from maskrcnn.images.files import MAX_PIXELS, errors_in_one_line
from maskrcnn.images.large import LargeImage
from maskrcnn.images.values import to_channels, windowed
from maskrcnn.structures import Plane, Source


@dataclass(frozen=True)
class Display:
    """How planes are cut and shown.

    Attributes:
        window: (center, width) of the gray values that are shown, of images with one channel; or which of a DICOM file's own
            windows, from 1. None shows what the file or, without its word, `read_image` shows.
        axis: axial, coronal or sagittal: how a NIfTI volume is sliced.
        keep_patient: whether a DICOM file's `grid` holds the patient's attributes.
        channels: of the shown images; None where any number will do. Those of DICOM and NIfTI are always gray or RGB.
        scaling: of values of more than 8 bits, see `ImageConfig.scaling`.
        least: (height, width) that suffices: a JPEG with twice as many pixels either way is decoded at a half, a quarter or an
            eighth of its size, which skips most of the work. None: all of it.
    """

    window: tuple[float, float] | int | None = None
    axis: str = "axial"
    keep_patient: bool = False
    channels: int | None = 3
    scaling: Scaling = "all_channels"
    least: tuple[int, int] | None = None


class ImageFile(ABC):
    """An image file, open. To be closed, or used in a `with` block.

    Attributes:
        source: the file's size, counts, axes, pixel size, spacing and grid.
        size: (height, width) of `first`.
        has_regions: whether `regions` reads it: of planes of DICOM and NIfTI there are none.
    """

    source: Source
    size: tuple[int, int]
    has_regions = True

    def __init__(self, content: Content, display: Display) -> None:
        self.content, self.display = content, display
        self.on_close = ExitStack()
        self.on_close.callback(content.close)

    def __enter__(self) -> ImageFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; values that were read stay."""
        self.on_close.close()

    @property
    def name(self) -> str:
        """Of the file, as errors say it."""
        return self.content.name

    @abstractmethod
    def first(self) -> np.ndarray:
        """(H, W) or (H, W, C) values of the file taken as one image: the first of several pages, upright.

        Of DICOM and NIfTI it is the image that is shown, and there is one plane.

        Raises:
            ValueError: for what cannot be decoded, or has several planes where all count; one line.
        """

    @abstractmethod
    def values(self, number: int) -> np.ndarray:
        """(H, W) or (H, W, C) values of a plane, counted from 1."""

    def planes(self) -> Generator[Plane]:
        """The planes, one by one, with their values and as they are shown.

        Raises:
            ValueError: for a plane that cannot be read, or has other channels than are shown; one line.
        """
        if isinstance(self.display.window, int):
            wanted = "wanted center and width"
            raise ValueError(
                f"{self.name} has no windows of its own, as DICOM has; received number {self.display.window}, {wanted}."
            )
        for number in range(1, self.source.num_planes + 1):
            with errors_in_one_line(self.name):
                values = self.values(number)
                image = self._shown(values)
            yield Plane(self.source, number, values, image)

    def regions(self) -> LargeImage:
        """The image as one whose regions are read when they are asked for. It stays open as long as this file.

        Raises:
            ValueError: for several planes, or other channels than are shown.
        """
        raise ValueError(f"{self.name} is looked at plane by plane, and has no regions.")

    def _decoded_regions(self) -> LargeImage:
        """Regions of what can only be decoded whole."""
        with errors_in_one_line(self.name):
            if math.prod(self.size) > MAX_PIXELS:
                raise ValueError(
                    f"it has more than {MAX_PIXELS // 10**6} million pixels and can only be decoded whole; "
                    "convert it to a tiled TIFF, with vips or tifffile"
                )
        values = self.first()
        return large_image(values, "YXC"[: values.ndim], self.name, self.display)

    def _shown(self, values: np.ndarray) -> np.ndarray:
        window, channels = self.display.window, self.display.channels
        shown = windowed(values, *window) if isinstance(window, tuple) and values.ndim == 2 else values
        if channels is None:
            channels = values.shape[2] if values.ndim == 3 else 1
        return to_channels(shown, channels, self.display.scaling)


def only_plane(file: ImageFile) -> Plane:
    """The only plane of a file.

    Raises:
        ValueError: for a file of several.
    """
    num_planes = file.source.num_planes
    if num_planes > 1:
        raise ValueError(
            f"{file.name} has {num_planes} planes, not one image; maskrcnn.read_planes(path) gives them one by one."
        )
    with closing(file.planes()) as planes:
        return next(planes)


class Format(Protocol):
    """A module that reads one kind of image files."""

    def recognise(self, content: Content) -> bool:
        """Whether a file is of this kind, by its first bytes and its name."""

    def read(self, content: Content, display: Display) -> ImageFile:
        """The file, open. Raises ValueError, one line, for one that is broken; ImportError without the library it needs."""


def large_image(
    array: Any, axes: str, name: str | None, display: Display, close: Callable[[], Any] | None = None
) -> LargeImage:
    """The image, whatever its channels where `display.channels` is None; closed again where it is none.

    Args:
        array: whatever has `shape` and `dtype` and is sliced like NumPy.
        axes: a letter for each of its axes, see `LargeImage`.
        name: what errors call it; None for an array.
        display: channels and scaling count.
        close: called when the image is closed.
    """
    channels = display.channels
    if channels is None:
        own = [length for name_of, length in zip(axes, array.shape) if name_of in "SC"]
        channels = own[0] if own else 1
    close = close or (lambda: None)
    try:
        if len(axes) != len(array.shape) or array.dtype.kind not in "uif":
            raise ValueError(f"{name or 'The array'} holds no image; received shape {array.shape} of {array.dtype}.")
        return LargeImage(array, axes, path=name, close=close, channels=channels, scaling=display.scaling)
    except BaseException:
        close()
        raise
