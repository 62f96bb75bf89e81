"""From pictures to detections in their original pixels, and to files."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from maskrcnn.config import ImageConfig, ModelConfig
from maskrcnn.data.images import byte_values, find_pictures, read_image, to_picture
from maskrcnn.data.planes import count_planes, read_planes
from maskrcnn.data.resize import choose_frame, fit_to_frame, offset_in_frame, pad_to_frame
from maskrcnn.pipeline import ahead, behind
from maskrcnn.results.files import PredictionWriter
from maskrcnn.results.names import Names
from maskrcnn.structures import Detections, PaddedDetections, Plane

Picture = np.ndarray  # (H, W, C), uint8
READERS = min(4, os.cpu_count() or 1)  # threads that read and resize while the model works, each a batch
WAITING = 2  # pictures whose results wait to be written or scored while the model works


def detect(model: Any, images: Any, *, batch_size: int = 1, score: float | None = None) -> Iterator[Detections]:
    """Finds objects, picture by picture. Few batches of pictures are held in memory: those that threads get ready meanwhile.

    Args:
        model: a `MaskRCNN`.
        images: a path, an (H, W, C) or (H, W) uint8 array or tensor, a (B, H, W, C) one, a picture of Pillow, a `Plane`, or an
            iterable of those, which a thread reads a little ahead; the planes of a volume are
            `maskrcnn.data.read_planes(path)`. C is the model's `config.image.channels`, see `to_picture`.
        batch_size: pictures that go through the model together.
        score: least score; the model's own where None.

    Yields:
        `Detections` in original pixels, in the order of the pictures.

    Raises:
        ValueError: for an array that is no picture, or a file that cannot be read.
        MemoryError: a batch would not fit in memory; one line that says what would. Told before the model begins with it.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is at least 1; received {batch_size}.")
    frames: set[tuple[int, int]] = set()
    with closing(_prepared(_each(images), model.config, batch_size)) as batches:  # type: ignore[type-var]
        for batch in batches:
            frame = (batch.images.shape[1], batch.images.shape[2])
            if frame not in frames and hasattr(model, "check_memory"):
                model.check_memory(frame, batch_size)
            frames.add(frame)
            answer = PaddedDetections(*model.predict_on_batch({"images": batch.images, "sizes": batch.sizes}))
            for row, (size, path) in enumerate(batch.originals):
                yield original(answer, row, batch.sizes[row], frame, size, model.config, score=score, path=path)


def predict_files(
    model: Any,
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
    on_picture: Callable[[Path, Detections | Exception], None] | None = None,
) -> list[tuple[Path, str]]:
    """Writes `predictions.json` and, for each picture, an overlay and a label map into a folder; see `PredictionWriter`.

    Frames of DICOM, slices of NIfTI and pages of TIFF are pictures of their own, and read one by one.

    Args:
        model: a `MaskRCNN`.
        inputs: files, folders and globs.
        out: folder, made where it is not there.
        score: least score of what is written.
        batch_size: pictures that go through the model together.
        save: what is written for each picture besides its rows: some of `results.files.SAVE_FORMATS`.
        measurements: whether `measurements.csv` and `measurements.parquet` are written.
        window: (centre, width) of what is shown to the model, or the number of a DICOM file's own window; see `read_planes`.
        axis: axial, coronal or sagittal: how NIfTI volumes are sliced.
        keep_patient: whether DICOM segmentations carry the patient's and the study's attributes of their source.
        names: those given in the folder so far, where others write into it too.
        on_picture: called after each picture with its path and its detections, or what was wrong with it.

    Returns:
        The files that could not be read, or not be saved as asked, each with the reason. The others are done.

    Raises:
        FileNotFoundError: a file named in `inputs` is not there, or nothing in them is a picture.
        ImportError: what reads or writes a format is not installed.
    """
    failures: list[tuple[Path, str]] = []
    paths = find_pictures(inputs)

    image_config = model.config.image
    options: dict[str, Any] = {"channels": image_config.channels, "scaling": image_config.scaling}
    options |= {"window": window, "axis": axis, "keep_patient": keep_patient}

    seen: deque[tuple[Path, Plane | Exception]] = deque()  # what the reading thread met, until its turn has come

    def readable() -> Iterator[Picture]:
        for path in paths:
            try:
                for plane in read_planes(path, **options):
                    writer.check(plane.source)
                    picture = _as_picture(plane, image_config)
                    seen.append((path, plane))
                    yield picture
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

    several = len(paths) > 1 or count_planes(paths[0], axis=axis) > 1
    with PredictionWriter(out, save=save, measurements=measurements, names=names) as writer:
        found = detect(model, readable() if several else list(readable()), batch_size=batch_size, score=score)
        with closing(found), closing(behind(write, in_order(found), WAITING if several else 0)) as written:  # type: ignore[type-var]
            for path, result in written:
                if isinstance(result, Exception):
                    failures.append((path, str(result)))
                if on_picture:
                    on_picture(path, result)
    return failures


class _Batch(NamedTuple):
    """Pictures as the model takes them, and what they were."""

    images: np.ndarray  # (B, H, W, C)
    sizes: np.ndarray  # (B, 2) int32 height, width of the part of the frame that is picture
    originals: list[tuple[tuple[int, int], str | None]]  # height, width and path of each; the last batch has fewer than B


def _prepared(images: Iterable[Any], config: ModelConfig, batch_size: int) -> Iterator[_Batch]:
    """Batches ready for the model. Where there are several, threads read and resize the next ones while the model works."""
    batches = _batches(iter(images), batch_size)
    prepare = partial(_prepare, config=config, batch_size=batch_size)
    if isinstance(images, Sized) and len(images) <= batch_size:
        yield from map(prepare, batches)
        return
    with (
        ThreadPoolExecutor(READERS, "read") as readers,
        closing(ahead((readers.submit(prepare, batch) for batch in batches), READERS)) as tasks,  # type: ignore[type-var]
    ):
        for task in tasks:
            yield task.result()


def _prepare(items: list[Any], config: ModelConfig, batch_size: int) -> _Batch:
    fitted: list[np.ndarray] = []
    originals: list[tuple[tuple[int, int], str | None]] = []
    for item in items:
        picture = _as_picture(item, config.image)
        fitted.append(fit_to_frame(picture, config.image)[0])
        originals.append(((picture.shape[0], picture.shape[1]), _path_of(item)))
    frame = choose_frame([image.shape[:2] for image in fitted], config.image)
    shape = (batch_size, *frame, config.image.channels)  # the last batch is filled up: one shape, one compilation
    images = np.zeros(shape, fitted[0].dtype)
    sizes = np.ones((batch_size, 2), np.int32)
    for row, image in enumerate(fitted):
        images[row], sizes[row] = pad_to_frame(image, frame, config.image.place), image.shape[:2]
    return _Batch(images, sizes, originals)


def original(
    answer: PaddedDetections,
    row: int,
    size: Any,
    frame: tuple[int, int],
    original_size: tuple[int, int],
    config: ModelConfig,
    *,
    score: float | None = None,
    path: str | None = None,
) -> Detections:
    """One picture's detections, from pixels of the frame to pixels of the original.

    Args:
        answer: NumPy arrays.
        row: which picture of the batch.
        size: (height, width) of the picture in the frame.
        frame: (height, width) of the frame.
        original_size: (height, width) of the picture itself.
        config: of the model: the names of the classes, where the picture lies in its frame, what a box's end means.
        score: least score; None keeps all.
    """
    boxes = _original_boxes(answer.boxes[row], size, frame, original_size, config)
    keep = answer.valid[row]
    if score is not None:
        keep = keep & (answer.scores[row] >= score)
    if config.anchors.ends == "last_pixel":
        keep = keep & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)  # matterport drops what rounding left without area
    return Detections(
        boxes=np.asarray(boxes[keep], np.float32),
        scores=np.asarray(answer.scores[row][keep], np.float32),
        labels=np.asarray(answer.labels[row][keep], np.int32),
        small_masks=np.asarray(answer.masks[row][keep], np.float32),
        size=(int(original_size[0]), int(original_size[1])),
        class_names=config.class_names,
        path=path,
        paste=config.mask_head.paste,
    )


def _original_boxes(
    boxes: np.ndarray, size: Any, frame: tuple[int, int], original_size: tuple[int, int], config: ModelConfig
) -> np.ndarray:
    """(N, 4) boxes in pixels of the frame to pixels of the original, x2 and y2 at the edge of the last pixel."""
    old, new, offset = (
        np.tile(np.array(pair[::-1], np.float64), 2)  # x, y, x, y
        for pair in (size, original_size, offset_in_frame(size, frame, config.image.place))
    )
    if config.anchors.ends == "last_pixel":  # whole pixels, half to even: matterport's `unmold_detections`
        return np.round((boxes - offset) * (new - 1) / np.maximum(old - 1, 1) + [0, 0, 1, 1])
    return (boxes - offset.astype(np.float32)) * (new / old).astype(np.float32)


def _each(images: Any) -> Iterable[Any]:
    if isinstance(images, (str, Path, Plane, Image.Image)):
        return [images]
    if hasattr(images, "ndim"):  # NumPy's, or a tensor of any backend
        images = np.asarray(images)
        return images if images.ndim == 4 else [images]
    return images


def _path_of(item: Any) -> str | None:
    if isinstance(item, Plane):
        return item.source.path
    return str(item) if isinstance(item, (str, Path)) else None


def _as_picture(item: Any, image_config: ImageConfig) -> Picture:
    if isinstance(item, (str, Path)):
        return read_image(item, channels=image_config.channels, scaling=image_config.scaling)
    if isinstance(item, (list, tuple)):
        raise ValueError("A picture is a path or an array; received a list. Pass np.asarray(picture, np.uint8).")
    if isinstance(item, Image.Image):
        return _from_pillow(item, image_config)
    picture = item.image if isinstance(item, Plane) else np.asarray(item)
    if picture.size and picture.dtype != np.uint8:
        if not (np.issubdtype(picture.dtype, np.number) and np.isfinite(picture).all()):
            raise ValueError(f"A picture's values are finite numbers from 0 to 255; received {picture.dtype} with others.")
        low, high = picture.min(), picture.max()
        if low < 0 or high > 255 or (0 < high <= 1 and np.issubdtype(picture.dtype, np.floating)):
            raise ValueError(
                f"A picture's values go from 0 to 255; received {picture.dtype} from {low} to {high}. Scale it, and pass uint8."
            )
        picture = np.round(picture).astype(np.uint8)
    return to_picture(picture, image_config.channels)


def _from_pillow(picture: Image.Image, image_config: ImageConfig) -> Picture:
    """What `read_image` gives of its file: upright, a palette as its colours, more than 8 bits stretched."""
    picture = ImageOps.exif_transpose(picture)
    channels = image_config.channels
    is_deep = picture.mode in ("I", "F") or picture.mode.startswith("I;16")
    values = np.asarray(picture) if is_deep else byte_values(picture, channels)
    return to_picture(values, channels, image_config.scaling)


def _batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
