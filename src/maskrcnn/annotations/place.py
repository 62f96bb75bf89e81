"""What a person named as data: looked at once, asked by every format."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

from maskrcnn.annotations.json_parts import decode_json, read_parts
from maskrcnn.images.files import PLAIN_SUFFIXES

HEAD = 65_536  # bytes of a text file that say what it is
MAX_XML_BYTES = 2**30
LARGE_JSON = 2**22  # bytes from where on an object is read part by part
MAX_CSV_FIELD = 2**27  # characters: the run lengths of one object
ANNOTATION_SUFFIXES = (".json", ".xml", ".csv", ".yaml", ".yml", ".geojson")

SPLITS = {  # what the folders of the parts of a data set are called
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}

MaskKind = Literal["instances", "semantic", "binary"]


@dataclass(frozen=True)
class ReadOptions:
    """How annotations are to be read, where their files leave it open.

    Attributes:
        images: folder of the images, where they do not lie beside the annotations.
        masks: what the values of label maps are: numbers of objects, numbers of classes, or 0 and the rest.
        classes: names of the classes in the order of their labels: of a format that only numbers them, their names; of any
        other
            the classes that are wanted.
        class_attribute: the attribute that holds the class, in files that have several.
        split: "train", "val" or "test", of data that say which images belong where; None for all of them.
        crowds_are_objects: read crowd regions as single objects: CVAT marks brush masks as crowds.
        verify_images: decode every image, to find those that are cut off; otherwise only headers are read.
    """

    images: Path | None = None
    masks: MaskKind | None = None
    classes: tuple[str, ...] | None = None
    class_attribute: str | None = None
    split: str | None = None
    crowds_are_objects: bool = False
    verify_images: bool = True


class Place:
    """A file or folder with annotations. What is read of it is kept, so that a table of formats asks for it once.

    Args:
        path: the file or folder.
        images: folder of the images, where somebody named it.
    """

    def __init__(self, path: Path, images: Path | None = None) -> None:
        self.path = path
        self.images = images

    @cached_property
    def is_folder(self) -> bool:
        return self.path.is_dir()

    @cached_property
    def folder(self) -> Path:
        """The folder itself, or the one that the file lies in."""
        return self.path if self.is_folder else self.path.parent

    @cached_property
    def suffix(self) -> str:
        return "" if self.is_folder else self.path.suffix.lower()

    @cached_property
    def head(self) -> str:
        """How a file's text begins; "" for a folder."""
        if self.is_folder:
            return ""
        try:
            with open(self.path, "rb") as file:
                return file.read(HEAD).decode("utf-8-sig", errors="replace")
        except OSError as error:
            raise ValueError(f"Cannot read {self.path}: {error.strerror}.") from None

    @cached_property
    def json(self) -> Any:
        """What a JSON file holds; None for a folder and for text that does not begin as JSON.

        Raises:
            ValueError: for text that begins as JSON and is none.
        """
        return read_json(self.path) if self.head.lstrip()[:1] in ("{", "[") else None

    @cached_property
    def sketch(self) -> Any:
        """What a JSON file holds, as `json`; of a large object the beginning, which says what it is.

        Of lists their first entries, and no key behind the first of COCO's annotations where images came before them.
        """
        if not self.is_large_object:
            return self.json
        begun: dict[str, Any] = {}
        for key, value in read_parts(self.path):
            begun.setdefault(key, value)
            if {"images", "annotations"} <= begun.keys():
                break
        return begun

    @cached_property
    def is_large_object(self) -> bool:
        """Whether this is a JSON object that is better read part by part."""
        return self.head.lstrip().startswith("{") and self.path.stat().st_size > LARGE_JSON

    @cached_property
    def xml(self) -> ElementTree.Element | None:
        """The root of an XML file; None for anything else.

        Raises:
            ValueError: for XML that cannot be read or declares entities, which could unfold to any length.
        """
        return read_xml(self.path) if self.head.lstrip().startswith("<") else None

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names in the first row of a table, as they are written; empty for all else."""
        if self.suffix != ".csv" or not self.head:
            return ()
        return tuple(next(csv.reader(io.StringIO(self.head), delimiter=_delimiter(self.head)), ()))

    @cached_property
    def subfolders(self) -> tuple[Path, ...]:
        return tuple(sorted(entry for entry in self.folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")))

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """The folder's own files, sorted, hidden ones not counted."""
        return tuple(sorted(entry for entry in self.folder.iterdir() if entry.is_file() and not entry.name.startswith(".")))

    def subfolder(self, *names: str) -> Path | None:
        """The first of these folders that is there, whatever its capitals."""
        by_name = {folder.name.lower(): folder for folder in self.subfolders}
        return next((by_name[name.lower()] for name in names if name.lower() in by_name), None)

    def files_ending(self, *suffixes: str) -> list[Path]:
        """The folder's own files with one of these endings, in lower case."""
        return [file for file in self.files if file.name.lower().endswith(suffixes)]

    def annotation_files(self) -> list[Path]:
        """The files in a folder, its `annotations/` and its splits that may hold the annotations of many images."""
        places = [self.folder, *(folder for folder in self.subfolders if folder.name.lower() in _MAY_HOLD_ANNOTATIONS)]
        return [
            file
            for folder in places
            for file in sorted(folder.iterdir())
            if file.is_file() and file.suffix.lower() in ANNOTATION_SUFFIXES and not file.name.startswith(".")
        ]


_MAY_HOLD_ANNOTATIONS = ("annotations", "labels", "train", "val", "valid", "validation", "test")


def is_image(file: Path) -> bool:
    """Whether a file is named as an image that is read; Cellpose's annotations are NumPy's files too."""
    name = file.name.lower()
    return name.endswith(PLAIN_SUFFIXES) and not name.endswith("_seg.npy")


def read_json(path: Path) -> Any:
    """A JSON file's content, with or without a byte order mark.

    Raises:
        ValueError: for a file that cannot be read.
    """
    try:
        return decode_json(path.read_bytes())
    except OSError as error:
        raise ValueError(f"Cannot read {path}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Cannot read {path} as JSON: {error}.") from None


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file. Files with a document type are refused: entities could unfold to any length.

    Raises:
        ValueError: for a file that cannot be read, is too large or declares a document type.
    """
    try:
        if path.stat().st_size > MAX_XML_BYTES:
            raise ValueError(f"{path} has {path.stat().st_size} bytes; XML is read up to {MAX_XML_BYTES}.")
        parser = ElementTree.XMLParser(target=_WithoutEntities())
        return ElementTree.parse(path, parser).getroot()
    except OSError as error:
        raise ValueError(f"Cannot read {path}: {error.strerror}.") from None
    except (ElementTree.ParseError, UnicodeDecodeError, LookupError) as error:
        raise ValueError(f"Cannot read {path} as XML: {error}.") from None


class _WithoutEntities(ElementTree.TreeBuilder):
    """Refuses a document type before any of its entities is used: expat reports it when it begins."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ElementTree.ParseError(f"it declares a document type {name!r}, which is not read")


def read_table(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV file as dicts by its first row's names.

    Raises:
        ValueError: for a file that cannot be read.
    """
    csv.field_size_limit(MAX_CSV_FIELD)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            delimiter = _delimiter(file.readline(HEAD))
            file.seek(0)
            for row in csv.DictReader(file, delimiter=delimiter):
                yield {key: value or "" for key, value in row.items() if key is not None}
    except OSError as error:
        raise ValueError(f"Cannot read {path}: {error.strerror}.") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"Cannot read {path} as CSV: {error}.") from None


def _delimiter(text: str) -> str:
    """What parts the columns of a table's first row: a comma, or the semicolon or tab of a spreadsheet's export."""
    first = text.splitlines()[0] if text else ""
    return max(",;\t", key=first.count)
