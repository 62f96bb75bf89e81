"""The work behind the routes: uploads in, detections out, beside the queue that feeds the model."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from fastapi import Request

from maskrcnn.atomic import write_whole
from maskrcnn.config.model import Category, ModelConfig
from maskrcnn.data.resize import choose_frame, fit_to_frame, pad_to_frame
from maskrcnn.inference.tiles import detect_large
from maskrcnn.inference.whole import AUTO, Score, least_scores, original
from maskrcnn.serving import answers
from maskrcnn.serving.admission import Admission, Place, shutting_down
from maskrcnn.serving.answers import Answer
from maskrcnn.serving.meters import Meters, say
from maskrcnn.serving.problems import ClientGoneError, ProblemError
from maskrcnn.serving.queue import ModelQueue, Row, Turns
from maskrcnn.serving.reading import Upload, decode, suffix_of
from maskrcnn.serving.settings import ServerSettings
from maskrcnn.serving.uploads import read_uploads
from maskrcnn.structures import Detections, Detector

T = TypeVar("T")
USUAL_SCORE = 0.5  # where the server's is "auto" and a model that people trained on holds no best ones
LEAST_TILE = 64  # pixels; smaller ones make more work than an image has


class Wishes(NamedTuple):
    """What a request wants of the model."""

    score: float | Literal["auto"]
    classes: tuple[str, ...] = ()
    max_detections: int | None = None
    tile: int | None = None


class Service:
    """One model and all that is needed to answer for it.

    Args:
        detector: the model.
        settings: of the server.
        engine_of: names what a model runs on.
        load_for_boxes: loads what a model needs to answer for boxes, before it is asked in its own thread.

    Attributes:
        admission: places for images.
        queue: before the model.
        meters: what was counted.
        ready: whether the model has answered its first image.
        ended: whether the model's thread has ended.

    Raises:
        ValueError: the settings want each class's best score and the model holds none.
    """

    def __init__(
        self,
        detector: Detector,
        settings: ServerSettings,
        engine_of: Callable[[Detector], str] = lambda _: "keras",
        load_for_boxes: Callable[[Detector], object] = lambda _: None,
    ) -> None:
        least_scores(settings.score, detector.config)
        self.settings = settings
        self.meters = Meters()
        self._engine_of, self.load_for_boxes = engine_of, load_for_boxes
        self.queue = ModelQueue(
            detector, batch_size=settings.batch_size, wait=settings.wait_ms / 1000, on_batch=self.meters.count_batch
        )
        self.admission = Admission(settings.queue, self.queue.seconds_for, settings.timeout)
        self.ready = self.ended = self._refused = False
        self._threads = ThreadPoolExecutor(settings.readers, "serve")
        self.meters.watch("maskrcnn_places_taken", "Images between arrival and answer.", lambda: self.admission.taken)
        self.meters.watch("maskrcnn_queue_images", "Images that wait for the model.", lambda: len(self.queue))
        self._show_model()

    @property
    def config(self) -> ModelConfig:
        """Of the model that answers now."""
        return self.queue.config

    @property
    def engine(self) -> str:
        """What the model that answers now runs on."""
        return self._engine_of(self.queue.detector)

    def replace(self, detector: Detector, instead_of: Detector | None = None) -> bool:
        """Another model answers from now on, see `ModelQueue.replace`; waits for its turn, and says whether it answers now."""
        changed = self.queue.replace(detector, instead_of).result()
        if changed:
            self._show_model()
            say("another model answers", model=self.settings.model_name, engine=self.engine)
        return changed

    @property
    def categories(self) -> Sequence[Category]:
        return self.config.categories

    @property
    def is_ready(self) -> bool:
        """Whether new requests are answered."""
        return self.ready and self.admission.is_open

    def least_score(self, asked: Score) -> float | Literal["auto"]:
        """The least score of a request's answer: what it asks for, else the server's own.

        Raises:
            ProblemError: 422, the request wants each class's best score and the model holds none.
        """
        if asked is None:
            return _held(self.settings.score, self.config)
        try:
            least_scores(asked, self.config)
        except ValueError:
            raise ProblemError(422, "The model holds no best scores for score=auto; give a number such as 0.5.") from None
        return asked

    def start(self) -> None:
        """Starts the model's thread, which answers one empty image first: backends compile when they first see one."""
        self.queue.start()
        self.queue.submit(*self.empty_image()).add_done_callback(self._on_first)

    def empty_image(self) -> tuple[np.ndarray, tuple[int, int]]:
        """A black image in the smallest frame, (H, W, C), and its (height, width) there."""
        image = self.config.image
        return self._fit(np.zeros((image.short_side, image.short_side, image.channels), np.uint8))

    def refuse(self) -> None:
        """Answers 503 to all that wait: the time of those that SIGTERM left is over."""
        self._refused = True
        self.queue.refuse(shutting_down())

    async def stop(self) -> bool:
        """Ends the threads; whether the model's did within the grace."""
        self.admission.close()
        patience = 0.0 if self._refused else self.settings.grace  # nobody waits for what the model does now
        self.ended = await asyncio.to_thread(self.queue.close, patience)
        self._threads.shutdown(wait=False, cancel_futures=True)
        return self.ended

    async def uploads(self, request: Request, place: Place, max_files: int | None = None) -> list[Upload]:
        """A request's files, each with a place of its own."""
        files = await read_uploads(request, max_files=max_files or self.settings.max_images)
        place.grow(len(files) - 1)
        return files

    async def detect(self, uploads: Sequence[Upload], wishes: Wishes) -> list[Answer]:
        """Finds the objects of several images.

        Raises:
            ProblemError: of the first image that cannot be answered.
        """
        tasks = [asyncio.ensure_future(self._detect_one(upload, wishes)) for upload in uploads]
        try:
            found = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        self.meters.images.inc(len(found))
        return found

    async def detect_array(self, name: str, image: np.ndarray, wishes: Wishes) -> Answer:
        """The same for an image that needs no decoding, (H, W, C) uint8 of the model's channels."""
        padded, size = await self.in_thread(self._fit, image)
        with self.meters.stage("wait"):
            row = await asyncio.wrap_future(self.queue.submit(padded, size))
        least = least_scores(_held(wishes.score, row.config), row.config)
        found = original(row.answer, row.row, np.array(size), row.frame, image.shape[:2], row.config, score=least)
        return Answer(name, image, self._chosen(found, wishes))

    async def in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        """Work for the readers' threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def _detect_one(self, upload: Upload, wishes: Wishes) -> Answer:
        with self.meters.stage("read"):
            image = await self.in_thread(decode, upload, self.config.image, self.settings.max_pixels)
        if self.settings.keep is not None:
            await self.in_thread(self._keep, upload)
        if wishes.tile is None:
            return await self.detect_array(upload.name, image, wishes)
        return await self._detect_in_tiles(upload.name, image, wishes)

    async def _detect_in_tiles(self, name: str, image: np.ndarray, wishes: Wishes) -> Answer:
        turns = Turns(self.queue)

        def detect() -> Detections:
            found = detect_large(turns, image, tile=wishes.tile, score=wishes.score, batch_size=self.settings.batch_size)
            return _joined(list(found))

        try:
            found = await asyncio.to_thread(detect)
        finally:
            turns.cancel()  # where nobody waits any more, the thread ends at its next tile
        return Answer(name, image, self._chosen(found, wishes))

    def _on_first(self, future: Future[Row]) -> None:
        error = None if future.cancelled() else future.exception()
        self.ready = error is None
        event = "ready" if self.ready else "model failed"
        say(event, model=self.settings.model_name, engine=self.engine, error=error)

    def _show_model(self) -> None:
        self.meters.show_model(self.settings.model_name, len(self.config.class_names), self.engine)

    def _chosen(self, found: Detections, wishes: Wishes) -> Detections:
        return answers.select(found, classes=wishes.classes, max_detections=wishes.max_detections)

    def _fit(self, image: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        """The image in its frame, and its (height, width) there."""
        fitted, _ = fit_to_frame(image, self.config.image)
        size = (fitted.shape[0], fitted.shape[1])
        return pad_to_frame(fitted, choose_frame([size], self.config.image), self.config.image.place), size

    def _keep(self, upload: Upload) -> None:
        """Named by what is in it: a client's name leads nowhere, and the same file is kept once."""
        assert self.settings.keep is not None
        digest = hashlib.sha256(upload.data).hexdigest()[:24]
        write_whole(self.settings.keep / f"{digest}{suffix_of(upload.data)}", lambda file: file.write(upload.data))


def _held(score: float | Literal["auto"], config: ModelConfig) -> float | Literal["auto"]:
    """The score, but `USUAL_SCORE` for each class's best where the model holds none."""
    return USUAL_SCORE if score == AUTO and not config.detect.best_scores else score


def _joined(parts: list[Detections]) -> Detections:
    """What tiles found, as one, the best first."""
    whole = dataclasses.replace(
        parts[0],
        boxes=np.concatenate([part.boxes for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        small_masks=np.concatenate([part.small_masks for part in parts]),
        bitmaps=[bitmap for part in parts for bitmap in part.bitmaps or ()],
        corners=np.concatenate([part.corners for part in parts if part.corners is not None]),
    )
    return whole[np.argsort(-whole.scores, kind="stable")]


async def while_wanted(request: Request, work: Awaitable[T]) -> T:
    """Waits for work, and gives it up as soon as the client has gone. The request's body has been read.

    Raises:
        ClientGoneError: it has.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGoneError
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
