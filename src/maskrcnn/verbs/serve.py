"""Serve: a model over HTTP, for programs and for people."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from maskrcnn import engines, extras
from maskrcnn.serving.settings import ServerSettings
from maskrcnn.structures import Detections, Detector
from maskrcnn.weights.finding import model_file

if TYPE_CHECKING:
    from fastapi import FastAPI


def serve(
    model: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    settings: ServerSettings | None = None,
    log: Callable[[str], None] = print,
) -> None:
    """Answers requests until SIGTERM or Ctrl-C; running requests then have `settings.grace` seconds to end.

    Args:
        model: the folder of a run, a `.keras` file, a published name, or an exported model.
        host: address to listen on; the loopback, which only this machine reaches, where not given.
        port: 0 takes any free one.
        workers: processes, each with a model of its own.
        settings: every other number of the server.
        log: told where the server is.

    Raises:
        ImportError: the extra `serve` is not installed.
        FileNotFoundError, ValueError: no such model.
        OSError: the port is in use.
    """
    extras.load("fastapi", extra="serve", why="A server needs FastAPI and uvicorn")
    from maskrcnn.serving import running

    settings = settings or ServerSettings()
    path = model_file(model) if engines.recognise(model) is None else model  # what is not there is told at once
    with running.listen(host, port) as listener:
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        log(f"{path} answers on {address} as soon as it is loaded; {address}/page/docs.html says what it takes.")
        if settings.token is None and not _is_loopback(host):
            log("Whoever reaches this address may ask, for there is no --token.")
        if workers > 1:
            running.run_workers(partial(_work, path, settings), listener, workers, settings.grace)
        else:
            _work(path, settings, listener)


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"


def open_detector(model: str | Path) -> Detector:
    """A model that answers: an exported one on its engine, any other on Keras."""
    if engines.recognise(model) is not None:
        return engines.load(model)
    from maskrcnn.api import load_model

    return load_model(model, compile=False)


def make_app(model: str | Path, settings: ServerSettings | None = None) -> FastAPI:
    """The app that `serve` runs, for an ASGI server of your own. An exported model is served without Keras.

    Args:
        model: as in `serve`; where people have chosen a model that was trained in `settings.project`, that one answers.
        settings: of the server.

    Raises:
        ImportError, FileNotFoundError, ValueError: as `serve`.
    """
    from maskrcnn.serving import app
    from maskrcnn.serving.labelling.training import model_in_use
    from maskrcnn.verbs.track import track_frames

    settings = settings or ServerSettings()
    if settings.project is not None:
        model = model_in_use(settings.project, model)
    detector = open_detector(model)
    if engines.recognise(model) is not None:  # an export has no door for boxes, and cannot be trained on
        return app.create_app(detector, settings, app.Abilities(track_frames, open_detector=open_detector))
    from maskrcnn.inference.prompts import detect_in_boxes
    from maskrcnn.model.mask_rcnn import Network

    def segment(detector: Detector, image: np.ndarray, boxes: np.ndarray) -> Detections:
        assert isinstance(detector, Network)
        return detect_in_boxes(detector, image, boxes)

    return app.create_app(detector, settings, app.Abilities(track_frames, segment, open_detector, str(model)))


def _work(model: str | Path, settings: ServerSettings, listener: socket.socket) -> None:
    """One process's work, from loading the model to its end."""
    from maskrcnn.serving import running

    running.run(make_app(model, settings), listener)
