"""A server with a small detector. Without the extra `serve`, or its tests' client, these files are not collected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from small_server import BrightDetector

from maskrcnn.serving.settings import ServerSettings

if TYPE_CHECKING:
    from starlette.testclient import TestClient

collect_ignore_glob: list[str] = []
try:
    import fastapi  # noqa: F401
    import httpx2  # noqa: F401
    import prometheus_client  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError:
    collect_ignore_glob += ["test_*.py", "labelling/*"]


@pytest.fixture
def detector() -> BrightDetector:
    return BrightDetector()


@pytest.fixture
def settings() -> ServerSettings:
    return ServerSettings(timeout=10, grace=5)


@pytest.fixture
def client(detector: BrightDetector, settings: ServerSettings) -> Iterator[TestClient]:
    from starlette.testclient import TestClient

    from maskrcnn.serving.app import create_app

    with TestClient(create_app(detector, settings)) as client:
        yield client
