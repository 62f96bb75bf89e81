"""The images of a COCO file: their ids, their files and their sizes, and which annotations are whose."""

from __future__ import annotations

import reprlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from maskrcnn.annotations.faults import WITHOUT_END, Fault
from maskrcnn.annotations.finding import Found, ImageFinder
from maskrcnn.annotations.numbers import as_id, as_side
from maskrcnn.images.sizes import RepairedSize, measure_images


@dataclass(frozen=True)
class Image:
    """One image that is there.

    Attributes:
        ids: of the file's entries that are this image; one, as a rule. The first is the image's.
        file_name: as the JSON writes it.
        path: its file.
        listed_size: (height, width) by the JSON; None where it does not say.
        size: (height, width) of the file.
    """

    ids: tuple[int, ...]
    file_name: str
    path: Path
    listed_size: tuple[int, int] | None
    size: tuple[int, int]


@dataclass(frozen=True)
class ImageList:
    """What a JSON lists.

    Attributes:
        entries: by id their file_name, height and width as they are written; None for an id that two files share, so that
            nobody knows whose annotations are whose.
        texts: numbers of ids that are no numbers.
        faults: what was wrong.
    """

    entries: dict[int, dict[str, Any] | None]
    texts: dict[str, int]
    faults: list[Fault] = field(default_factory=list)

    def number(self, value: Any) -> int | None:
        """The number of an image's id; None for what is none."""
        number = as_id(value)
        return self.texts.get(value) if number is None and isinstance(value, str) else number


def read_images(given: list[Any]) -> ImageList:
    """The JSON's images by id. Ids only join lists: text that is no number is numbered in its order."""
    numbers = [as_id(entry.get("id")) for entry in given if isinstance(entry, dict)]
    free_id = 1 + max((number for number in numbers if number is not None), default=0)
    listed = ImageList({}, {})
    for entry in given:
        name = _name_of(entry)
        written = entry.get("id") if isinstance(entry, dict) else None
        image_id = listed.number(written)
        if image_id is None and isinstance(written, str) and written:
            image_id = listed.texts[written] = free_id
            free_id += 1
        if name is None or image_id is None:
            message = f"an image has a whole number as id and a file_name; received {reprlib.repr(entry)}"
            listed.faults.append(Fault("broken image entry", message))
            continue
        entry = {"file_name": name, "height": entry.get("height"), "width": entry.get("width")}
        earlier = listed.entries.setdefault(image_id, entry)
        if earlier is entry:
            continue
        if earlier and earlier["file_name"] == name:
            listed.faults.append(Fault("duplicate image", f"{name} is listed twice; once is enough", image_id, repaired=True))
        else:
            others = f"{earlier['file_name']} and " if earlier else ""
            listed.faults.append(Fault("duplicate image id", f"{others}{name} have one id; none is used", image_id))
            listed.entries[image_id] = None
    if listed.texts:
        some = ", ".join(map(repr, list(listed.texts)[:3]))
        message = f"{len(listed.texts)} images have text as id ({some}); they are numbered from {min(listed.texts.values())}"
        listed.faults.append(Fault("id is text", message, repaired=True))
    return listed


def _name_of(entry: Any) -> str | None:
    """An image's file name; LVIS has an address alone, of which folder and file count."""
    if not isinstance(entry, dict):
        return None
    if isinstance(entry.get("file_name"), str) and entry["file_name"]:
        return entry["file_name"]
    if isinstance(entry.get("coco_url"), str):
        return "/".join(unquote(urlsplit(entry["coco_url"]).path).split("/")[-2:]) or None
    return None


@dataclass(frozen=True)
class Located:
    """Where the images of a list are, before anybody knows how many annotations each has.

    Attributes:
        files: the ids of each file that is there; several where a file is listed more than once.
        sizes: of each of the files its (height, width), or why it cannot be read.
        missing: of ids without a file, in the list's order, what was found.
        by_name: ids whose file was found by the last part of its name alone.
    """

    files: dict[Path, list[int]]
    sizes: list[tuple[int, int] | ValueError]
    missing: dict[int, Found]
    by_name: set[int]


def locate_images(listed: ImageList, folders: Sequence[Path], verify_images: bool) -> Located:
    """Looks for the images' files and measures them."""
    finder = ImageFinder(folders)
    files: dict[Path, list[int]] = {}
    missing: dict[int, Found] = {}
    by_name: set[int] = set()
    for image_id, entry in listed.entries.items():
        if entry is None:
            continue
        found = finder.find(entry["file_name"])
        if found.path is None:
            missing[image_id] = found
            continue
        files.setdefault(found.path, []).append(image_id)
        if found.by_name:
            by_name.add(image_id)
    return Located(files, measure_images(list(files), decode=verify_images), missing, by_name)


def usable_images(
    listed: ImageList, located: Located, num_annotations: Callable[[int], int] = lambda _: 0
) -> tuple[list[Image], list[Fault]]:
    """The images whose files are there and can be read; and a fault for each of the others.

    Args:
        num_annotations: of each image's id.
    """
    faults: list[Fault] = []

    def leave_out(kind: str, message: str, image_id: int) -> None:
        count = num_annotations(image_id)
        faults.append(Fault(kind, f"{message} ({count} annotations)" if count else message, image_id))

    for image_id, found in located.missing.items():
        leave_out("file name outside of its folder" if found.outside else "missing image", found.problem, image_id)
    images = []
    for (path, ids), size in zip(located.files.items(), located.sizes, strict=True):
        entries = [listed.entries[number] or {} for number in ids]
        names = {entry["file_name"] for entry in entries}
        if len(names) > 1 and located.by_name.intersection(ids):
            for number in ids:
                leave_out("duplicate image", f"{path} may be any of {', '.join(sorted(names))}; none is used", number)
            continue
        if isinstance(size, ValueError):
            leave_out("unreadable image", str(size), ids[0])
            continue
        if isinstance(size, RepairedSize):
            faults.append(Fault(WITHOUT_END, size.message, ids[0], repaired=True))
        if len(ids) > 1:
            message = (
                f"{entries[0]['file_name']} is listed as images {', '.join(map(str, ids))}; their annotations are put together"
            )
            faults.append(Fault("duplicate image", message, ids[0], repaired=True))
        elif ids[0] in located.by_name:
            message = f"{entries[0]['file_name']!r} was found by its last part alone: {path}"
            faults.append(Fault("image found by name", message, ids[0], repaired=True))
        height, width = as_side(entries[0].get("height")), as_side(entries[0].get("width"))
        listed_size = None if height is None or width is None else (height, width)
        images.append(Image(tuple(ids), entries[0]["file_name"], path, listed_size, size))
    return images, faults


def group_annotations(entries: list[Any], listed: ImageList) -> tuple[dict[int, list[dict[str, Any]]], list[Fault]]:
    """Annotations by image id, every one with an id of its own and whole numbers as ids."""
    grouped: dict[int, list[dict[str, Any]]] = defaultdict(list)
    first: dict[int, dict[str, Any]] = {}
    faults = []
    numbers = (as_id(entry.get("id")) for entry in entries if isinstance(entry, dict))
    free_id = 1 + max((number for number in numbers if number is not None), default=0)
    num_without = 0
    for entry in entries:
        image_id = listed.number(entry.get("image_id")) if isinstance(entry, dict) else None
        category_id = as_id(entry.get("category_id")) if isinstance(entry, dict) else None
        if image_id is None or category_id is None:
            if isinstance(entry, dict) and category_id is not None and isinstance(entry.get("image_id"), str):
                faults.append(Fault("unknown image", f"no image has the id {entry['image_id']!r}"))
                continue
            message = f"an annotation has an image_id and a category_id; received {reprlib.repr(entry)}"
            faults.append(Fault("broken annotation", message))
            continue
        annotation_id = as_id(entry.get("id"))
        if annotation_id is None:
            num_without += 1
            annotation_id = free_id
            free_id += 1
        if entry.get("id") is not annotation_id or entry["image_id"] is not image_id or entry["category_id"] is not category_id:
            entry = {**entry, "id": annotation_id, "image_id": image_id, "category_id": category_id}
        if image_id not in listed.entries:
            faults.append(Fault("unknown image", f"no image has the id {image_id}", image_id, annotation_id))
        elif first.setdefault(annotation_id, entry) is entry:
            grouped[image_id].append(entry)
        elif first[annotation_id] == entry:
            faults.append(Fault("duplicate annotation", "the same annotation comes twice", image_id, annotation_id))
        else:
            message = f"the id comes twice; this annotation is numbered {free_id} instead"
            faults.append(Fault("duplicate annotation id", message, image_id, annotation_id, repaired=True))
            grouped[image_id].append({**entry, "id": free_id})
            free_id += 1
    if num_without:
        message = f"{num_without} annotations have no number as id; they are numbered"
        faults.append(Fault("annotation without id", message, repaired=True))
    return grouped, faults
