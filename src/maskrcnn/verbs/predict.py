"""From images to detections in their original pixels, and to files."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from maskrcnn import engines
from maskrcnn.annotations.formats import WRITERS, check_writable
from maskrcnn.annotations.predicted import PredictedSets
from maskrcnn.config.model import Category, ModelConfig
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
from maskrcnn.results.files import SAVE_FORMATS, PredictionWriter, check_formats
from maskrcnn.results.large import LARGE_FORMATS, LONGEST_OVERLAY, LargeWriter
from maskrcnn.results.names import Names, stem_of
from maskrcnn.structures import Detector, Finder, Plane


@dataclass(frozen=True)
class PredictConfig:
    """How images are looked at, and what is kept of it.

    Attributes:
        score: least score of what is written; `"auto"`: of each class the best that the model holds.
        batch_size: images processed by the model together.
        save: what is written besides the rows: for each image some of `results.files.SAVE_FORMATS`, of images that are found
            in tiles of `results.large.LARGE_FORMATS`; and of all images together data sets, some of
            `annotations.formats.WRITERS`.
        measurements: whether `measurements.csv` and `measurements.parquet` are written.
        window: (center, width) of the gray values that the model is shown, or the number of a DICOM file's own window; see
            `read_planes`.
        axis: how NIfTI volumes are sliced.
        keep_patient: whether DICOM segmentations carry the patient's and the study's attributes of their source.
        tile: images larger than this, in pixels, are found in tiles of it; 0: none is. None: slides, zarr and images from 100
            million pixels on, in tiles of the model's short side.
        overlap, scale: of tiles, see `detect_large`.
    """

    score: float | Literal["auto"] = 0.5
    batch_size: int = 1
    save: Sequence[str] = ("overlay", "labels")
    measurements: bool = False
    window: tuple[float, float] | int | None = None
    axis: Literal["axial", "coronal", "sagittal"] = "axial"
    keep_patient: bool = False
    tile: int | None = None
    overlap: int | None = None
    scale: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.save, str):
            raise ValueError(f"Results are saved in a list of formats; received {self.save!r}, not [{self.save!r}].")
        known = dict.fromkeys([*SAVE_FORMATS, *LARGE_FORMATS, *WRITERS])
        for name in self.save:
            if name not in known:
                raise ValueError(f"Results are saved as {', '.join(known)}; received {name!r}.")

    def by_image(self) -> list[str]:
        """What is written for each image."""
        return [name for name in self.save if name not in WRITERS]

    def data_sets(self) -> list[str]:
        """What is written of all images together."""
        return [name for name in self.save if name in WRITERS]

    def check_whole(self) -> None:
        """Whether all can be written of images that the model sees as a whole.

        Raises:
            ValueError: a format of images in tiles alone.
            ImportError: what writes a format is not installed.
        """
        if "zarr" in self.save:
            raise ValueError("zarr holds the label maps of images that are found in tiles (--tile N); others take ome-tiff.")
        check_formats(self.by_image(), measurements=self.measurements)
        for name in self.data_sets():
            check_writable(name)


def predict(
    images: Any,
    *,
    model: Detector | Finder | str | Path = "nuclei",
    score: float | Literal["auto"] = 0.5,
    batch_size: int = 1,
) -> list[Detections]:
    """Finds the objects in images, in one line.

    Example:
        for found in maskrcnn.predict("cells/*.png", model="runs/first"):
            found.save(f"{found.path}_found.png")

    Args:
        images: a path, a folder, a glob, an (H, W, C) or (H, W) uint8 array, a Pillow image, or a list of those.
        model: a model or an `Ensemble`; a run's folder, a model file or an exported model; or `"nuclei"`, the included
            model.
        score: the lowest score; `"auto"`: each class's best threshold, see `maskrcnn evaluate --save-scores`.
        batch_size: images processed by the model together.

    Returns:
        One `Detections` per image, in original pixels.

    Raises:
        FileNotFoundError: no such image or model.
        ValueError: not an image, or not a model; `"auto"` if the model has no stored thresholds.
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
    model: Detector | Finder,
    inputs: Iterable[str | Path],
    out: str | Path,
    *,
    names: Names | None = None,
    on_image: Callable[[Path, Detections | Exception], None] | None = None,
    **settings: Any,
) -> list[tuple[Path, str]]:
    """Writes `predictions.json` and, for each image, an overlay and a label map into a folder; see `PredictionWriter`.

    Frames of DICOM, slices of NIfTI and pages of TIFF are images of their own, and read one by one. No image is tiled.

    Args:
        model: a `MaskRCNN`, or an exported model on its engine.
        inputs: files, folders and globs.
        out: folder, made where it is not there.
        names: those given in the folder so far, where others write into it too.
        on_image: called after each image with its path and its detections, or what was wrong with it.
        **settings: fields of `PredictConfig`.

    Returns:
        The files that could not be read, or not be saved as asked, each with the reason. The others are done.

    Raises:
        ValueError: a format of data sets cannot hold what was found; everything else is written.
        FileNotFoundError: a file named in `inputs` is not there, or nothing in them is an image.
        ImportError: what reads or writes a format is not installed.
    """
    config = PredictConfig(**settings)
    return write_predictions(model, find_images(inputs), Path(out), config, names=names, on_image=on_image)


def write_predictions(
    model: Detector | Finder,
    paths: Sequence[Path],
    out: Path,
    config: PredictConfig,
    *,
    names: Names | None = None,
    image_ids: Mapping[str, int] | None = None,
    categories: Sequence[Category] | None = None,
    on_image: Callable[[Path, Detections | Exception], None] | None = None,
    log: Callable[[str], None] = warnings.warn,
) -> list[tuple[Path, str]]:
    """As `predict_files`, of files: read by one thread, looked at by this one, written by a third.

    Args:
        model, out, names, on_image: as there.
        paths: of the images.
        config: how they are looked at, and what is kept.
        image_ids: of the images by path, see `PredictionWriter`.
        categories: what labels mean in the rows; the model's own where None.
        log: told what a format of data sets cannot say.
    """
    failures, meaning = list[tuple[Path, str]](), categories or model.config.categories
    options: dict[str, Any] = {"save": config.by_image(), "measurements": config.measurements}
    config.check_whole()
    sets = PredictedSets(out, config.data_sets(), meaning)
    with PredictionWriter(out, names=names, image_ids=image_ids, **options) as writer, sets:

        def write(item: tuple[Path, Plane | Exception, Detections | None]) -> tuple[Path, Detections | Exception]:
            path, plane, detections = item
            if isinstance(plane, Exception):
                return path, plane
            assert detections is not None
            try:
                name = writer.write_plane(plane, detections, meaning)
                sets.add(plane, detections, name=name, image_id=writer.image_id)
            except ValueError as error:
                return path, error
            return path, detections

        reading = _Reading(paths, model.config, config, writer.check)
        images = reading.images()
        first = list(islice(images, 1))
        several = len(paths) > 1 or reading.has_several_planes()
        ahead = chain(first, images) if several else [*first, *images]
        found = detect(model, ahead, batch_size=config.batch_size, score=config.score)
        with closing(found), closing(behind(write, reading.beside(found), WAITING if several else 0)) as written:  # type: ignore[type-var]
            for path, result in written:
                if isinstance(result, Exception):
                    failures.append((path, str(result)))
                if on_image:
                    on_image(path, result)
    for line in sets.report():
        log(line)
    if sets.failures:
        raise ValueError(f"{'; '.join(sets.failures)}. All other results are in {out}.")
    return failures


class _Reading:
    """The planes of files as the model takes them, and what each was: another thread reads, this one asks later."""

    def __init__(
        self, paths: Sequence[Path], model_config: ModelConfig, config: PredictConfig, check: Callable[[Any], None]
    ) -> None:
        image = model_config.image
        self._paths, self._image, self._check = paths, image, check
        self._options: Mapping[str, Any] = {
            "channels": image.channels,
            "scaling": image.scaling,
            "window": config.window,
            "axis": config.axis,
            "keep_patient": config.keep_patient,
        }
        self._seen: deque[tuple[Path, Plane | Exception]] = deque()  # until the model's answer is there

    def images(self) -> Iterator[Pixels]:
        for path in self._paths:
            try:
                for plane in read_planes(path, **self._options):
                    self._check(plane.source)
                    image = as_pixels(plane, self._image)
                    self._seen.append((path, plane))
                    yield image
            except (ValueError, OSError) as error:
                self._seen.append((path, error))

    def beside(self, found: Iterable[Detections]) -> Iterator[tuple[Path, Plane | Exception, Detections | None]]:
        """Each plane with what was found in it, and in its place each error."""
        for detections in found:
            while isinstance(self._seen[0][1], Exception):
                yield *self._seen.popleft(), None
            yield *self._seen.popleft(), detections
        for path, error in self._seen:
            yield path, error, None

    def has_several_planes(self) -> bool:
        """Whether what was read first is one plane of several."""
        first = self._seen[0][1] if self._seen else None
        return isinstance(first, Plane) and first.source.num_planes > 1


def predict_large(
    model: Detector | Finder,
    source: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    scale: float | None = None,
    score: float | Literal["auto"] = 0.5,
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
