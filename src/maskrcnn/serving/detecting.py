"""The package's own routes: images in, objects out; videos in, tracks out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from maskrcnn.geometry.rle import rle_to_json
from maskrcnn.serving import answers, problems
from maskrcnn.serving.admission import Place
from maskrcnn.serving.answers import Format, choose_format
from maskrcnn.serving.problems import ProblemError
from maskrcnn.serving.queue import Turns
from maskrcnn.serving.reading import in_memory
from maskrcnn.serving.service import LEAST_TILE, Service, Wishes, while_wanted
from maskrcnn.structures import Detections, Detector, VideoFrame

VIDEO_FORMATS = "MP4, MOV, Matroska, WebM or AVI"
_VIDEO_SIGNATURES = ((4, b"ftyp", ".mp4"), (0, b"\x1a\x45\xdf\xa3", ".mkv"), (8, b"AVI ", ".avi"))
_LINES_WAITING = 8  # of a video, until the client has read those before
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
IMAGE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}},
                }
            },
            "application/octet-stream": _BINARY,
        },
    }
}
_VIDEO_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": {"application/octet-stream": _BINARY}}}

Score = Annotated[
    Annotated[float, Field(ge=0, le=1)] | Literal["auto"] | None,
    Query(
        description="Least score; auto: of each class the best that the model holds; the server's own where it is not given.",
        openapi_examples={"a number": {"value": 0.5}},
    ),
]


TrackedFrame = tuple[VideoFrame, Detections]


class Track(Protocol):
    """Follows the objects of a video: `maskrcnn.verbs.track.track_frames`."""

    def __call__(
        self, model: Detector, source: Any, *, score: float | Literal["auto"], every: int
    ) -> Iterator[tuple[VideoFrame, Detections]]: ...


def make_router(service: Service, track: Track | None = None) -> APIRouter:
    """The routes under /v1.

    Args:
        service: the model and its queue.
        track: follows the objects of videos; without it there is no such route.
    """
    router = APIRouter(prefix="/v1", tags=["detect"])
    media_types = dict.fromkeys(writer.media_type for writer in answers.FORMATS.values())

    @router.post(
        "/detect",
        summary="Find the objects of one or several images",
        description="The body is an image file as it is, or a form with files. "
        + " ".join(f"`{name}`: {writer.about}." for name, writer in answers.FORMATS.items()),
        response_class=Response,
        responses=problems.success("What was found.", *media_types) | problems.responses(401, 406, 413, 415, 422, 503, 504),
        openapi_extra=IMAGE_BODY | _curl("/v1/detect?score=0.5", "--data-binary @cells.png -H 'Content-Type: image/png'"),
    )
    async def detect(
        request: Request,
        score: Score = None,
        classes: Annotated[list[str] | None, Query(description="Names of the classes that are wanted; all else.")] = None,
        max_detections: Annotated[int | None, Query(ge=1, description="So many at most, the best.")] = None,
        tile: Annotated[
            int | None,
            Query(ge=LEAST_TILE, le=1 << 16, description="Side of tiles in pixels, for images far larger than the objects."),
        ] = None,
        form: Annotated[Format | None, Query(alias="format", description="By the Accept header where it is not given.")] = None,
    ) -> Response:
        chosen = choose_format(form, request.headers.get("accept", ""))
        wishes = Wishes(service.least_score(score), tuple(classes or ()), max_detections, tile)
        with service.admission.enter() as place:
            async with asyncio.timeout(service.settings.timeout):
                uploads = await service.uploads(request, place)
                found = await while_wanted(request, service.detect(uploads, wishes))
                with service.meters.stage("answer"):
                    body, media_type = await service.in_thread(answers.write, chosen, found, service.categories)
        return Response(body, media_type=media_type)

    @router.get("/model", summary="The model: its classes and what it takes")
    async def model() -> dict[str, Any]:
        config = service.config
        best = [{"best_score": score} for score in config.detect.best_scores] or [{}] * len(config.categories)
        classes = [
            {"id": category.id, "name": category.name, **of_class} for category, of_class in zip(config.categories, best)
        ]
        limits = {name: getattr(service.settings, name) for name in ("max_bytes", "max_pixels", "max_images")}
        return {
            "name": service.settings.model_name,
            "engine": service.engine,
            "classes": classes,
            "channels": config.image.channels,
            "least_score": config.detect.score,
            "score": service.least_score(None),
            "limits": limits,
            "project": service.settings.project is not None,
        }

    if track is not None:
        _add_track(router, service, track)
    return router


def _add_track(router: APIRouter, service: Service, track: Track) -> None:
    @router.post(
        "/track",
        summary="Follow the objects of a video",
        description=f"The body is a video, {VIDEO_FORMATS}. The answer comes while it is looked at: a line of JSON a frame.",
        response_class=StreamingResponse,
        responses=problems.success("Lines of JSON.", "application/x-ndjson") | problems.responses(401, 413, 415, 422, 503, 504),
        openapi_extra=_VIDEO_BODY | _curl("/v1/track", "--no-buffer --data-binary @cells.mp4 -H 'Content-Type: video/mp4'"),
    )
    async def follow(
        request: Request,
        score: Score = None,
        every: Annotated[int, Query(ge=1, le=1000, description="Only each N-th frame is looked at.")] = 1,
    ) -> StreamingResponse:
        least = service.least_score(score)
        place = service.admission.enter()
        try:
            async with asyncio.timeout(service.settings.timeout):
                data = await request.body()
            suffix = next((end for start, mark, end in _VIDEO_SIGNATURES if data[start : start + len(mark)] == mark), None)
            if suffix is None:
                raise ProblemError(415, f"A video is {VIDEO_FORMATS}; received {len(data)} bytes of something else.")
        except BaseException:
            place.__exit__(None, None, None)
            raise

        def frames(turns: Turns) -> Iterator[dict[str, Any]]:
            with in_memory(data, suffix) as path:
                yield from _lines(lambda: track(turns, path, score=least, every=every), service, path)

        async def body() -> AsyncIterator[bytes]:
            async for line in _streamed(frames, Turns(service.queue)):
                yield json.dumps(line, allow_nan=False).encode() + b"\n"

        return _Held(body(), media_type="application/x-ndjson", place=place)


class _Held(StreamingResponse):
    """Gives its place back when the last line is sent, or the client has gone."""

    def __init__(self, body: AsyncIterator[bytes], *, media_type: str, place: Place) -> None:
        super().__init__(body, media_type=media_type)
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._place:
            await super().__call__(scope, receive, send)


def _lines(
    follow: Callable[[], Iterator[tuple[VideoFrame, Detections]]], service: Service, path: Path
) -> Iterator[dict[str, Any]]:
    """What a video's frames hold; the last line says what ended it too early."""
    try:
        for count, (frame, detections) in enumerate(follow(), start=1):
            height, width = detections.size
            if height * width > service.settings.max_pixels or count > service.settings.max_frames:
                raise ValueError(
                    f"this server takes {service.settings.max_frames} frames of a video at most, and no larger ones"
                )
            ids = [] if detections.track_ids is None else detections.track_ids.tolist()
            yield {
                "frame": frame.number,
                "time": round(frame.time, 4),
                "height": height,
                "width": width,
                "objects": [
                    {
                        "id": ids[k],
                        "class": detections.class_names[detections.labels[k]],
                        "score": round(float(detections.scores[k]), 4),
                        "box": [round(value, 2) for value in detections.boxes[k].tolist()],
                        "mask": rle_to_json(rle),
                    }
                    for k, rle in enumerate(detections.rle())
                ],
            }
    except (ValueError, ImportError, MemoryError, ProblemError) as error:
        yield {"error": " ".join(str(error).replace(str(path), "the video").split())}


async def _streamed(frames: Any, turns: Turns) -> AsyncIterator[dict[str, Any]]:
    """What a thread makes, while it is made. Where the reader stops, the thread ends at its next frame."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(_LINES_WAITING)

    def run() -> None:
        try:
            with suppress(CancelledError):
                for line in frames(turns):
                    asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()
        finally:
            asyncio.run_coroutine_threadsafe(lines.put(None), loop).result()

    thread = asyncio.ensure_future(asyncio.to_thread(run))
    try:
        while (line := await lines.get()) is not None:
            yield line
        await thread
    finally:
        turns.cancel()
        while not thread.done():  # it may wait for room
            if not lines.empty():
                lines.get_nowait()
            await asyncio.sleep(0.01)


def _curl(address: str, options: str) -> dict[str, Any]:
    """A command that works as it stands, for the documentation."""
    source = f"curl {options} 'http://127.0.0.1:8000{address}'"
    return {"x-codeSamples": [{"lang": "Shell", "label": "curl", "source": source}]}
