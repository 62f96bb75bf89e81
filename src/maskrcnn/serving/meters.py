"""What a server counts and times (Prometheus), and its log: a line of JSON for each event."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

MEDIA_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_IMAGES = (1, 2, 4, 8, 16, 32)

log = logging.getLogger("maskrcnn.serving")


class Meters:
    """The counters of one server; each has a registry of its own, so that several live in one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "maskrcnn_requests_total", "Requests that were answered.", ["route", "code"], registry=self._registry
        )
        self.images = Counter("maskrcnn_images_total", "Images that were answered.", registry=self._registry)
        self._batches = Histogram(
            "maskrcnn_batch_images", "Images that went through the model together.", buckets=_IMAGES, registry=self._registry
        )
        self._seconds = Histogram(
            "maskrcnn_stage_seconds", "Seconds by stage of the work.", ["stage"], buckets=_SECONDS, registry=self._registry
        )
        self._model = Gauge(
            "maskrcnn_model_info", "The model that answers; always 1.", ["model", "classes", "engine"], registry=self._registry
        )

    def show_model(self, name: str, num_classes: int, engine: str) -> None:
        """The model that answers from now on."""
        self._model.clear()
        self._model.labels(name, str(num_classes), engine).set(1)

    def watch(self, name: str, about: str, value: Callable[[], float]) -> None:
        """A number that is asked for whenever the counters are."""
        Gauge(name, about, registry=self._registry).set_function(value)

    def count_batch(self, num_images: int, seconds: float) -> None:
        self._batches.observe(num_images)
        self._seconds.labels("model").observe(seconds)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times what is done inside."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._seconds.labels(name).observe(time.monotonic() - start)

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Lines(logging.Formatter):
    """Each record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def say(event: str, level: int = logging.INFO, *, exc_info: bool = False, **fields: Any) -> None:
    """A line in the log."""
    log.log(level, event, extra={"fields": fields}, exc_info=exc_info)


def write_log_lines() -> None:
    """Sends the server's log, and uvicorn's complaints, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    for name, level in (("maskrcnn.serving", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
