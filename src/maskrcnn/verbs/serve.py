"""Serve: a model over HTTP, for programs and for people."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from maskrcnn import engines, extras
from maskrcnn.engines.engine import Engine
from maskrcnn.serving.settings import ServerSettings
from maskrcnn.structures import Detections, Detector, PaddedDetections
from maskrcnn.verbs.benchmark import KERAS, engine_folder
from maskrcnn.verbs.engine_choice import has_choice, is_wanted, prepare_apart, remembered_export
from maskrcnn.weights.finding import file_here, published_model

if TYPE_CHECKING:
    from fastapi import FastAPI

AUTO = "auto"  # the engine that is the fastest here


def serve(
    model: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    engine: str = AUTO,
    settings: ServerSettings | None = None,
    log: Callable[[str], None] = print,
) -> None:
    """Answers requests until SIGTERM or Ctrl-C; running requests then have `settings.grace` seconds to end.

    Args:
        model: the folder of a run, a `.keras` file, a published name, or an exported model.
        engine: `"auto"`, `"keras"`, or that of an exported model, see `make_app`.
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
    path = _checked(model, engine)  # what is not there is told at once
    with running.listen(host, port) as listener:
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        log(f"{path} answers on {address} as soon as it is loaded; {address}/page/docs.html says what it takes.")
        if settings.token is None and not _is_loopback(host):
            log("Whoever reaches this address may ask, for there is no --token.")
        if workers > 1:
            running.run_workers(partial(_work_alone, path, settings, engine), listener, workers, settings.grace)
        else:
            _work(path, settings, engine, listener)


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"


def _checked(model: str | Path, engine: str) -> str | Path:
    """The model, by the path of its file where it has one here."""
    if engines.recognise(model) is not None or engine not in (AUTO, KERAS):
        engines.check(model, None if engine == AUTO else engine)
        return model
    file = file_here(model)
    return model if published_model(model) else file


class Exported:
    """A model's export, which answers, and the model itself, for what an export has no door for: masks for boxes.

    Args:
        export: on its engine.
        model: path or name of the model.
        network: the model, where it is loaded already; loaded when it is first asked for where None.
    """

    def __init__(self, export: Engine, model: str | Path, network: Detector | None = None) -> None:
        self.config, self.export = export.config, export
        self._model, self._network, self._lock = model, network, threading.Lock()

    def predict_on_batch(self, batch: dict[str, np.ndarray], /) -> PaddedDetections:
        return self.export.predict_on_batch(batch)

    @property
    def network(self) -> Detector:
        with self._lock:
            if self._network is None:
                self._network = _on_keras(self._model)
            return self._network


def open_detector(model: str | Path, engine: str = AUTO, *, with_boxes: bool = False) -> Detector:
    """A model that answers: an exported one on its engine, any other on Keras or on the export that is prepared for it.

    Args:
        model: as in `serve`.
        engine: as in `make_app`.
        with_boxes: masks for boxes will be asked for soon, so Keras is loaded along with an export.
    """
    if engines.recognise(model) is not None or engine not in (AUTO, KERAS):
        return engines.load(model, None if engine == AUTO else engine)
    export = remembered_export(engine_folder(file_here(model))) if engine == AUTO and has_choice() else None
    if export is None:
        return _on_keras(model)
    return Exported(engines.load(export), model, _on_keras(model) if with_boxes else None)


def make_app(model: str | Path, settings: ServerSettings | None = None, *, engine: str = AUTO) -> FastAPI:
    """The app that `serve` runs, for an ASGI server of your own. An exported model is served without Keras.

    Args:
        model: as in `serve`; where people have chosen a model that was trained in `settings.project`, that one answers.
        settings: of the server.
        engine: `"auto"`: an exported model on its engine; any other on the export that is prepared for it, where that is
            faster. Where none was prepared yet it answers at once on Keras, and one is prepared meanwhile, as
            `maskrcnn.verbs.engine_choice` has it. `"keras"`: nothing else. The name of an engine: that for which the model
            was exported.

    Raises:
        ImportError, FileNotFoundError, ValueError: as `serve`.
    """
    from maskrcnn.serving import app
    from maskrcnn.serving.labelling.training import model_in_use
    from maskrcnn.verbs.track import track_frames

    settings = settings or ServerSettings()
    if settings.project is not None:
        model = model_in_use(settings.project, model)
    opened = partial(open_detector, engine=engine, with_boxes=settings.project is not None)
    detector = opened(model)
    abilities = app.Abilities(track_frames, open_detector=opened, engine_of=_engine_of)
    if not isinstance(detector, Engine):  # an export has no door for boxes, and cannot be trained on
        prepare = _prepare if engine == AUTO and is_wanted() else None
        abilities = abilities._replace(segment=_segment, load_for_boxes=_network_of, model=str(model), prepare=prepare)
    return app.create_app(detector, settings, abilities)


def _on_keras(model: str | Path) -> Detector:
    from maskrcnn.api import load_model

    return load_model(model, compile=False)


def _engine_of(detector: Detector) -> str:
    return engines.name_of(detector.export if isinstance(detector, Exported) else detector) or KERAS


def _network_of(detector: Detector) -> Detector:
    return detector.network if isinstance(detector, Exported) else detector


def _segment(detector: Detector, image: np.ndarray, boxes: np.ndarray) -> Detections:
    network = _network_of(detector)
    from maskrcnn.inference.prompts import detect_in_boxes
    from maskrcnn.model.mask_rcnn import Network

    assert isinstance(network, Network)
    return detect_in_boxes(network, image, boxes)


def _prepare(model: str, detector: Detector, stop: threading.Event) -> Detector | None:
    """The export of a model that answers on Keras, where that is faster; see `maskrcnn.serving.switching.Prepare`."""
    if isinstance(detector, Exported):
        return None
    export = prepare_apart(model, engine_folder(file_here(model)), stop)
    return None if export is None else Exported(engines.load(export), model, detector)


def _work(model: str | Path, settings: ServerSettings, engine: str, listener: socket.socket) -> None:
    """One process's work, from loading the model to its end."""
    from maskrcnn.serving import running

    running.run(make_app(model, settings, engine=engine), listener)


def _work_alone(model: str | Path, settings: ServerSettings, engine: str, listener: socket.socket) -> None:
    """The same for a process that does nothing else."""
    from maskrcnn.serving.running import leave

    _work(model, settings, engine, listener)
    leave()
