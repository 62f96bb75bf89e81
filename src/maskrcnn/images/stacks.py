"""Reads TIFF stacks plane by plane: OME-TIFF, ImageJ's hyperstacks, plain files of many pages."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from maskrcnn.images.declared import check_memory, check_planes, check_stored, check_tiff, check_tiff_page
from maskrcnn.images.pillow import open_pillow
from maskrcnn.images.tiff import as_brightness, own_values
from maskrcnn.structures import PixelSize

_MICROMETRES = {
    "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0,
    "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6,
}  # fmt: skip


_IMAGES = ("ome", "shaped", "generic", "uniform")  # tifffile's kinds of series that may come several a file
_BESIDES = (
    "label",
    "label image",
    "macro",
    "macro image",
    "overview",
    "overview image",
    "thumbnail",
)  # of a slide, in OME-TIFF


class TiffStack:
    """The planes of a TIFF file, read when they are asked for.

    They are those of all its image series, one after the other: the positions of OME-TIFF, pages that were written one by one
    or differ in size. Of a pyramid only the largest level is one; thumbnails, masks and a slide's label are none.

    Attributes:
        size: (height, width) of the first plane.
        largest: (height, width) that all planes fit in.
        axes: of the planes, Z, T or both; other axes that tell planes apart count as Z.
        counts: how many planes along each.
        pixel_size: from OME-XML, ImageJ's unit, or a resolution in pixels a centimeter. Pixels an inch are a printer's
            business: most programs write 72 or 96 whatever the image.
        spacing: between planes along Z.
    """

    def __init__(self, file: Any) -> None:
        """Lists the planes of a `tifffile.TiffFile`, which stays open as long as they are read."""
        check_tiff(file)
        images = image_series(file)
        series = [_Series(one) for one in images]
        check_planes(sum(math.prod(one.counts) for one in series))
        self._planes = [(one, number) for one in series for number in range(math.prod(one.counts))]
        if len(series) > 1 and images[0].kind == "generic":  # tifffile puts pages that are alike together
            self._planes.sort(key=lambda plane: plane[0].page(plane[1]))
        self.size = series[0].size
        self.largest = max(one.size[0] for one in series), max(one.size[1] for one in series)
        self.axes, self.counts = series[0].axes, series[0].counts
        sizes = set(_pixel_sizes(file, images))
        self.pixel_size, self.spacing = sizes.pop() if len(sizes) == 1 else (None, None)
        if len(series) > 1:
            self.axes, self.counts, self.spacing = "Z", (len(self._planes),), None

    def read(self, place: int) -> np.ndarray:
        """(H, W) or (H, W, C) values of a plane, numbered from 1."""
        series, number = self._planes[place - 1]
        return series.read(number)


def image_series(file: Any) -> list[Any]:
    """The series of a `tifffile.TiffFile` that hold its planes: the first, and others that are images in their own right."""
    # A file of an OME-TIFF set describes all of the set's series; those that begin in it are its own.
    first, *others = [one for one in file.series if one.keyframe.parent is file] or file.series[:1]
    found, kinds = [first], {_kind(first)}
    for one in others if first.kind in _IMAGES else ():
        page = one.keyframe
        reduced_or_mask = page.subfiletype & 0b101  # NewSubfileType, TIFF 6.0
        besides = page.is_subifd or reduced_or_mask or one.name.lower() in _BESIDES
        if not besides and not any(_is_level(_kind(one), larger) for larger in kinds):
            found.append(one)
            kinds.add(_kind(one))
    return found


def _kind(series: Any) -> tuple[str, str, int, int]:
    return series.axes, str(series.dtype), series.keyframe.imagelength, series.keyframe.imagewidth


def _is_level(kind: tuple[str, str, int, int], larger: tuple[str, str, int, int]) -> bool:
    """Whether images look like larger ones reduced by a whole number: a pyramid that does not say that it is one."""
    step = round(larger[2] / kind[2])
    sides = zip(kind[2:], larger[2:])
    return step > 1 and kind[:2] == larger[:2] and all(short in (side // step, -(-side // step)) for short, side in sides)


class _Series:
    """Planes of a file that are alike."""

    def __init__(self, series: Any) -> None:
        self._series = series
        axes, shape = series.axes, series.shape
        self._outer = [k for k, name in enumerate(axes) if name not in "YXSC"]
        self.size = (int(shape[axes.index("Y")]), int(shape[axes.index("X")]))
        kept = [k for k in self._outer if shape[k] > 1]
        names, self.counts = "".join(axes[k] for k in kept), tuple(int(shape[k]) for k in kept)
        if names not in ("Z", "T", "TZ", "ZT"):
            names, self.counts = ("Z", (math.prod(self.counts),)) if names else ("", ())
        self.axes = names
        self._whole: np.ndarray | None = None

    def page(self, number: int) -> int:
        """Where in the file a plane lies, of a series whose planes are pages."""
        return int(self._series.pages[number].index)

    def read(self, number: int) -> np.ndarray:
        """(H, W) or (H, W, C) values of a plane, numbered from 0."""
        check_memory(self.size, 1, self._series.dtype.itemsize)
        series, axes = self._series, self._series.axes
        outer = self._outer
        place = dict(zip(outer, np.unravel_index(number, [series.shape[k] for k in outer]))) if outer else {}
        paged = len(axes) - len(series.pages[0].axes)  # leading axes that go from page to page
        if all(k < paged for k in outer) and math.prod(series.shape[:paged]) == len(series.pages):
            values = self._read_pages(place, paged)
        else:  # one page that holds all, as ImageJ writes large stacks
            if self._whole is None:
                if series.dataoffset is not None:
                    check_stored(series.nbytes, series.parent.filehandle.size, 1)
                self._whole = series.asarray(out="memmap")
            values = self._whole[tuple(place.get(k, slice(None)) for k in range(len(axes)))]
            values = as_brightness(values, series.pages[0])
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
        check_tiff_page(page, page.parent.filehandle.size)
        try:
            return as_brightness(page.asarray(), page)
        except ValueError:  # tifffile leaves LZW and JPEG to a library of codecs; Pillow brings its own
            with open_pillow(page.parent.filehandle._fh) as image:
                image.seek(page.index)
                return own_values(image)


def _pixel_sizes(file: Any, chosen: list[Any]) -> Iterator[tuple[PixelSize | None, float | None]]:
    """Of each series the size of a pixel and the spacing of its planes."""
    if not file.is_ome:
        yield from (_pixel_size(file, one.keyframe) for one in chosen)
        return
    import tifffile

    images = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
    images = images if isinstance(images, list) else [images]
    for number, one in enumerate(file.series):
        if one in chosen:
            yield _ome_size(images[number if len(images) == len(file.series) else 0]["Pixels"])


def _pixel_size(file: Any, page: Any) -> tuple[PixelSize | None, float | None]:
    across, down = (_pixels_a_unit(page, name) for name in ("XResolution", "YResolution"))
    if file.is_imagej:
        about = file.imagej_metadata or {}
        # Java writes µm as \u00B5m.
        name = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda code: chr(int(code[1], 16)), str(about.get("unit", "")))
        factor = _MICROMETRES.get(name.strip())
        spacing = about.get("spacing")
    else:
        unit = page.tags.get("ResolutionUnit")
        factor, spacing = _MICROMETRES["cm"] if unit is not None and unit.value == 3 else None, None  # TIFF 6.0: 3 = centimeter
    if factor is None or not across or not down:
        return None, None
    return PixelSize(factor / down, factor / across, "um"), float(spacing) * factor if spacing else None


def _pixels_a_unit(page: Any, name: str) -> float:
    tag = page.tags.get(name)
    if tag is None:
        return 0.0
    above, below = tag.value if isinstance(tag.value, tuple) else (tag.value, 1)
    return above / below if below else 0.0


def _ome_size(pixels: dict[str, Any]) -> tuple[PixelSize | None, float | None]:
    sizes = []
    for axis in "YXZ":
        factor = _MICROMETRES.get(str(pixels.get(f"PhysicalSize{axis}Unit", "µm")))  # OME-XML: micrometers unless it says so
        size = pixels.get(f"PhysicalSize{axis}")
        sizes.append(float(size) * factor if size and factor else None)
    height, width, depth = sizes
    return (PixelSize(height, width, "um"), depth) if height and width else (None, None)
