"""Reads TIFF stacks plane by plane: OME-TIFF, ImageJ's hyperstacks, plain files of many pages."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskrcnn.data.images import check_size, errors_in_one_line
from maskrcnn.structures import PixelSize

_MICROMETRES = {
    "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "\\u00b5m": 1.0,
    "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6,
}  # fmt: skip


class TiffStack:
    """A TIFF file's first picture series, open; its planes are read when asked for.

    Of a pyramid that is the largest level; thumbnails and labels, which have another size, are not part of it.

    Attributes:
        size: (height, width) of a plane.
        axes: of the planes, Z, T or both; other axes that tell planes apart count as Z.
        counts: how many planes along each.
        pixel_size: from OME-XML, ImageJ's unit, or a resolution in pixels a centimetre. Pixels an inch are a printer's
            business: most programs write 72 or 96 whatever the picture.
        spacing: between planes along Z.
    """

    def __init__(self, path: str | Path) -> None:
        import tifffile  # slow to import, and few pictures are TIFF

        with errors_in_one_line(path):
            self._file = tifffile.TiffFile(path)
            self._series = self._file.series[0]
            axes, shape = self._series.axes, self._series.shape
            outer = [k for k, name in enumerate(axes) if name not in "YXSC"]
            self.size = (int(shape[axes.index("Y")]), int(shape[axes.index("X")]))
            kept = [k for k in outer if shape[k] > 1]
            names, self.counts = "".join(axes[k] for k in kept), tuple(int(shape[k]) for k in kept)
            if names not in ("Z", "T", "TZ", "ZT"):
                names, self.counts = ("Z", (math.prod(self.counts),)) if names else ("", ())
            self.axes = names
            self.pixel_size, self.spacing = _pixel_size(self._file)
            self._whole: np.ndarray | None = None

    def __enter__(self) -> TiffStack:
        return self

    def __exit__(self, *error: object) -> None:
        self._whole = None
        self._file.close()

    def read(self, frame: int) -> np.ndarray:
        """(H, W) or (H, W, C) values of a plane, numbered from 1."""
        check_size(*self.size)
        series, axes = self._series, self._series.axes
        outer = [k for k, name in enumerate(axes) if name not in "YXSC"]
        place = dict(zip(outer, np.unravel_index(frame - 1, [series.shape[k] for k in outer]))) if outer else {}
        paged = len(axes) - len(series.pages[0].axes)  # leading axes that go from page to page
        if all(k < paged for k in outer) and math.prod(series.shape[:paged]) == len(series.pages):
            values = self._read_pages(place, paged)
        else:  # one page that holds all, as ImageJ writes large stacks
            if self._whole is None:
                self._whole = series.asarray(out="memmap")
            values = self._whole[tuple(place.get(k, slice(None)) for k in range(len(axes)))]
        left = "".join(name for name in axes if name in "YXSC")
        channels = [k for k, name in enumerate(left) if name in "SC"]
        values = np.moveaxis(values, channels, range(2, 2 + len(channels)))
        return values.reshape(*self.size, -1) if math.prod(values.shape[2:]) > 1 else values.reshape(self.size)

    def _read_pages(self, place: dict[int, Any], paged: int) -> np.ndarray:
        """One plane with its channels, in the order of the file's axes."""
        series = self._series
        lengths = series.shape[:paged]
        choices = [[int(place[k])] if k in place else range(lengths[k]) for k in range(paged)]
        numbers = np.ravel_multi_index(np.meshgrid(*choices, indexing="ij"), lengths).ravel() if paged else [0]
        pages = [series.pages[int(number)] for number in numbers]
        empty = np.zeros(series.shape[paged:], series.dtype)
        planes = [empty if page is None else self._decoded(page).reshape(empty.shape) for page in pages]
        kept = [lengths[k] for k in range(paged) if k not in place]
        return np.stack(planes).reshape(*kept, *empty.shape)

    def _decoded(self, page: Any) -> np.ndarray:
        try:
            return page.asarray()
        except ValueError:  # tifffile leaves LZW and JPEG to a library of codecs; Pillow brings its own
            with Image.open(self._file.filehandle.path) as picture:
                picture.seek(page.index)
                return np.asarray(picture)


def _pixel_size(file: Any) -> tuple[PixelSize | None, float | None]:
    if file.is_ome:
        return _ome_size(file)
    page = file.pages[0]
    across, down = (_pixels_a_unit(page, name) for name in ("XResolution", "YResolution"))
    if file.is_imagej:
        about = file.imagej_metadata or {}
        factor = _MICROMETRES.get(str(about.get("unit", "")).strip())
        spacing = about.get("spacing")
    else:
        unit = page.tags.get("ResolutionUnit")
        factor, spacing = _MICROMETRES["cm"] if unit is not None and unit.value == 3 else None, None  # TIFF 6.0: 3 = centimetre
    if factor is None or not across or not down:
        return None, None
    return PixelSize(factor / down, factor / across, "um"), float(spacing) * factor if spacing else None


def _pixels_a_unit(page: Any, name: str) -> float:
    tag = page.tags.get(name)
    if tag is None:
        return 0.0
    above, below = tag.value if isinstance(tag.value, tuple) else (tag.value, 1)
    return above / below if below else 0.0


def _ome_size(file: Any) -> tuple[PixelSize | None, float | None]:
    import tifffile

    images = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
    pixels = (images[0] if isinstance(images, list) else images)["Pixels"]
    sizes = []
    for axis in "YXZ":
        factor = _MICROMETRES.get(str(pixels.get(f"PhysicalSize{axis}Unit", "µm")))  # OME-XML: micrometres unless it says so
        size = pixels.get(f"PhysicalSize{axis}")
        sizes.append(float(size) * factor if size and factor else None)
    height, width, depth = sizes
    return (PixelSize(height, width, "um"), depth) if height and width else (None, None)
