"""ImageJ's and Fiji's regions of interest: a `.roi`, or a zip of them (`RoiSet.zip`), for each image.

Read and written with roifile. A region is a polygon, freehand or traced outline, a rectangle, an oval, or several paths of
which each one inside another is a hole. Its class stands in its name before the number, `tumour-3`; ImageJ's own names are
numbers alone.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from maskrcnn import extras
from maskrcnn.annotations.assembling import Drawn, Entry, Report, assemble
from maskrcnn.annotations.faults import Fault
from maskrcnn.annotations.finding import Found, ImageFinder
from maskrcnn.annotations.objects import Annotations
from maskrcnn.annotations.outlines import Rle, Size, as_points, draw_ellipse, draw_even_odd
from maskrcnn.annotations.pairing import class_in_name
from maskrcnn.annotations.place import Place, ReadOptions, is_image
from maskrcnn.annotations.writing import Annotated, ImagesTo, Losses, placed_images, rows_of, safe_name
from maskrcnn.atomic import write_whole

NAME = "imagej"
TITLE = "ImageJ's ROIs (NAME.roi or NAME_RoiSet.zip beside each image)"
MAX_BYTES = 2**28  # of one unpacked region
ENDINGS = ("_roiset", "-roiset", "_rois", "-rois", "_roi", " roiset")


def recognise(place: Place) -> bool:
    """A folder with `.roi` files or zips of them; one such file."""
    files = place.files_ending(".roi", ".zip") if place.is_folder else [place.path]
    return any(_holds_rois(file) for file in files[:3] if _damage(file) is None)


def read(place: Place, options: ReadOptions) -> Annotations:
    """Every image that has regions by its name.

    Raises:
        ImportError: roifile is not installed.
    """
    files = place.files_ending(".roi", ".zip") if place.is_folder else [place.path]
    damaged = [message for message in map(_damage, files) if message is not None]
    files = [file for file in files if _damage(file) is None and _holds_rois(file)]
    finder = ImageFinder([options.images] if options.images else [place.folder / "images", place.folder])
    images = [file for file in place.files if is_image(file)]
    entries: dict[str, tuple[Found, list[Path]]] = {}
    for file in files:
        stem = _image_stem(file)
        found = finder.find(stem)
        if found.path is None and len(images) == 1:
            found = Found(images[0])  # RoiSet.zip beside the one image
        key = str(found.path) if found.path is not None else stem
        entries.setdefault(key, (found.as_usual(), []))[1].append(file)
    listed = [
        Entry(found.path.name if found.path else key, found, partial(_draw, files=own)) for key, (found, own) in entries.items()
    ]
    return assemble(listed, options, faults=[Fault("damaged file", message) for message in damaged])


def _image_stem(file: Path) -> str:
    stem = file.stem
    for ending in ENDINGS:
        if stem.lower().endswith(ending):
            return stem[: -len(ending)]
    return stem


def _damage(file: Path) -> str | None:
    """What is wrong with a zip as a whole; None for a sound one, and for other files."""
    if file.suffix.lower() != ".zip":
        return None
    try:
        zipfile.ZipFile(file).close()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        return f"{file} is a damaged zip, and its regions are lost: {error}"
    return None


def _holds_rois(file: Path) -> bool:
    if file.suffix.lower() == ".zip":
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            return not names or any(name.lower().endswith(".roi") for name in names)  # an empty one says: no objects
    try:
        with open(file, "rb") as opened:
            return opened.read(4) == b"Iout"
    except OSError:
        return False


def _draw(size: Size, report: Report, *, files: Sequence[Path]) -> Iterator[Drawn]:
    roifile = extras.load("roifile", extra="annotations", why="ImageJ's ROIs need roifile")
    for file in files:
        for name, unpack in _contents(file):
            try:
                roi = roifile.ImagejRoi.frombytes(unpack())
                if max(roi.position, roi.z_position, roi.t_position) > 1:
                    report("region of another plane", f"{file}: {name} lies in plane {roi.position}; the first is read")
                    continue
                yield Drawn(class_in_name(roi.name or Path(name).stem), _draw_roi(roi, roifile.ROI_TYPE, size))
            except Exception as error:  # damaged regions make the library raise struct.error, IndexError, ValueError, …
                report("broken mask", f"{file}: {name}: {error}")


def _contents(file: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Each region of a file: its name, and what gives its bytes."""
    if file.suffix.lower() != ".zip":
        yield file.name, file.read_bytes
        return
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if info.filename.lower().endswith(".roi"):
                yield info.filename, partial(_unpack, archive, info)


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.file_size > MAX_BYTES:
        raise ValueError(f"it unpacks to {info.file_size:,} bytes")
    return archive.read(info)


def _draw_roi(roi: Any, kinds: Any, size: Size) -> Rle:
    if roi.multi_coordinates is None:
        if roi.roitype == kinds.OVAL:
            centre = ((roi.left + roi.right) / 2, (roi.top + roi.bottom) / 2)
            return draw_ellipse(centre, ((roi.right - roi.left) / 2, (roi.bottom - roi.top) / 2), 0.0, size)
        if roi.roitype not in (kinds.POLYGON, kinds.FREEHAND, kinds.TRACED, kinds.RECT):
            raise ValueError(f"a region of the kind {roi.roitype.name} has no area")
    rings = [as_points(ring, "an outline") for ring in roi.coordinates(multi=True) if len(ring) > 2]
    if not rings:
        raise ValueError("it has no outline")
    return draw_even_odd(rings, size)


def roi_of(rings: Sequence[np.ndarray], name: str, *, score: float | None = None) -> bytes:
    """One region as ImageJ's bytes: its rings (P, 2) x, y in pixels, holes among them; a score is a property of it."""
    roifile = extras.load("roifile", extra="annotations", why="ImageJ's ROIs need roifile")
    roi = _outline(roifile, rings, name)
    if score is not None:
        roi.props = f"score: {score:.4f}\n"
    return roi.tobytes()


def _outline(roifile: Any, rings: Sequence[np.ndarray], name: str) -> Any:
    if len(rings) == 1:
        return roifile.ImagejRoi.frompoints(rings[0].astype(np.float32), name=name)
    steps: list[float] = []
    for ring in rings:
        for number, (x, y) in enumerate(ring.tolist()):
            steps += [1.0 if number else 0.0, x, y]  # a line to here; a new path from here
        steps.append(4.0)  # closed
    points = np.concatenate(list(rings))
    return roifile.ImagejRoi(
        roitype=roifile.ROI_TYPE.RECT,
        name=name,
        left=int(points[:, 0].min()),
        top=int(points[:, 1].min()),
        right=int(points[:, 0].max()),
        bottom=int(points[:, 1].max()),
        multi_coordinates=np.array(steps, np.float32),
        shape_roi_size=len(steps),
    )


def write(data: Annotated, out: Path, *, images: ImagesTo = "copy") -> list[Fault]:
    """Writes each image with `NAME_RoiSet.zip`: outlines along the pixels' edges, paths of several rings for holes and parts.

    Returns:
        What the format cannot say: crowd regions.

    Raises:
        ImportError: roifile is not installed.
    """
    losses = Losses()
    out.mkdir(parents=True, exist_ok=True)
    for sample, name in placed_images(data, out, images):
        rois = []
        for row in losses.without_crowds(rows_of(sample, data)):
            roi_name = f"{safe_name(row.name)}-{row.number + 1}"
            rings = [ring for rings in row.polygons() for ring in rings]
            rois.append((roi_name, roi_of(rings, roi_name, score=row.score)))

        def archive(file: BinaryIO, rois: list[tuple[str, bytes]] = rois) -> None:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as written:
                for roi_name, content in rois:
                    written.writestr(f"{roi_name}.roi", content)

        write_whole(out / f"{Path(name).stem}_RoiSet.zip", archive)
    return losses.faults()
