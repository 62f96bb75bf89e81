"""Many files, each answered or failed by itself, in batches of one frame size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple

import numpy as np

from maskrcnn.config.model import ModelConfig
from maskrcnn.data.resize import choose_frame, fit_to_frame
from maskrcnn.inference.batches import READERS, stack
from maskrcnn.inference.detections import Detections
from maskrcnn.inference.given import as_pixels
from maskrcnn.inference.whole import Score, least_scores, original
from maskrcnn.pipeline import ahead
from maskrcnn.structures import ChecksMemory, Detector, PaddedDetections, Plane

MOST_WAITING = 4  # times the batch: images that wait for others of their frame; then the frame that has most goes as it is

Read = Callable[[str], Iterable[Plane]]  # of a path or an address; what is wrong is a ValueError or OSError of one line


class Answer(NamedTuple):
    """What became of one image.

    Attributes:
        path: the file, as it was named.
        plane: its number in the file, from 1; of a file that cannot be read that of the first plane that cannot.
        found: its objects in original pixels, or why there are none.
    """

    path: str
    plane: int
    found: Detections | ValueError | OSError


class _Ready(NamedTuple):
    """An image at the model's size."""

    path: str
    plane: int
    pixels: np.ndarray  # (h, w, C)
    size: tuple[int, int]  # (height, width) of the original


def detect_each(
    model: Detector, paths: Iterable[str], read: Read, *, batch_size: int = 1, score: Score = None, readers: int = READERS
) -> Iterator[Answer]:
    """Finds the objects of files, one bad file or a thousand among them.

    A batch holds images of one frame, the one that each has alone, so that an image's answer depends on no other image.
    Answers come in the order in which their batches are full: sort them by path and plane.

    Args:
        model: a `MaskRCNN` or an engine.
        paths: files or addresses, read a little ahead.
        read: gives a file's planes.
        batch_size: images that go through the model together.
        score: see `detect`.
        readers: threads that read and resize, each a file.

    Raises:
        ImportError, MemoryError: what reads a format is not installed; a batch would not fit in memory.
    """
    least = least_scores(score, model.config)
    waiting: dict[tuple[int, int], list[_Ready]] = defaultdict(list)
    checked: set[tuple[int, int]] = set()
    for ready in _ready(paths, read, model.config, readers):
        if isinstance(ready, Answer):
            yield ready
            continue
        frame = choose_frame([(ready.pixels.shape[0], ready.pixels.shape[1])], model.config.image)
        if frame not in checked and isinstance(model, ChecksMemory):
            model.check_memory(frame, batch_size)
        checked.add(frame)
        waiting[frame].append(ready)
        if sum(map(len, waiting.values())) >= MOST_WAITING * batch_size:
            frame = max(waiting, key=lambda frame: len(waiting[frame]))
        elif len(waiting[frame]) < batch_size:
            continue
        yield from _answers(model, frame, waiting.pop(frame), batch_size, least)
    for frame, rest in waiting.items():
        yield from _answers(model, frame, rest, batch_size, least)


def _answers(
    model: Detector, frame: tuple[int, int], batch: list[_Ready], batch_size: int, least: float | np.ndarray | None
) -> Iterator[Answer]:
    images, sizes = stack([each.pixels for each in batch], model.config, batch_size)
    answer = PaddedDetections(*model.predict_on_batch({"images": images, "sizes": sizes}))
    for row, each in enumerate(batch):
        found = original(answer, row, sizes[row], frame, each.size, model.config, score=least, path=each.path)
        yield Answer(each.path, each.plane, found)


def _ready(paths: Iterable[str], read: Read, config: ModelConfig, readers: int) -> Iterator[_Ready | Answer]:
    """The images of all files in their order. A thread reads a file's first plane; those of a stack are read one by one."""

    def begin(path: str) -> tuple[_Ready | Answer | None, Iterator[_Ready | Answer]]:
        planes = _planes(path, read, config)
        return next(planes, None), planes

    with (
        ThreadPoolExecutor(readers, "read") as threads,
        closing(ahead((threads.submit(begin, path) for path in paths), 2 * readers)) as tasks,  # type: ignore[type-var]
    ):
        for task in tasks:
            first, others = task.result()
            if first is not None:
                yield first
                yield from others


def _planes(path: str, read: Read, config: ModelConfig) -> Iterator[_Ready | Answer]:
    number = 1
    try:
        for plane in read(path):
            pixels = as_pixels(plane, config.image)
            fitted = fit_to_frame(pixels, config.image)[0]
            yield _Ready(path, plane.number, fitted, (pixels.shape[0], pixels.shape[1]))
            number = plane.number + 1
    except (ValueError, OSError) as error:
        yield Answer(path, number, error)
