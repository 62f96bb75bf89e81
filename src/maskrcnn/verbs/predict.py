"""From images to detections in their original pixels, and to files."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import Any

from maskrcnn import engines
from maskrcnn.images.files import find_images
from maskrcnn.images.images import read_planes
from maskrcnn.images.large import reduced
from maskrcnn.images.opening import open_large
from maskrcnn.inference.batches import WAITING
from maskrcnn.inference.detections import Detections
from maskrcnn.inference.given import Pixels, as_pixels
from maskrcnn.inference.stitching import Tile
from maskrcnn.inference.tiles import detect_large
from maskrcnn.inference.whole import detect
from maskrcnn.pipeline import behind
from maskrcnn.results.files import PredictionWriter
from maskrcnn.results.large import LONGEST_OVERLAY, LargeWriter
from maskrcnn.results.names import Names, stem_of
from maskrcnn.structures import Detector, Plane


def predict(
    images: Any, *, model: Detector | str | Path = "nuclei", score: float = 0.5, batch_size: int = 1
) -> list[Detections]:
    """Finds the objects in images, in one line.

    Example:
        for found in maskrcnn.predict("cells/*.png", model="runs/first"):
            found.save(f"{found.path}_found.png")

    Args:
        images: a path, a folder, a glob, an (H, W, C) or (H, W) uint8 array, an image of Pillow, or a list of those.
        model: a model; a run's folder or a file of one, exported ones too; or `"nuclei"`, which comes with the package.
        score: the least score.
        batch_size: images that go through the model together.

    Returns:
        One `Detections` an image, in original pixels.

    Raises:
        FileNotFoundError: no such image or model.
        ValueError: what is no image, or no model.
    """
    detector = open_model(model) if isinstance(model, (str, Path)) else model
    if isinstance(images, (str, Path)):
        images = find_images([images])
    return list(detect(detector, images, batch_size=batch_size, score=score))


def open_model(path: str | Path) -> Detector:
    """A model to predict with: an exported one on its engine, any other on Keras."""
    if engines.recognise(path) is not None:
        return engines.load(path)
    from maskrcnn.api import load_model  # Keras and its backend, which exported models do without

    return load_model(path)


def predict_files(
    model: Detector,
    inputs: Iterable[str | Path],
    out: str | Path,
    *,
    score: float = 0.5,
    batch_size: int = 1,
    save: Sequence[str] = ("overlay", "labels"),
    measurements: bool = False,
    window: tuple[float, float] | int | None = None,
    axis: str = "axial",
    keep_patient: bool = False,
    names: Names | None = None,
    on_image: Callable[[Path, Detections | Exception], None] | None = None,
) -> list[tuple[Path, str]]:
    """Writes `predictions.json` and, for each image, an overlay and a label map into a folder; see `PredictionWriter`.

    Frames of DICOM, slices of NIfTI and pages of TIFF are images of their own, and read one by one.

    Args:
        model: a `MaskRCNN`.
        inputs: files, folders and globs.
        out: folder, made where it is not there.
        score: least score of what is written.
        batch_size: images that go through the model together.
        save: what is written for each image besides its rows: some of `results.files.SAVE_FORMATS`.
        measurements: whether `measurements.csv` and `measurements.parquet` are written.
        window: (centre, width) of what is shown to the model, or the number of a DICOM file's own window; see `read_planes`.
        axis: axial, coronal or sagittal: how NIfTI volumes are sliced.
        keep_patient: whether DICOM segmentations carry the patient's and the study's attributes of their source.
        names: those given in the folder so far, where others write into it too.
        on_image: called after each image with its path and its detections, or what was wrong with it.

    Returns:
        The files that could not be read, or not be saved as asked, each with the reason. The others are done.

    Raises:
        FileNotFoundError: a file named in `inputs` is not there, or nothing in them is an image.
        ImportError: what reads or writes a format is not installed.
    """
    failures: list[tuple[Path, str]] = []
    paths = find_images(inputs)

    image_config = model.config.image
    options: dict[str, Any] = {"channels": image_config.channels, "scaling": image_config.scaling}
    options |= {"window": window, "axis": axis, "keep_patient": keep_patient}

    seen: deque[tuple[Path, Plane | Exception]] = deque()  # what the reading thread met, until its turn has come

    def readable() -> Iterator[Pixels]:
        for path in paths:
            try:
                for plane in read_planes(path, **options):
                    writer.check(plane.source)
                    image = as_pixels(plane, image_config)
                    seen.append((path, plane))
                    yield image
            except (ValueError, OSError) as error:
                seen.append((path, error))

    def in_order(found: Iterable[Detections]) -> Iterator[tuple[Path, Plane | Exception, Detections | None]]:
        for detections in found:
            while isinstance(seen[0][1], Exception):
                yield *seen.popleft(), None
            yield *seen.popleft(), detections
        for path, error in seen:
            yield path, error, None

    def write(item: tuple[Path, Plane | Exception, Detections | None]) -> tuple[Path, Detections | Exception]:
        path, plane, detections = item
        if isinstance(plane, Exception):
            return path, plane
        assert detections is not None
        try:
            writer.write_plane(plane, detections, model.config.categories)
        except ValueError as error:
            return path, error
        return path, detections

    with PredictionWriter(out, save=save, measurements=measurements, names=names) as writer:
        images = readable()
        first = list(islice(images, 1))
        several = len(paths) > 1 or _has_several_planes(seen)
        ahead = chain(first, images) if several else [*first, *images]
        found = detect(model, ahead, batch_size=batch_size, score=score)
        with closing(found), closing(behind(write, in_order(found), WAITING if several else 0)) as written:  # type: ignore[type-var]
            for path, result in written:
                if isinstance(result, Exception):
                    failures.append((path, str(result)))
                if on_image:
                    on_image(path, result)
    return failures


def _has_several_planes(seen: Sequence[tuple[Path, Plane | Exception]]) -> bool:
    """Whether what was read first is one plane of several."""
    return bool(seen) and isinstance(seen[0][1], Plane) and seen[0][1].source.num_planes > 1


def predict_large(
    model: Detector,
    source: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    scale: float | None = None,
    score: float = 0.5,
    batch_size: int = 1,
    save: Sequence[str] = ("overlay", "labels"),
    on_tile: Callable[[Tile], None] | None = None,
) -> int:
    """Writes what `detect_large` finds in an image into a folder, all of it or nothing; see `LargeWriter`.

    Args:
        model, tile, overlap, scale, batch_size, on_tile: as for `detect_large`.
        source: a file that `open_large` opens.
        out: folder, made where it is not there.
        name: what the results are called; None: as the file without its suffix.
        score: least score of what is written.
        save: some of `results.large.LARGE_FORMATS`.

    Returns:
        How many objects were found.

    Raises:
        ValueError, ImportError: as `detect_large` and `LargeWriter`.
    """
    image = model.config.image
    with open_large(source, channels=image.channels, scaling=image.scaling) as large:
        small = reduced(large, LONGEST_OVERLAY) if "overlay" in save else None
        file_name, categories = Path(source).as_posix(), model.config.categories
        options: dict[str, Any] = {
            "size": large.size,
            "file_name": file_name,
            "categories": categories,
            "save": save,
            "small": small,
        }
        with LargeWriter(out, name or stem_of(Path(source)), **options) as writer:
            for found in detect_large(
                model, large, tile=tile, overlap=overlap, scale=scale, score=score, batch_size=batch_size, on_tile=on_tile
            ):
                writer.write(found)
    return writer.count
