"""What a model found, written as data sets for the tool that the images are annotated in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np

from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.formats import check_writable, write_annotations
from maskrcnn.annotations.writing import ImagesTo
from maskrcnn.atomic import part_of, write_png
from maskrcnn.config.keypoints import mirror_of
from maskrcnn.config.model import Category
from maskrcnn.geometry.keypoints import as_seen
from maskrcnn.results.draw import as_rgb
from maskrcnn.structures import Detections, Plane, Sample

SHOWN_BY_TOOLS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")  # other images go along as PNG
PREFIX = "predictions-"  # of the folders; see `results.earlier`


class Predicted(NamedTuple):
    """Images with what was found in them, as the writers of data sets take them."""

    samples: list[Sample]
    categories: tuple[Category, ...]


def sample_of(
    detections: Detections, *, image_id: int, file_name: str, path: str = "", first_id: int = 1, image: np.ndarray | None = None
) -> Sample:
    """What was found in one image as a sample with scores; masks as run lengths, in original pixels.

    Args:
        file_name: what the image is called in the data set.
        path: where it lies.
        first_id: the number of its first object; the others follow.
        image: (H, W, C) uint8, of one that has no file.
    """
    return Sample(
        image_id=image_id,
        file_name=file_name,
        path=path,
        size=(int(detections.size[0]), int(detections.size[1])),
        boxes=np.asarray(detections.boxes, np.float32).reshape(-1, 4),
        labels=np.asarray(detections.labels, np.int32),
        crowd=np.zeros(len(detections), bool),
        rles=detections.rle(),
        areas=detections.areas().astype(np.float32),
        annotation_ids=np.arange(first_id, first_id + len(detections), dtype=np.int64),
        scores=np.asarray(detections.scores, np.float32),
        image=image,
        keypoints=None if detections.keypoints is None else as_seen(detections.keypoints),
        mirror=mirror_of(detections.keypoint_names),
    )


def write_found(found: Iterable[Detections], format_name: str, out: Path, *, images: ImagesTo = "copy") -> list[Fault]:
    """Writes what was found in several images as a data set.

    Args:
        found: with class names; with the path of each image, or the image itself, unless `images` is "none".
        format_name: one of `WRITERS`.
        out: a folder, made where it is not there.
        images: as for `write_annotations`.

    Returns:
        What the format cannot say, counted.

    Raises:
        ValueError: for a format that is not written, and for detections of several lists of classes.
    """
    check_writable(format_name)
    samples: list[Sample] = []
    names: list[str] = []
    first_id = 1
    for image_id, detections in enumerate(found, start=1):
        names = names or detections.class_names
        if detections.class_names not in ([], names):
            raise ValueError(f"One data set has one list of classes; received {names} and {detections.class_names}.")
        file_name = Path(detections.path).name if detections.path else f"{image_id:06d}.png"
        numbers = {"image_id": image_id, "first_id": first_id}
        samples.append(
            sample_of(detections, file_name=file_name, path=detections.path or "", image=detections.image, **numbers)
        )
        first_id += len(detections)
    if not names:
        names = [f"class {label + 1}" for label in range(max((int(s.labels.max(initial=0)) for s in samples), default=0) + 1)]
    categories = tuple(Category(label + 1, name) for label, name in enumerate(names))
    return write_annotations(Predicted(samples, categories), format_name, out, images=images)


class PredictedSets:
    """Collects what is found image by image, and writes it as one data set a format when it closes.

    Each lies in a folder `predictions-FORMAT/`, whole or not at all. It closes the same way after an error or Ctrl-C: what was
    found until then is kept. Of each object its run lengths are held, about half a kilobyte. Images of usual formats are linked
    to, which takes no room where the system can do that; planes of stacks and of volumes are written as PNG.

    Args:
        folder: made where it is not there.
        formats: some of `WRITERS`; with none of them it does nothing.
        categories: what labels mean.

    Raises:
        ValueError, ImportError: a format that is not written, or whose library is not installed.
    """

    def __init__(self, folder: Path, formats: Sequence[str], categories: Sequence[Category]) -> None:
        self.formats = tuple(dict.fromkeys(formats))
        for name in self.formats:
            check_writable(name)
        self.folder = folder
        self.lost: dict[str, list[Fault]] = {}
        self.failures: list[str] = []  # what could not be written, and why
        self._found = Predicted([], tuple(categories))
        self._planes = part_of(folder / "planes")
        self._next_id = 1

    def __enter__(self) -> PredictedSets:
        return self

    def add(self, plane: Plane, detections: Detections, *, name: str, image_id: int) -> None:
        """One image.

        Args:
            name: what it is called, without a suffix, as no other.
            image_id: its own number.
        """
        if not self.formats:
            return
        source = Path(plane.source.path)
        suffix = source.suffix.lower()
        if plane.source.num_planes == 1 and suffix in SHOWN_BY_TOOLS and source.is_file():
            file_name, path = name + source.suffix, source
        else:
            self._planes.mkdir(parents=True, exist_ok=True)
            file_name, path = f"{name}.png", self._planes / f"{name}.png"
            write_png(path, as_rgb(plane.image))
        sample = sample_of(detections, image_id=image_id, file_name=file_name, path=str(path), first_id=self._next_id)
        self._found.samples.append(sample)
        self._next_id += len(detections)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            for name in self.formats:
                self._write(name)
        finally:
            shutil.rmtree(self._planes, ignore_errors=True)

    def _write(self, name: str) -> None:
        out = self.folder / f"{PREFIX}{name}"
        part = part_of(out)
        shutil.rmtree(part, ignore_errors=True)
        try:
            self.lost[name] = write_annotations(self._found, name, part, images="link")
            with suppress(FileNotFoundError):
                shutil.rmtree(out)  # a folder cannot be replaced in one step
            os.replace(part, out)
        except (ValueError, OSError) as error:
            self.failures.append(f"{PREFIX}{name}/ could not be written: {error}".rstrip("."))
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def report(self) -> list[str]:
        """A line for each thing that a format cannot say."""
        return [f"Not in {PREFIX}{name}/: {fault.message}" for name, faults in self.lost.items() for fault in faults]
