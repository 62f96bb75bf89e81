"""The app: which route does what. FastAPI's, so that its OpenAPI page describes what is here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from maskrcnn.serving import detecting, label_studio, meters, open_inference, pages, problems, prompts, viewing
from maskrcnn.serving.detecting import Track
from maskrcnn.serving.labelling import routes as labelling
from maskrcnn.serving.labelling.store import Store
from maskrcnn.serving.labelling.training import Trainer
from maskrcnn.serving.prompts import Segment
from maskrcnn.serving.service import Service
from maskrcnn.serving.settings import ServerSettings
from maskrcnn.serving.shield import Shield
from maskrcnn.serving.switching import Prepare, Switch
from maskrcnn.structures import Detector

_OPEN_PATHS = ("/health", "/v2/health/live", "/v2/health/ready")
_ABOUT = "Find every object of an image, with its class, its box and its mask. Errors are problem details (RFC 9457)."


class Abilities(NamedTuple):
    """What a server can do besides detecting, where it is given.

    Attributes:
        track: follows the objects of videos: `maskrcnn.verbs.track.track_frames`.
        segment: answers masks for boxes: `maskrcnn.inference.prompts.detect_in_boxes`.
        open_detector: opens the model that a training wrote.
        model: path or name of the model, from which a training starts; empty where none can.
        prepare: prepares a faster engine for `model`, and for those that a training wrote.
        engine_of: names what a model runs on.
        load_for_boxes: loads what a model needs for `segment`, in a thread of its own.
    """

    track: Track | None = None
    segment: Segment | None = None
    open_detector: Callable[[str], Detector] | None = None
    model: str = ""
    prepare: Prepare | None = None
    engine_of: Callable[[Detector], str] = lambda _: "keras"
    load_for_boxes: Callable[[Detector], object] = lambda _: None


def create_app(detector: Detector, settings: ServerSettings | None = None, abilities: Abilities | None = None) -> FastAPI:
    """A server for a model, as an ASGI app.

    Args:
        detector: a `MaskRCNN`, or an exported model on its engine.
        settings: of the server.
        abilities: what it can do besides detecting.

    Example:
        uvicorn.run(create_app(maskrcnn.load_model("nuclei")), host="127.0.0.1", port=8000)
    """
    settings, abilities = settings or ServerSettings(), abilities or Abilities()
    service = Service(detector, settings, abilities.engine_of, abilities.load_for_boxes)
    switch = None
    if abilities.open_detector is not None:
        switch = Switch(service, abilities.open_detector, abilities.prepare)
    project = None if settings.project is None else _Project(service, settings.project, abilities, switch)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        if switch is not None and abilities.model:
            switch.prepare(abilities.model, detector)
        yield
        if switch is not None:
            await asyncio.to_thread(switch.close)
        if project is not None:
            await project.close()
        meters.say("stopped", ended=await service.stop())

    app = FastAPI(
        title="maskrcnn", version=version("maskrcnn"), description=_ABOUT, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.service = service
    problems.install(app)
    routers = [detecting.make_router(service, abilities.track), viewing.make_router(service)]
    if abilities.segment is not None:
        routers.append(prompts.make_router(service, abilities.segment))
    if project is not None:
        routers.append(project.router)
    routers += [open_inference.make_router(service), label_studio.make_router(service), pages.make_router()]
    for router in routers:
        app.include_router(router)

    @app.get("/metrics", summary="Counters, for Prometheus", response_class=Response, tags=["server"])
    async def metrics() -> Response:
        return Response(service.meters.text(), media_type=meters.MEDIA_TYPE)

    shield: dict[str, Any] = {"meters": service.meters, "max_bytes": settings.max_bytes, "token": settings.token}
    app.add_middleware(Shield, open_paths=(*_OPEN_PATHS, "/openapi.json", *pages.PATHS), **shield)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["Retry-After"],
        )
    return app


class _Project:
    """What people correct: its database, its trainer and its routes."""

    def __init__(self, service: Service, folder: Path, abilities: Abilities, switch: Switch | None) -> None:
        self._store = Store(folder, service.config.class_names)
        self._trainer = Trainer(self._store, abilities.model)
        use = None if switch is None else switch.use
        self.router = labelling.make_router(service, self._store, self._trainer, segment=abilities.segment, use=use)

    async def close(self) -> None:
        await asyncio.to_thread(self._trainer.cancel)
        self._store.close()
