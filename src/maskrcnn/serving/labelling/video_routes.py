"""The routes of a project's videos: /v1/project/videos."""

from __future__ import annotations

import asyncio
import json
import tempfile
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from pydantic import BaseModel, Field
from starlette.responses import Response

from maskrcnn.serving import problems
from maskrcnn.serving.labelling import videos
from maskrcnn.serving.labelling.exports import zipped
from maskrcnn.serving.labelling.store import ConflictError, Store
from maskrcnn.serving.problems import ProblemError
from maskrcnn.serving.service import Service
from maskrcnn.serving.uploads import file_name

LINES = "jsonl"
MEDIA_TYPE = "application/x-ndjson"
TrackFormat = Enum("TrackFormat", {name: name for name in (LINES, *videos.FORMATS)}, type=str)  # type: ignore[misc]
AS_LINES = TrackFormat(LINES)
Number = Annotated[int, InPath(ge=1, le=2**53)]
_BODY = {"requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}}


class Identity(BaseModel):
    """A correction: from a frame on, the object with an identity has another one."""

    version: int = Field(ge=0, description="How many corrections the person saw.")
    frame: int = Field(ge=0, le=2**53)
    identity: int = Field(ge=1, le=videos.LARGEST_ID)
    other: int = Field(ge=1, le=videos.LARGEST_ID, description="Where it is taken, the two change places.")
    author: str = Field(default="", max_length=100)


def add_videos(router: APIRouter, service: Service, store: Store) -> None:
    """Adds the routes to those of a project."""

    @router.post(
        "/videos",
        summary="Keep a video's tracks; the body is what /v1/track answered",
        responses=problems.responses(401, 413, 422),
        openapi_extra=_BODY,
    )
    async def add(request: Request, name: Annotated[str, Query(max_length=1000)] = "video") -> dict[str, Any]:
        data, limits = await request.body(), service.settings
        bounds = {"max_frames": limits.max_frames, "max_pixels": limits.max_pixels}
        try:
            lines = await asyncio.to_thread(videos.parse_tracks, data, store.class_names(), **bounds)
        except ValueError as error:
            raise ProblemError(422, " ".join(str(error).split())) from None
        video, is_new = await asyncio.to_thread(videos.add_video, store, file_name(name), lines)
        return _shown(video) | {"new": is_new, "changes": await asyncio.to_thread(videos.changes, store, video.id)}

    @router.get("/videos", summary="The project's videos", responses=problems.responses(401))
    async def every() -> dict[str, list[dict[str, Any]]]:
        return {"videos": [_shown(video) for video in await asyncio.to_thread(videos.videos, store)]}

    @router.get("/videos/{number}", summary="Who corrected which identity", responses=problems.responses(401, 404))
    async def one(number: Number) -> dict[str, Any]:
        video = await _find(store, number)
        return _shown(video) | {"changes": await asyncio.to_thread(videos.changes, store, number)}

    @router.post("/videos/{number}/identities", summary="Correct an identity", responses=problems.responses(401, 404, 409, 422))
    async def correct(number: Number, asked: Identity) -> dict[str, int]:
        await _find(store, number)
        if asked.identity == asked.other:
            raise ProblemError(422, f"Another identity is wanted than {asked.identity}.")
        change = videos.IdentityChange(asked.frame, asked.identity, asked.other)
        try:
            version = await asyncio.to_thread(
                videos.change_identity, store, number, change, based_on=asked.version, author=asked.author
            )
        except ConflictError as conflict:
            raise ProblemError(409, str(conflict)) from None
        return {"version": version}

    @router.get(
        "/videos/{number}/tracks",
        summary="The tracks with the identities that people gave",
        response_class=Response,
        responses=problems.success("A file.", MEDIA_TYPE, "application/zip") | problems.responses(401, 404, 422),
    )
    async def tracks(number: Number, form: Annotated[TrackFormat, Query(alias="format")] = AS_LINES) -> Response:
        video = await _find(store, number)
        content = await asyncio.to_thread(_export, store, number, form.value)
        media_type, suffix = (MEDIA_TYPE, LINES) if form.value == LINES else ("application/zip", f"{form.value}.zip")
        headers = {"Content-Disposition": f'attachment; filename="video{video.id}.{suffix}"'}
        return Response(content, media_type=media_type, headers=headers)


async def _find(store: Store, number: int) -> videos.StoredVideo:
    try:
        return await asyncio.to_thread(videos.video, store, number)
    except KeyError:
        raise ProblemError(404, f"The project has no video {number}.") from None


def _shown(video: videos.StoredVideo) -> dict[str, Any]:
    content = video._asdict()
    del content["file"]
    return content


def _export(store: Store, number: int, form: str) -> bytes:
    if form == LINES:
        return "".join(f"{json.dumps(frame)}\n" for frame in videos.corrected(store, number)).encode()
    with tempfile.TemporaryDirectory(prefix="maskrcnn-") as folder:
        out = Path(folder) / "tracks"
        videos.write_tracks(store, number, form, out)
        return zipped(out)
