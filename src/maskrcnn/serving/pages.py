"""The page for people: a few files that come with the package, held in memory and found by their exact names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import Response

_MEDIA_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FILES = {
    "/" if path.name == "index.html" else f"/page/{path.name}": (path.read_bytes(), path.name.rsplit(".", 1)[1])
    for path in files("maskrcnn.serving").joinpath("page").iterdir()
    if path.name.rsplit(".", 1)[-1] in _MEDIA_TYPES
}
PATHS = tuple(_FILES)


def make_router() -> APIRouter:
    """A route for each file."""
    router = APIRouter(include_in_schema=False)
    for path, (content, suffix) in _FILES.items():
        router.add_api_route(path, _answer(content, _MEDIA_TYPES[suffix]), methods=["GET"])
    return router


def _answer(content: bytes, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def answer() -> Response:
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

    return answer
