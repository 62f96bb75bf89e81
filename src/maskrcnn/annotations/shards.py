"""Tar shards as WebDataset lays them out: `KEY.jpg` and `KEY.json` side by side, some thousand images a file.

A few large files instead of millions of small ones. They are not compressed, so that each image is read where it lies, in any
order. The JSON of an image: `file_name`, `height`, `width`, and `objects`, each with `class`, `rle` (COCO's run lengths),
`crowd` and, where a model found it, `score`.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.categories import read_categories, write_categories
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.finding import Found
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import Size
from maskrcnn.annotations.place import Place, ReadOptions
from maskrcnn.annotations.writing import Annotated, ImagesTo, rows_of
from maskrcnn.atomic import write_whole
from maskrcnn.geometry.rle import rle_from_json, rle_to_json
from maskrcnn.images.content import Content, member_path
from maskrcnn.structures import Sample

NAME = "shards"
TITLE = "tar shards of images with their objects (WebDataset)"
CATEGORIES = "categories.json"  # beside the shards
SHARD_BYTES = 256 << 20  # of images, from which on a shard is full
MAX_JSON_BYTES = 64 << 20  # of one image

T = TypeVar("T")
_Members = tuple[tuple[str, bytes], tuple[str, bytes]]  # an image and what is said of it, each with its name


class _Pair(NamedTuple):
    """An image of a shard and what is said of it."""

    image: tarfile.TarInfo
    truth: dict[str, Any]


def recognise(place: Place) -> bool:
    """A folder of tar files, the first of which begins with such a pair."""
    if not place.is_folder or not (shards := place.files_ending(".tar")):
        return False
    try:
        return next(_pairs(shards[0]), None) is not None
    except ValueError:
        return False


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every image of every shard."""
    entries: list[Entry] = []
    faults: list[Fault] = []
    for shard in place.files_ending(".tar"):
        try:
            for image, truth in _pairs(shard):
                name = truth["file_name"] if isinstance(truth.get("file_name"), str) else image.name
                path = member_path(
                    shard, image.offset_data, image.size, PurePosixPath(name.replace("\\", "/")).name or image.name
                )
                entries.append(Entry(name, Found(path), partial(_draw, truth=truth)))
        except ValueError as error:
            faults.append(Fault("broken shard", str(error)))
    return assemble(entries, options, class_names=read_categories(place.path / CATEGORIES), faults=faults)


def write(data: Annotated, out: Path, *, images: ImagesTo = "copy") -> list[Fault]:
    """Writes `00000.tar` and so on, images as their files are, and `categories.json`.

    Raises:
        ValueError: without the images, which shards are for.
    """
    if images == "none":
        raise ValueError("Shards hold the images themselves; write them with images copy.")
    write_parts(_members(data), out, ".tar", _write)
    write_categories(out / CATEGORIES, data.categories)
    return []


def write_parts(items: Iterable[tuple[T, int]], out: Path, suffix: str, write: Callable[[BinaryIO, list[T]], None]) -> None:
    """Writes items with their bytes into files of `SHARD_BYTES` and more, `00000` and so on; without any, one empty file."""
    out.mkdir(parents=True, exist_ok=True)
    waiting: list[T] = []
    size = number = 0

    def finish() -> None:
        write_whole(out / f"{number:05d}{suffix}", lambda file: write(file, waiting))

    for item, num_bytes in items:
        waiting.append(item)
        size += num_bytes
        if size >= SHARD_BYTES:
            finish()
            waiting, size, number = [], 0, number + 1
    if waiting or not number:
        finish()


def _members(data: Annotated) -> Iterator[tuple[_Members, int]]:
    """Of each sample its image and what is said of it, with the image's bytes."""
    for count, sample in enumerate(data.samples):
        suffix, content = encoded_image(sample)
        truth = {
            "file_name": sample.file_name,
            "height": sample.size[0],
            "width": sample.size[1],
            "objects": [
                {"class": row.name, "rle": rle_to_json(row.rle), "crowd": row.crowd}
                | ({} if row.score is None else {"score": row.score})
                for row in rows_of(sample, data)
            ],
        }
        pair = ((f"{count:08d}{suffix}", content), (f"{count:08d}.json", json.dumps(truth).encode()))
        yield pair, len(content)


def _write(file: BinaryIO, pairs: list[_Members]) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as shard:
        for name, content in chain.from_iterable(pairs):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            shard.addfile(info, io.BytesIO(content))


def encoded_image(sample: Sample) -> tuple[str, bytes]:
    """An image's suffix and its file's bytes."""
    if not sample.path:
        file = io.BytesIO()
        assert sample.image is not None
        image: np.ndarray = sample.image
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(file, format="PNG")
        return ".png", file.getvalue()
    content = Content(sample.path)
    try:
        return content.suffix or ".img", content.read()
    finally:
        content.close()


def _pairs(shard: Path) -> Iterator[_Pair]:
    """The images of a shard with what is said of them; what has no partner is passed over.

    Raises:
        ValueError: the file is no tar, compressed, or cut off.
    """
    begun: dict[str, tarfile.TarInfo | dict[str, Any]] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                if not member.isreg():
                    continue
                key, _, suffix = member.name.rpartition(".")
                own = _truth(tar, member) if suffix.lower() == "json" else member
                other = begun.pop(key, None)
                if isinstance(own, dict) and isinstance(other, tarfile.TarInfo):
                    yield _Pair(other, own)
                elif isinstance(own, tarfile.TarInfo) and isinstance(other, dict):
                    yield _Pair(own, other)
                elif own is not None:
                    begun[key] = own
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ValueError(f"Cannot read {shard}: {' '.join(str(error).split()) or type(error).__name__}.") from error


def _truth(tar: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Any] | None:
    file = tar.extractfile(member)
    if file is None or member.size > MAX_JSON_BYTES:
        return None
    try:
        truth = json.loads(file.read())
    except (ValueError, RecursionError):
        return None
    return truth if isinstance(truth, dict) and isinstance(truth.get("objects"), list) else None


def _draw(size: Size, report: Report, *, truth: dict[str, Any]) -> Iterator[Drawn]:
    declared = (truth.get("height"), truth.get("width"))
    if declared != size:
        raise ValueError(f"the JSON says height × width {declared[0]}×{declared[1]}, the file has {size[0]}×{size[1]}")
    for number, each in enumerate(truth["objects"], start=1):
        try:
            if not isinstance(each, dict):
                raise ValueError("it is no object of JSON")
            rle = rle_from_json(each.get("rle"), size)
        except ValueError as error:
            report("broken mask", f"object {number}: {error}")
            continue
        name, score = each.get("class"), each.get("score")
        known = float(score) if isinstance(score, (int, float)) and 0 <= score <= 1 else None
        yield Drawn(name if isinstance(name, str) else "", rle, each.get("crowd") is True, known)
