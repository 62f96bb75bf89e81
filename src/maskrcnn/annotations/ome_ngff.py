"""OME-NGFF (OME-Zarr): a folder zarr whose group `labels` holds label maps of its image, 0 = background, k = the k-th object.

https://ngff.openmicroscopy.org/latest/#labels-md. One such folder, or a folder with several. Of several label images the first
that the group lists is read; the largest level of its pyramid; one plane.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn import extras
from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.finding import Found
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import MAX_PIXELS, Size
from maskrcnn.annotations.place import Place, ReadOptions
from maskrcnn.annotations.values import parts_of

NAME = "ome-ngff"
TITLE = "OME-NGFF (a folder zarr with labels/)"


def recognise(place: Place) -> bool:
    """A folder zarr with `labels/`, or a folder that holds some."""
    return place.is_folder and bool(_labelled(place))


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every image with its label image; all objects are of one class.

    Raises:
        ImportError: zarr is not installed.
    """
    entries = [Entry(folder.name, Found(folder), partial(_draw, folder=folder)) for folder in _labelled(place)]
    return assemble(entries, options)


def _labelled(place: Place) -> list[Path]:
    """The folders zarr that have labels."""
    folders = [place.path] if _has_labels(place.path) else list(place.subfolders)
    return [folder for folder in folders if _has_labels(folder)]


def _has_labels(folder: Path) -> bool:
    return any((folder / "labels" / name).is_file() for name in (".zattrs", "zarr.json")) and any(
        (folder / name).is_file() for name in (".zattrs", "zarr.json")
    )


def _draw(size: Size, report: Report, *, folder: Path) -> Iterator[Drawn]:
    values = _read_labels(folder, report)
    if values.shape != size:
        raise ValueError(f"{folder} has labels of {values.shape[0]}×{values.shape[1]}, its image has {size[0]}×{size[1]}")
    for part in parts_of(values):
        yield Drawn("", part.rle(size))


def _read_labels(folder: Path, report: Report) -> np.ndarray:
    """(H, W) int64 of the first label image.

    Raises:
        ValueError: for labels that cannot be read, of several planes, or of more than `MAX_PIXELS`.
    """
    zarr = extras.load("zarr", extra="large", why="OME-NGFF needs zarr")
    try:
        group = zarr.open_group(folder / "labels", mode="r")
        names = _ome(group).get("labels")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError("its group labels lists no label image")
        label = group[names[0]]
        array = label[_ome(label)["multiscales"][0]["datasets"][0]["path"]]
        if array.ndim > 2 and any(side != 1 for side in array.shape[:-2]):
            raise ValueError(f"its labels have several planes, shape {array.shape}; one is read")
        if np.prod(array.shape, dtype=np.int64) > MAX_PIXELS or np.dtype(array.dtype).kind not in "ui":
            raise ValueError(f"labels are whole numbers of up to {MAX_PIXELS} pixels; received {array.dtype} {array.shape}")
        values = np.asarray(array[...]).reshape(array.shape[-2:]).astype(np.int64)
    except Exception as error:  # zarr raises KeyError, TypeError, its own and its codecs' errors for damaged folders
        raise ValueError(f"{folder}: {' '.join(str(error).split()) or type(error).__name__}") from None
    if len(names) > 1:
        report("several label images", f"{folder.name} has {', '.join(names)}; the first is read", repaired=True)
    return values


def _ome(group: Any) -> dict[str, Any]:
    """A group's attributes: of version 0.5 under `ome`, before it their own."""
    attributes = dict(group.attrs)
    return attributes.get("ome", attributes)
