"""Which model answers: one that a person chose, and in its place the same on a faster engine as soon as that is prepared."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import numpy as np

from maskrcnn.serving.meters import say
from maskrcnn.serving.problems import ProblemError
from maskrcnn.serving.service import Service
from maskrcnn.structures import Detector

_END = 20  # seconds that a preparation has to end


class Prepare(Protocol):
    """Prepares what gives a model's answers faster."""

    def __call__(self, model: str, detector: Detector, stop: threading.Event) -> Detector | None:
        """May take minutes.

        Args:
            model: path or name of the model.
            detector: the model, which answers meanwhile.
            stop: set when nobody needs it any more.

        Returns:
            The faster one; None where there is none, or `stop` was set.

        Raises:
            OSError, ValueError, ImportError, RuntimeError: it went wrong.
        """


class Switch:
    """Lets models answer.

    Args:
        service: the server.
        open_detector: opens a model.
        prepare: prepares a faster one in its place; none where None.
    """

    def __init__(self, service: Service, open_detector: Callable[[str], Detector], prepare: Prepare | None) -> None:
        self._service, self._open, self._prepare = service, open_detector, prepare
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()  # two people may choose at once

    def use(self, model: str) -> None:
        """Opens a model, which answers from then on. For a thread of its own: it takes seconds.

        Raises:
            OSError, ValueError: it cannot be opened; the one before goes on answering.
        """
        with self._lock:
            detector = self._open(model)
            self._service.replace(detector)
            self.prepare(model, detector)

    def prepare(self, model: str, detector: Detector) -> None:
        """Begins to prepare what answers faster than the model that answers now. What was begun for another one ends.

        Args:
            model: its path or name.
            detector: itself.
        """
        self.close()
        if self._prepare is None:
            return
        self._stop = threading.Event()
        work = (model, detector, self._stop, self._prepare)
        self._thread = threading.Thread(target=self._work, args=work, name="preparing", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends a preparation."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_END)

    def _work(self, model: str, detector: Detector, stop: threading.Event, prepare: Prepare) -> None:
        try:
            faster = prepare(model, detector, stop)
            if faster is None and not stop.is_set():
                say("no other engine is faster", engine=self._service.engine)
            if faster is None or stop.is_set():
                return
            image, size = self._service.empty_image()  # engines, too, are slow at their first one
            faster.predict_on_batch({"images": image[None], "sizes": np.array([size], np.int32)})
            self._service.replace(faster, instead_of=detector)
        except (OSError, ValueError, ImportError, RuntimeError, ProblemError) as error:  # the last at the server's end
            if not stop.is_set():
                say("no engine was prepared", error=" ".join(str(error).split()))
