"""The queue before the model: one thread runs it, on images of one frame together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from maskrcnn.config.model import ModelConfig
from maskrcnn.structures import Detector, PaddedDetections

_SECONDS = 1.0  # an image, before any was measured
_MEMORY = 0.8  # of the mean seconds an image; the last call counts for the rest


class Row(NamedTuple):
    """The model's answer for one image: a row of a batch."""

    answer: PaddedDetections  # NumPy, (B, …)
    row: int
    frame: tuple[int, int]  # height, width
    config: ModelConfig  # of the model that answered


@dataclass(eq=False)
class _Job:
    """An image that waits for a batch, or a call that goes by itself."""

    key: Hashable  # jobs of one key may go together
    image: np.ndarray | None = None  # (H, W, C)
    size: tuple[int, int] = (0, 0)  # height, width of the part of the frame that is image
    call: Callable[[Detector], Any] | None = None
    future: Future[Any] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)


class ModelQueue:
    """Collects images until a batch is full or the oldest has waited long enough, and gives them to the model.

    The model belongs to one thread, which makes it safe whatever the backend. A job whose future is cancelled before its turn
    is never run and leaves the queue at once. Batches are filled up to powers of two: a backend that compiles does it for few
    shapes.

    Args:
        detector: the model.
        batch_size: images of a batch, at most.
        wait: seconds that the oldest image waits for others.
        on_batch: told of each call: images and seconds.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        batch_size: int = 1,
        wait: float = 0.0,
        on_batch: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self.config = detector.config
        self._detector, self._batch_size, self._wait, self._on_batch = detector, batch_size, wait, on_batch
        self._jobs: dict[Hashable, deque[_Job]] = {}
        self._running: list[_Job] = []
        self._refusal: Exception | None = None
        self._changed = threading.Condition()
        self._ending = False
        self._seconds_an_image: float | None = None  # until a call has been measured
        self._shapes: set[tuple[int, ...]] = set()  # of batches that were seen
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout: float | None = None) -> bool:
        """Lets the waiting jobs be done and ends the thread.

        Returns:
            Whether it ended within `timeout` seconds.
        """
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def refuse(self, error: Exception) -> None:
        """Whoever waits for an answer, or asks for one from now on, gets the error instead; the model ends what it is doing."""
        with self._changed:
            self._refusal = error
            left = [*self._running, *(job for jobs in self._jobs.values() for job in jobs)]
            self._jobs.clear()
        for job in left:
            with suppress(InvalidStateError):  # answered, or given up, at this very moment
                job.future.set_exception(error)

    def __len__(self) -> int:
        """Jobs that wait."""
        with self._changed:
            return sum(map(len, self._jobs.values()))

    def seconds_for(self, num_images: int) -> float:
        """How long the model will take for so many images, by its last calls."""
        return num_images * (_SECONDS if self._seconds_an_image is None else self._seconds_an_image)

    def submit(self, image: np.ndarray, size: tuple[int, int]) -> Future[Row]:
        """One image that is ready for the model.

        Args:
            image: (H, W, C), padded to its frame.
            size: (height, width) of the part of the frame that is image.

        Returns:
            A future; cancelling it takes the image out of the queue.
        """
        return self._add(_Job((image.shape, image.dtype.str), image=image, size=size))

    def call(self, work: Callable[[Detector], Any]) -> Future[Any]:
        """Anything else that is to be done with the model, in its thread and its turn."""
        return self._add(_Job(object(), call=work))

    @property
    def detector(self) -> Detector:
        """The model that answers now."""
        return self._detector

    def replace(self, detector: Detector, instead_of: Detector | None = None) -> Future[bool]:
        """Another model answers from its turn on; images that wait, made ready for the old one, are answered by the old one.

        Args:
            detector: the other model.
            instead_of: the model that it replaces; where another one answers by then, nothing changes.

        Returns:
            A future of whether it answers now.
        """

        def change(before: Detector) -> bool:
            if instead_of is not None and before is not instead_of:
                return False
            self._detector, self.config = detector, detector.config
            return True

        return self.call(change)

    def predict_on_batch(self, batch: dict[str, np.ndarray], /) -> PaddedDetections:
        """As the model's own, in its turn: so tiles and videos run between other people's images."""
        return self.call(lambda _: self._predict(batch, len(batch["images"]))).result()

    def _add(self, job: _Job) -> Future[Any]:
        with self._changed:
            if self._refusal is not None:
                raise self._refusal
            if self._ending:
                raise RuntimeError("The queue is closed.")
            self._jobs.setdefault(job.key, deque()).append(job)
            self._changed.notify_all()
        job.future.add_done_callback(lambda future: self._forget(job) if future.cancelled() else None)
        return job.future

    def _forget(self, job: _Job) -> None:
        with self._changed:
            jobs = self._jobs.get(job.key, deque())
            if job in jobs:
                jobs.remove(job)
            if not jobs:
                self._jobs.pop(job.key, None)

    def _run(self) -> None:
        while jobs := self._next():
            try:
                results = [jobs[0].call(self._detector)] if jobs[0].call else self._detect(jobs)
            except Exception as error:  # of one batch; the next may go well
                for job in jobs:
                    with suppress(InvalidStateError):  # refused meanwhile
                        job.future.set_exception(error)
            else:
                for job, result in zip(jobs, results, strict=True):
                    with suppress(InvalidStateError):
                        job.future.set_result(result)

    def _next(self) -> list[_Job]:
        """The next jobs of one key, the longest waiting first; none when the queue is closed and empty."""
        with self._changed:
            self._running = []
            while True:
                while not self._jobs:
                    if self._ending:
                        return []
                    self._changed.wait()
                key = min(self._jobs, key=lambda key: self._jobs[key][0].arrived)
                self._wait_for_others(key)
                if key in self._jobs:  # not all of them were cancelled meanwhile
                    jobs = self._jobs[key]
                    taken = [jobs.popleft() for _ in range(min(len(jobs), self._batch_size))]
                    if not jobs:
                        del self._jobs[key]
                    self._running = [job for job in taken if job.future.set_running_or_notify_cancel()]
                    if self._running:
                        return self._running

    def _wait_for_others(self, key: Hashable) -> None:
        """Until a batch of this key is full, or its oldest job has waited long enough."""
        oldest = self._jobs[key][0]
        until = oldest.arrived + self._wait
        while key in self._jobs and oldest.call is None and len(self._jobs[key]) < self._batch_size and not self._ending:
            left = until - time.monotonic()
            if left <= 0:
                return
            self._changed.wait(left)

    def _detect(self, jobs: list[_Job]) -> list[Row]:
        images = np.stack([job.image for job in jobs if job.image is not None])  # (B, H, W, C)
        sizes = np.array([job.size for job in jobs], np.int32)  # (B, 2)
        more = (1 << (len(jobs) - 1).bit_length()) - len(jobs)
        if more:
            images = np.concatenate([images, np.zeros((more, *images.shape[1:]), images.dtype)])
            sizes = np.concatenate([sizes, np.ones((more, 2), np.int32)])
        answer = self._predict({"images": images, "sizes": sizes}, len(jobs))
        return [Row(answer, row, (images.shape[1], images.shape[2]), self.config) for row in range(len(jobs))]

    def _predict(self, batch: dict[str, np.ndarray], num_images: int) -> PaddedDetections:
        start = time.monotonic()
        answer = PaddedDetections(*map(np.asarray, self._detector.predict_on_batch(batch)))
        seconds = time.monotonic() - start
        if batch["images"].shape in self._shapes:  # the first of a shape is slow where a backend compiles
            latest = seconds / max(num_images, 1)
            before = latest if self._seconds_an_image is None else self._seconds_an_image
            self._seconds_an_image = _MEMORY * before + (1 - _MEMORY) * latest
        self._shapes.add(batch["images"].shape)
        self._on_batch(num_images, seconds)
        return answer


class Turns:
    """A `Detector` whose every batch waits for its turn in the queue, for work that is cut up elsewhere: tiles, videos.

    Args:
        queue: before the model.
    """

    def __init__(self, queue: ModelQueue) -> None:
        self.config = queue.config
        self._queue, self._cancelled = queue, False

    def cancel(self) -> None:
        """The next batch raises `CancelledError` instead of being asked for: nobody waits for its answer."""
        self._cancelled = True

    def predict_on_batch(self, batch: dict[str, np.ndarray], /) -> PaddedDetections:
        if self._cancelled:
            raise CancelledError
        return self._queue.predict_on_batch(batch)
