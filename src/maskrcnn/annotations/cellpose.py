"""Cellpose's `NAME_seg.npy` beside each image: a pickled dict whose `masks` number the objects, 0 = background.

NumPy would run what such a file says. Here `maskrcnn.pickles` reads it, which runs nothing and knows arrays and plain
containers alone.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.finding import Found
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import MAX_PIXELS, Size
from maskrcnn.annotations.pairing import find_pairs
from maskrcnn.annotations.place import Place, ReadOptions, is_image
from maskrcnn.annotations.values import parts_of
from maskrcnn.pickles import MAX_BYTES, Array, FileError, unpickle

NAME = "cellpose"
TITLE = "Cellpose's _seg.npy (beside each image, with its masks)"
ENDING = "_seg.npy"


def recognise(place: Place) -> bool:
    """A folder with such files. Where masks were saved as images too, those are read: they are label maps."""
    return place.is_folder and bool(place.files_ending(ENDING)) and find_pairs(place) is None


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every image that has such a file; all objects are of one class. Images without one have not been looked at by anybody."""
    folder = options.images or place.path
    images: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        if file.is_file() and is_image(file):
            images.setdefault(file.stem, []).append(file)
    entries, faults = [], []
    for file in place.files_ending(ENDING):
        stem = file.name[: -len(ENDING)]
        named = images.pop(stem, [])
        if len(named) == 1:
            draw = partial(_draw, path=file)
            entries.append(Entry(named[0].name, Found(named[0]), draw, trouble="broken label map"))
        elif named:
            faults.append(
                Fault("ambiguous name", f"{file.name} belongs to one image; received {', '.join(p.name for p in named)}")
            )
        else:
            faults.append(
                Fault("missing image", f"{file} has no image of the name {stem!r} in {folder}; --images names its folder")
            )
    if images:
        some = ", ".join(each.name for files in list(images.values())[:3] for each in files)
        faults.append(
            Fault("image without annotations", f"{len(images)} images have no {ENDING} and are left out: {some}", repaired=True)
        )
    return assemble(entries, options, faults=faults)


def _draw(size: Size, report: Report, *, path: Path) -> Iterator[Drawn]:
    del report
    values = read_masks(path)
    if values.shape != size:
        raise ValueError(f"{path} has masks of {' × '.join(map(str, values.shape))}, its image has {size[0]} × {size[1]}")
    for part in parts_of(values):
        yield Drawn("", part.rle(size))


def read_masks(path: Path) -> np.ndarray:
    """(H, W) int64 numbers of objects.

    Raises:
        ValueError: a file that is damaged, holds something else, or is too large.
    """
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read_header(file)
            if shape != () or not dtype.hasobject:
                raise ValueError(f"it holds numbers of shape {shape}, not Cellpose's dict")
            if path.stat().st_size > MAX_BYTES:
                raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                content.seek(file.tell())
                held, _ = unpickle(content)
        if isinstance(held, Array) and isinstance(held.data, list) and len(held.data) == 1:  # NumPy's array of one object
            held = held.data[0]
        masks = held.get("masks") if isinstance(held, dict) else None
        if not isinstance(masks, Array):
            raise ValueError("it holds no masks")
        values = masks.array("masks")
        if values.ndim == 3 and values.shape[0] == 1:
            values = values[0]
        if values.ndim != 2 or values.dtype.kind not in "uib" or values.size > MAX_PIXELS:
            raise ValueError(f"masks are whole numbers of one plane; received {values.dtype} of shape {values.shape}")
        if values.size and (values.min() < 0 or values.max() > np.iinfo(np.int64).max):
            raise ValueError(f"masks number objects from 1, 0 = background; received {values.min()} to {values.max()}")
        return values.astype(np.int64)
    except FileError as error:
        raise ValueError(f"{path} {error.reason}. Save the masks as PNG or TIFF from Cellpose.") from None
    except Exception as error:  # of any type, where a pickle is damaged
        raise ValueError(f"{path}: {' '.join(str(error).split()) or type(error).__name__}") from None
