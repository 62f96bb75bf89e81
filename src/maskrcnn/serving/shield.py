"""What stands before every route, as plain ASGI: headers, the token, the size of bodies, the log, and unforeseen errors."""

from __future__ import annotations

import hmac
import logging
import secrets
import time
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maskrcnn.serving.meters import Meters, say
from maskrcnn.serving.problems import CLIENT_GONE, ProblemError

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Shield:
    """Wraps an app.

    Args:
        app: what is behind.
        meters: counts every answer.
        max_bytes: of a request's body.
        token: what a request has to bring; nothing where None.
        open_paths: need no token: the health checks, and the page, which asks for it.
    """

    def __init__(self, app: ASGIApp, *, meters: Meters, max_bytes: int, token: str | None, open_paths: Collection[str]) -> None:
        self._app, self._meters, self._max_bytes = app, meters, max_bytes
        self._token = None if token is None else token.encode()
        self._open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, request_id, status = time.monotonic(), secrets.token_hex(8), 0

        async def send_shielded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers["X-Request-Id"] = request_id
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, self._bounded(receive), send_shielded)
        except ProblemError as problem:
            if not status:
                await problem.response()(scope, receive, send_shielded)
        except Exception:
            say("failed", logging.ERROR, exc_info=True, request=request_id, path=scope["path"])
            if not status:
                failure = ProblemError(500, f"The server failed; its log says why, under {request_id}.")
                await failure.response()(scope, receive, send_shielded)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._meters.requests.labels(route, str(status or CLIENT_GONE)).inc()
            seconds = round(time.monotonic() - start, 4)
            say("request", request=request_id, method=scope["method"], route=route, code=status or CLIENT_GONE, seconds=seconds)

    def _check(self, scope: Scope) -> None:
        """What can be refused before a byte of the body is read."""
        headers = Headers(scope=scope)
        if self._token is not None and scope["path"] not in self._open_paths and scope["method"] != "OPTIONS":
            given = headers.get("authorization", "")
            kind, _, token = given.partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._token):
                raise ProblemError(
                    401, "This server wants Authorization: Bearer TOKEN, its own token.", headers={"WWW-Authenticate": "Bearer"}
                )
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._max_bytes:
            raise self._too_large()

    def _bounded(self, receive: Receive) -> Receive:
        """Counts what comes, for a body may be longer than it says, or not say."""
        seen = 0

        async def receive_bounded() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_bytes:
                raise self._too_large()
            return message

        return receive_bounded

    def _too_large(self) -> ProblemError:
        return ProblemError(
            413, f"A request has up to {self._max_bytes / 2**20:g} MiB; this one has more.", headers={"Connection": "close"}
        )
