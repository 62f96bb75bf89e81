"""Errors as clients read them: problem details for HTTP (RFC 9457), one sentence each, and never a stack trace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
CLIENT_GONE = 499  # nginx's number; HTTP has none
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "error": {"type": "string"},
    },
}


class ClientGoneError(Exception):
    """Nobody waits for the answer."""


class ProblemError(Exception):
    """Ends a request with an error.

    Args:
        status: of HTTP.
        detail: one sentence: what came, what was wanted, what to do.
        headers: that go with the answer.
    """

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})

    def response(self) -> Response:
        title = HTTPStatus(self.status).phrase
        body = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        body["error"] = self.detail  # where clients of the Open Inference Protocol look
        return Response(json.dumps(body), self.status, self.headers, MEDIA_TYPE)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, as OpenAPI lists them."""
    content = {MEDIA_TYPE: {"schema": SCHEMA}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def success(about: str, *media_types: str) -> dict[int | str, dict[str, Any]]:
    """What a route answers when all goes well, as OpenAPI lists it; anything may be in JSON."""
    content = {name: {"schema": {"type": "object"}} if name == "application/json" else {} for name in media_types}
    return {200: {"description": about, "content": content}}


def install(app: FastAPI) -> None:
    """Makes every error of an app a problem."""

    @app.exception_handler(ProblemError)
    async def on_problem(_: Request, problem: ProblemError) -> Response:
        return problem.response()

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_: Request, error: RequestValidationError) -> Response:
        return ProblemError(422, _first_of(error)).response()

    @app.exception_handler(HTTPException)
    async def on_http(_: Request, error: HTTPException) -> Response:
        detail = {404: "There is nothing at this address.", 405: "This address is asked with another method."}
        return ProblemError(
            error.status_code, detail.get(error.status_code, str(error.detail)), headers=error.headers
        ).response()

    @app.exception_handler(TimeoutError)
    async def on_timeout(_: Request, error: TimeoutError) -> Response:
        return ProblemError(504, "The answer took longer than this server's limit; send fewer or smaller images.").response()

    @app.exception_handler(MemoryError)
    async def on_memory(_: Request, error: MemoryError) -> Response:
        return ProblemError(413, " ".join(str(error).split()) or "The image is too large for this server's memory.").response()

    @app.exception_handler(ClientDisconnect)
    @app.exception_handler(ClientGoneError)
    async def on_gone(_: Request, error: Exception) -> Response:
        return Response(status_code=CLIENT_GONE)  # nobody reads it; the log does


def _first_of(error: RequestValidationError) -> str:
    """The first fault of a request as a sentence."""
    fault = error.errors()[0]
    where = " ".join(str(part) for part in fault["loc"])
    received = fault.get("input")
    shown = f"; received {received!r:.80}" if isinstance(received, (str, int, float)) else ""
    return f"{where}: {fault['msg']}{shown}."
