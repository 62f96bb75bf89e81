"""What the writers of all formats share: images at their places, objects with their outlines, and what was lost on the way."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np

from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.outlines import Rle
from maskrcnn.atomic import part_of, write_bytes, write_png
from maskrcnn.config.model import Category
from maskrcnn.geometry.polygons import mask_to_rings
from maskrcnn.geometry.rle import rle_region, rle_to_box
from maskrcnn.images.content import Content, is_member
from maskrcnn.structures import Sample

ImagesTo = Literal["copy", "link", "none"]
_PAIRS = 1_000_000  # of corners, compared at a time: some 20 MB


class Annotated(Protocol):
    """What is written: images with their objects, as a `Dataset` has them."""

    @property
    def samples(self) -> Sequence[Sample]: ...

    @property
    def categories(self) -> Sequence[Category]: ...


class Row(NamedTuple):
    """One object of a sample.

    Attributes:
        name: its class.
        label: the class's place among the categories.
        number: its place in the sample, from 0.
        rle: its mask, of the whole image.
        crowd: whether it is a crowd region.
        score: of an object that a model found; None of ground truth.
    """

    name: str
    label: int
    number: int
    rle: Rle
    crowd: bool
    score: float | None = None

    def cutout(self) -> tuple[np.ndarray, tuple[int, int]]:
        """The mask cut to its box, (h, w) bool, and its corner (left, top)."""
        left, top, right, bottom = (int(edge) for edge in rle_to_box(self.rle))
        return rle_region(self.rle, (left, top, right, bottom))[0], (left, top)

    def polygons(self) -> list[list[np.ndarray]]:
        """Its parts along the pixels' edges: of each the outer ring and the holes, (P, 2) x, y in pixels of the image."""
        cutout, corner = self.cutout()
        return [[ring + np.array(corner) for ring in rings] for rings in mask_to_rings(cutout)]


def rows_of(sample: Sample, data: Annotated) -> list[Row]:
    """The objects of a sample that have pixels."""
    scores = [None] * len(sample.labels) if sample.scores is None else sample.scores.tolist()
    rows = [
        Row(data.categories[label].name, int(label), number, rle, bool(crowd), score)
        for number, (label, rle, crowd, score) in enumerate(zip(sample.labels, sample.rles, sample.crowd, scores, strict=True))
    ]
    return [row for row in rows if rle_to_box(row.rle)[2] > 0]


class Losses:
    """Counts what a format cannot say, and tells it as faults."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, kind: str, message: str, count: int = 1) -> None:
        """What was lost: the fault's kind, and a message with `{}` for how many in all."""
        self._counts[kind, message] += count

    def faults(self) -> list[Fault]:
        return [Fault(kind, message.format(count)) for (kind, message), count in self._counts.items()]

    def without_crowds(self, rows: Sequence[Row]) -> list[Row]:
        """The single objects; crowd regions, which most formats do not have, are counted and left out."""
        singles = [row for row in rows if not row.crowd]
        if len(singles) < len(rows):
            self.add("crowd regions", "{} crowd regions are left out: the format has none", len(rows) - len(singles))
        return singles

    def without_scores(self, rows: Sequence[Row]) -> list[Row]:
        """The single objects; scores, which the format has no place for, are counted as lost, and crowd regions too."""
        self.count_scores(rows)
        return self.without_crowds(rows)

    def count_scores(self, rows: Sequence[Row]) -> None:
        num_scores = sum(row.score is not None for row in rows)
        if num_scores:
            self.add("scores", "the scores of {} objects: the format has no place for them", num_scores)


def lost_keypoints(data: Annotated) -> list[Fault]:
    """What is said of a format that keypoints are not written to."""
    count = sum(0 if sample.keypoints is None else int(sample.keypoints[..., 2].any(axis=1).sum()) for sample in data.samples)
    return [Fault("keypoints", f"the keypoints of {count} objects: only COCO's JSON is written with them")] if count else []


def placed_images(data: Annotated, folder: Path, images: ImagesTo) -> Iterator[tuple[Sample, str]]:
    """Each sample with the name of its image in `folder`, where the image is copied or linked to.

    Names are those of the files without their folders, numbered where one comes twice. Samples that bring an image but have no
    file get a PNG.

    Args:
        images: "copy"; "link", which takes no room where the system can do that; or "none": names alone.
    """
    if images != "none":
        folder.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    for sample in data.samples:
        given = Path(sample.file_name.replace("\\", "/")).name or f"{sample.image_id}.png"
        stem, ending = Path(given).stem, Path(given).suffix or ".png"
        if not sample.path and sample.image is not None:
            ending = ".png"
        stem = next(name for name in _numbered(stem) if name.casefold() not in taken)
        taken.add(stem.casefold())
        name = stem + ending
        if images != "none":
            _place(sample, folder / name, images)
        yield sample, name


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    number = 2
    while True:
        yield f"{stem}_{number}"
        number += 1


def _place(sample: Sample, path: Path, images: ImagesTo) -> None:
    if is_member(sample.path):
        write_bytes(path, Content(sample.path).read())
        return
    if not sample.path or not os.path.isfile(sample.path):
        if sample.image is None:
            raise ValueError(f"There is no file {sample.path!r} of image {sample.file_name}; write with images none.")
        write_png(path, sample.image[..., 0] if sample.image.shape[2] == 1 else sample.image)
        return
    if path.exists() and os.path.samefile(path, sample.path):
        raise ValueError(f"{path} is an image of the data set itself; name another folder to write to.")
    part = part_of(path)
    part.unlink(missing_ok=True)
    if images == "link":
        try:
            os.link(os.path.realpath(sample.path), part)  # a link to a link might lead nowhere from here
        except OSError:  # another disk, or a system without such links
            shutil.copyfile(sample.path, part)
    else:
        shutil.copyfile(sample.path, part)
    os.replace(part, path)


def safe_name(name: str) -> str:
    """A class name as part of a file's name."""
    return re.sub(r"[^\w.\- ]+", "_", name).strip(". ") or "object"


def one_ring(polygons: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Parts and holes as one ring (P, 2), joined by cuts without width, for formats that have one ring an object.

    Each further ring is entered from the nearest corner of what is there and left the same way. Rules that count crossings, and
    COCO's too, see the same pixels, for both sides of a cut cancel.
    """
    rings = [ring for polygon in polygons for ring in polygon]
    corners = np.concatenate(rings)
    x, y = np.ascontiguousarray(corners.T, np.int32)
    ring_of = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    whole = placed = np.flatnonzero(ring_of == 0)  # numbers of corners
    free = ring_of != 0
    gaps = np.full(
        len(corners), np.iinfo(np.int32).max
    )  # from each free corner to the nearest placed one, and which one that is
    nearest = np.zeros(len(corners), np.int64)
    while free.any():  # each pair of corners is compared once (Prim's algorithm): masks of noise have hundreds of parts
        rest = np.flatnonzero(free)
        for start in range(0, len(placed), max(_PAIRS // len(rest), 1)):
            some = placed[start : start + max(_PAIRS // len(rest), 1)]
            distances = np.abs(x[some, None] - x[rest])
            distances += np.abs(y[some, None] - y[rest])
            first = distances.argmin(axis=0)
            least = distances[first, np.arange(len(rest))]
            closer = least < gaps[rest]
            gaps[rest[closer]], nearest[rest[closer]] = least[closer], some[first[closer]]
        there = rest[gaps[rest].argmin()]
        placed = np.flatnonzero(ring_of == ring_of[there])
        free[placed] = False
        turned = np.roll(placed, placed[0] - there)
        here = int(np.argmax(whole == nearest[there]))
        whole = np.concatenate([whole[: here + 1], turned, turned[:1], whole[here:]])
    return corners[whole]
