"""The formats of annotations that are read and written: a table of modules, and the one door to it.

A new format is one file with `NAME`, `TITLE`, `recognise` and `read`, one row here, one test file, and one line in
docs/data.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from maskrcnn import extras
from maskrcnn.annotations import (
    cellpose,
    cityscapes,
    coco,
    coco_writing,
    cvat,
    datumaro,
    imagej_rois,
    label_maps,
    label_studio,
    labelme,
    mask_files,
    ome_ngff,
    open_images,
    panoptic,
    parquet,
    parquet_images,
    qupath,
    rle_csv,
    shards,
    supervisely,
    via,
    voc,
    voc_writing,
    yolo,
)
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.place import SPLITS, Place, ReadOptions
from maskrcnn.annotations.unread import describe
from maskrcnn.annotations.writing import Annotated, ImagesTo, lost_keypoints
from maskrcnn.results.parquet import load_pyarrow

Write = Callable[..., list[Fault]]  # (data, out, images=...) -> what the format cannot say
WRITERS: dict[str, Write] = {
    "coco": coco_writing.write,
    "yolo": yolo.write,
    "labelme": labelme.write,
    "voc": voc_writing.write,
    "cvat": cvat.write,
    "label-studio": label_studio.write,
    "label-maps": label_maps.write,
    "mask-files": mask_files.write,
    "rle-csv": rle_csv.write,
    "imagej": imagej_rois.write,
    "qupath": qupath.write,
    "parquet": parquet.write,
    "parquet-images": parquet_images.write,
    "shards": shards.write,
}


class Format(Protocol):
    """What a module of a format is.

    Attributes:
        NAME: for `--format`.
        TITLE: what people call it, and which files it consists of.
    """

    NAME: str
    TITLE: str

    def recognise(self, place: Place) -> bool:
        """Whether files or a folder are of this format, by what is in them."""

    def read(self, place: Place, options: ReadOptions) -> Annotations:
        """The samples, the classes and all that was wrong."""


MODULES: tuple[Format, ...] = (
    coco, via, label_maps, yolo, labelme, voc, cvat, mask_files, label_studio, cityscapes, supervisely, rle_csv, imagej_rois,
    qupath, panoptic, open_images, ome_ngff, datumaro, cellpose, parquet, parquet_images, shards,
)  # fmt: skip
ASKS = {  # options that mean something to some formats alone
    "class_attribute": (("via",), "Only VIA files have region attributes"),
    "masks": (("label-maps", "rle-csv"), "Only label maps and tables of run lengths leave open what their values are"),
}
WITH_SPLITS = ("yolo", "voc", "cityscapes", "cvat")  # formats that say which image is of which split
BARE_MASKS = ("label-maps", "mask-files")  # a folder of those may hold a file of annotations too
FORMATS = {module.NAME: module for module in MODULES}


def read_annotations(path: Path, options: ReadOptions, *, format_name: str | None = None) -> Annotations:
    """Reads the annotations in a file or folder, of whatever format they are.

    Raises:
        ValueError: for what is of no known format, or may be of several, with one sentence that says what it is and what to do;
            and all that the format's reader raises.
    """
    module, place = recognise(path, format_name=format_name, split=options.split, images=options.images)
    if options.split is not None and place.path == path and module.NAME not in WITH_SPLITS:
        raise ValueError(f"{path} is {module.TITLE}, and no part of it is called {options.split}.")
    for name, (formats, why) in ASKS.items():
        given = getattr(options, name)
        if given is not None and module.NAME not in formats:
            raise ValueError(f"{why}; received {name}={given!r} for {path}, which is {module.TITLE}.")
    return module.read(place, options)


def recognise(
    path: Path, *, format_name: str | None = None, split: str | None = None, images: Path | None = None
) -> tuple[Format, Place]:
    """The format of a file or folder, and the very file or folder that its reader takes.

    A folder is looked at as a whole first, then the files in it that may hold the annotations of many images.

    Args:
        format_name: the one format that comes into question, see `FORMATS`.
        split: "train", "val" or "test", which decides between several files or folders.
        images: folder of the images, where somebody named it.
    """
    if format_name is not None and format_name not in FORMATS:
        raise ValueError(f"Unknown format {format_name!r}; possible: {', '.join(FORMATS)}.")
    modules = tuple(FORMATS.values()) if format_name is None else (FORMATS[format_name],)
    place = Place(path, images)
    fits = [(module, place) for module in modules if module.recognise(place)]
    if place.is_folder and all(module.NAME in BARE_MASKS for module, _ in fits):
        in_files = _in_files(place, modules, split)
        fits = in_files if any(module is open_images for module, _ in in_files) else fits + in_files
    if not fits and place.is_folder and split is not None:
        inner = place.subfolder(*SPLITS[split])
        if inner is not None:
            return recognise(inner, format_name=format_name, images=images)
        whole = _in_files(place, modules, None)
        if whole:
            listed = ", ".join(sorted({str(found.path.relative_to(path)) for _, found in whole})[:5])
            raise ValueError(f"{path} has no part that is called {split}, only {listed}; maskrcnn data split shares it out.")
    if not fits:
        told = describe(place)
        if format_name is not None:
            raise ValueError(f"{path} is not {FORMATS[format_name].TITLE}; it is {told}.")
        raise ValueError(f"Cannot read {path}: it is {told}.")
    if len(fits) > 1:
        files = {str(found.path.relative_to(path)) for _, found in fits if found.path != path}
        if len(files) > 1 and len(files) == len(fits):
            listed = ", ".join(sorted(files)[:5])
            raise ValueError(f"{path} holds several files of annotations, {listed}; name the one to read, or the split.")
        names = " or ".join(module.NAME for module, _ in fits)
        raise ValueError(f"{path} may be read as {names}; decide with --format.")
    return fits[0]


def _in_files(place: Place, modules: tuple[Format, ...], split: str | None) -> list[tuple[Format, Place]]:
    """The files of a folder that are of a format; of those of the wanted split, or of a format that says the split inside."""
    files = place.annotation_files()
    named = files if split is None else [file for file in files if split in _splits_of(file, place.path)]
    if not named:
        modules = tuple(module for module in modules if module.NAME in WITH_SPLITS)
    return [(module, found) for found in map(Place, named or files) for module in modules if module.recognise(found)]


def _splits_of(file: Path, folder: Path) -> list[str]:
    """The splits that a file's name, or that of its folder, speaks of; `trainval` is neither of them."""
    text = "/".join(file.relative_to(folder).parts).lower()
    words = set(re.findall("[a-z]+", text))
    named = [split for split, names in SPLITS.items() if words.intersection(names)]
    within = [split for split, names in SPLITS.items() if any(name in text for name in names)]
    return named or (within if len(within) == 1 else [])


def write_annotations(data: Annotated, format_name: str, out: Path, *, images: ImagesTo = "copy") -> list[Fault]:
    """Writes a data set in a format.

    Args:
        data: images with their objects, a `Dataset`.
        format_name: one of `WRITERS`.
        out: a folder, made where it is not there.
        images: whether images are copied into it, linked to, or left where they are.

    Returns:
        What the format cannot say, counted.

    Raises:
        ValueError: for a format that is not written, and for what it cannot hold.
    """
    check_writable(format_name)
    lost = [] if format_name == coco.NAME else lost_keypoints(data)
    return WRITERS[format_name](data, out, images=images) + lost


def check_writable(format_name: str) -> None:
    """Whether a format is written here, before anything is read.

    Raises:
        ValueError: it is not.
        ImportError: what writes it is not installed.
    """
    if format_name not in WRITERS:
        raise ValueError(f"Data sets are written as {', '.join(WRITERS)}; received {format_name!r}.")
    if format_name == "imagej":
        extras.load("roifile", extra="annotations", why="ImageJ's ROIs need roifile")
    if format_name == "parquet":
        load_pyarrow()
