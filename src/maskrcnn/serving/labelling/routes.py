"""The routes of a project: /v1/project. All of them answer 409 where another person, or another tab, was faster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from enum import Enum
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Body, Query, Request
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from maskrcnn.annotations.formats import WRITERS
from maskrcnn.geometry.rle import rle_to_json
from maskrcnn.serving import problems
from maskrcnn.serving.answers import Answer
from maskrcnn.serving.detecting import IMAGE_BODY
from maskrcnn.serving.labelling import exports, ordering
from maskrcnn.serving.labelling.store import ConflictError, Store, StoredImage, StoredObject
from maskrcnn.serving.labelling.training import Trainer, verdict
from maskrcnn.serving.labelling.video_routes import add_videos
from maskrcnn.serving.labelling.videos import RleMask
from maskrcnn.serving.problems import ProblemError
from maskrcnn.serving.prompts import BOX_LIMIT, Segment, segmented
from maskrcnn.serving.reading import Upload, decode, suffix_of
from maskrcnn.serving.service import Service, Wishes, while_wanted

_LISTENING = 1.0  # seconds between two looks at a training
_ERRORS = (401, 404, 413, 422, 503, 504)
ExportFormat = Enum("ExportFormat", {name: name for name in WRITERS}, type=str)  # type: ignore[misc]  # made of the table
COCO = ExportFormat("coco")
Use = Callable[[str], None]  # of the model at a path
Number = Annotated[int, InPath(ge=1, le=2**53)]


class ProjectObject(BaseModel):
    """An object as a page sends it."""

    model_config = ConfigDict(extra="ignore")
    class_name: str = Field(alias="class", max_length=200)
    score: float | None = Field(default=None, ge=0, le=1)
    source: Literal["model", "person"] = "person"
    mask: RleMask


class Save(BaseModel):
    """All objects of an image, and the version that they were made from."""

    version: int = Field(ge=0)
    state: Literal["proposed", "corrected"] = "corrected"
    author: str = Field(default="", max_length=100)
    objects: list[ProjectObject] = Field(max_length=10_000)


class Boxes(BaseModel):
    """Where objects are: left, top, right, bottom in pixels."""

    boxes: list[tuple[float, float, float, float]] = Field(min_length=1, max_length=BOX_LIMIT)


class TrainOn(BaseModel):
    """How to train."""

    epochs: int = Field(default=10, ge=1, le=1000)


def make_router(
    service: Service,
    store: Store,
    trainer: Trainer,
    *,
    segment: Segment | None,
    use: Use | None,
) -> APIRouter:
    """The routes of a project.

    Args:
        service: the model and its queue.
        store: the project.
        trainer: trains on it.
        segment: answers masks for boxes; without it people draw by hand.
        use: opens a model, which answers from then on.
    """
    router = APIRouter(prefix="/v1/project", tags=["project"])
    _add_images(router, service, store)
    _add_objects(router, service, store, segment)
    _add_training(router, service, store, trainer, use)
    add_videos(router, service, store)

    @router.get("", summary="The project: its classes and images, and which to look at next")
    async def project() -> dict[str, Any]:
        return await asyncio.to_thread(_overview, store, segment is not None)

    @router.post("/classes", summary="A new class", responses=problems.responses(401, 422))
    async def add_class(name: Annotated[str, Body(embed=True, min_length=1, max_length=100)]) -> dict[str, list[str]]:
        await asyncio.to_thread(store.add_class, name)
        return {"classes": store.class_names()}

    @router.get(
        "/export",
        summary="All corrected images as a data set",
        response_class=Response,
        responses=problems.success("A file.", "application/json", "application/zip") | problems.responses(401, 409, 422),
    )
    async def export_data(
        form: Annotated[ExportFormat, Query(alias="format")] = COCO,
        images: Annotated[bool, Query(description="Whether the images go along.")] = False,
    ) -> Response:
        try:
            file = await asyncio.to_thread(exports.export, store, form.value, images=images)
        except ValueError as error:
            raise ProblemError(409, " ".join(str(error).split())) from None
        headers = {"Content-Disposition": f'attachment; filename="{file.name}"'}
        return Response(file.content, media_type=file.media_type, headers=headers)

    return router


def _add_images(router: APIRouter, service: Service, store: Store) -> None:
    @router.post(
        "/images",
        summary="Add images; the model proposes their objects",
        responses=problems.responses(*_ERRORS, 415),
        openapi_extra=IMAGE_BODY,
    )
    async def add(request: Request) -> dict[str, list[dict[str, Any]]]:
        with service.admission.enter() as place:
            async with asyncio.timeout(service.settings.timeout):
                uploads = await service.uploads(request, place)
                answers = await while_wanted(request, service.detect(uploads, Wishes(service.config.detect.score)))
                pairs = zip(uploads, answers, strict=True)
                return {"images": [await asyncio.to_thread(_add, store, upload, answer) for upload, answer in pairs]}

    @router.get("/images/{number}", summary="An image's objects and who saved them", responses=problems.responses(401, 404))
    async def one(number: Number, version: int | None = None) -> dict[str, Any]:
        image = await _find(store, number)
        objects = await asyncio.to_thread(store.objects, number, version)
        history = await asyncio.to_thread(store.history, number)
        return {"image": _shown(image), "objects": [_object(item, image) for item in objects], "history": history}

    @router.get(
        "/images/{number}/file", summary="The image itself", response_class=Response, responses=problems.responses(401, 404)
    )
    async def file(number: Number) -> Response:
        image = await _find(store, number)
        return Response(await asyncio.to_thread(store.path_of(image).read_bytes), media_type="application/octet-stream")


def _add_objects(router: APIRouter, service: Service, store: Store, segment: Segment | None) -> None:
    @router.put(
        "/images/{number}",
        summary="Save an image's objects as a new version",
        responses=problems.responses(401, 404, 409, 413, 422),
    )
    async def save(number: Number, asked: Save) -> dict[str, int]:
        image = await _find(store, number)
        known = store.class_names()
        for item in asked.objects:
            if item.class_name not in known:
                raise ProblemError(422, f"The project has no class {item.class_name[:80]!r}; add it first.")
            if item.mask.size != (image.height, image.width):
                raise ProblemError(
                    422, f"A mask has its image's size {[image.height, image.width]}; received {list(item.mask.size)}."
                )
        objects = [StoredObject(item.class_name, item.score, item.source, item.mask.counts) for item in asked.objects]
        try:
            version = await asyncio.to_thread(
                store.save, number, objects, based_on=asked.version, state=asked.state, author=asked.author
            )
        except ConflictError as conflict:
            raise ProblemError(409, str(conflict)) from None
        except ValueError as error:
            raise ProblemError(422, str(error)) from None
        return {"version": version}

    if segment is None:
        return

    @router.post("/images/{number}/segment", summary="Masks for boxes in an image", responses=problems.responses(*_ERRORS))
    async def masks(request: Request, number: Number, asked: Boxes) -> dict[str, Any]:
        image = await _find(store, number)
        with service.admission.enter():
            async with asyncio.timeout(service.settings.timeout):
                data = await asyncio.to_thread(store.path_of(image).read_bytes)
                pixels = await service.in_thread(
                    decode, Upload(image.name, data), service.config.image, service.settings.max_pixels
                )
                boxes = np.array(asked.boxes, np.float32)
                return await while_wanted(request, segmented(service, segment, pixels, boxes))


def _add_training(router: APIRouter, service: Service, store: Store, trainer: Trainer, use_model: Use | None) -> None:
    @router.post(
        "/training", summary="Train on what is corrected", status_code=202, responses=problems.responses(401, 409, 422)
    )
    async def start(asked: TrainOn) -> dict[str, int]:
        try:
            return {"run": await asyncio.to_thread(trainer.start, epochs=asked.epochs, known=service.config.class_names)}
        except ValueError as error:
            raise ProblemError(409, str(error)) from None

    @router.delete("/training", summary="End the training; the model in use stays", responses=problems.responses(401))
    async def cancel() -> dict[str, Any]:
        await asyncio.to_thread(trainer.cancel)
        return trainer.state()

    @router.get(
        "/training",
        summary="How the training goes, as server-sent events",
        response_class=StreamingResponse,
        responses=problems.success("Events.", "text/event-stream") | problems.responses(401),
    )
    async def watch() -> StreamingResponse:
        return StreamingResponse(
            _events(trainer, service), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    if use_model is None:
        return

    @router.post(
        "/runs/{number}/use",
        summary="Answer with the model of a run from now on, unless it is not better",
        responses=problems.responses(401, 404, 409, 422),
    )
    async def use(number: Number) -> dict[str, Any]:
        if not trainer.model_of(number).is_file():
            raise ProblemError(404, f"Run {number} has no model.")
        scores = await asyncio.to_thread(_scores_of, store, number)
        if verdict(scores) == "not better":
            raise ProblemError(409, f"The model of run {number} is not better on the held-out images; the one before is kept.")
        try:
            await asyncio.to_thread(use_model, str(trainer.model_of(number)))
        except (ValueError, OSError) as error:
            raise ProblemError(422, " ".join(str(error).split())) from None
        await asyncio.to_thread(store.set_run, number, used=True)
        return {"classes": service.config.class_names}


async def _events(trainer: Trainer, service: Service) -> AsyncIterator[bytes]:
    """The state, whenever it has changed, until the training or the server ends."""
    before = None
    while service.admission.is_open:
        state = await asyncio.to_thread(trainer.state)
        if state != before:
            yield f"data: {json.dumps(state, allow_nan=False)}\n\n".encode()
            before = state
        if state["stage"] not in ("training", "scoring"):
            return
        await asyncio.sleep(_LISTENING)


async def _find(store: Store, number: int) -> StoredImage:
    try:
        return await asyncio.to_thread(store.image, number)
    except KeyError:
        raise ProblemError(404, f"The project has no image {number}.") from None


def _add(store: Store, upload: Upload, answer: Answer) -> dict[str, Any]:
    """An image with the model's proposals as its first version; one that is there stays as it is."""
    suffix = suffix_of(upload.data) or ""
    features = ordering.features_of(answer.image)
    number, is_new = store.add_image(upload.name, upload.data, suffix, answer.detections.size, features)
    if is_new:
        found = answer.detections
        objects = [
            StoredObject(name, round(float(score), 4), "model", rle["counts"].decode("ascii"))
            for name, score, rle, area in zip(found.names, found.scores, found.rle(), found.areas(), strict=True)
            if area
        ]
        for item in {item.class_name for item in objects} - set(store.class_names()):
            store.add_class(item)
        store.save(number, objects, based_on=0, state="proposed", author="model")
    return _shown(store.image(number)) | {"new": is_new}


def _overview(store: Store, can_segment: bool) -> dict[str, Any]:
    images = store.images()
    waiting = [image for image in images if image.state == "proposed"]
    candidates = [ordering.Candidate(image.id, _scores(store, image), image.features) for image in waiting]
    next_ones = ordering.order(candidates, [image.features for image in images if image.state == "corrected"])
    return {
        "classes": store.class_names(),
        "images": [_shown(image) for image in images],
        "next": [{"id": suggestion.id, "why": suggestion.why} for suggestion in next_ones],
        "runs": [run | {"verdict": verdict(run["scores"])} for run in store.runs()],
        "formats": list(WRITERS),
        "can_segment": can_segment,
    }


def _scores_of(store: Store, run: int) -> dict[str, Any]:
    return next((each["scores"] for each in store.runs() if each["number"] == run), {})


def _scores(store: Store, image: StoredImage) -> Sequence[float]:
    return [item.score for item in store.objects(image.id) if item.score is not None]


def _shown(image: StoredImage) -> dict[str, Any]:
    content = image._asdict()
    del content["features"], content["file"]
    return content


def _object(item: StoredObject, image: StoredImage) -> dict[str, Any]:
    mask = rle_to_json({"size": [image.height, image.width], "counts": item.counts.encode("ascii")})
    return {"class": item.class_name, "score": item.score, "source": item.source, "mask": mask}
