"""A server with a small detector."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from small_server import BrightDetector

pytest.importorskip("fastapi", reason='needs the extra "serve"')
pytest.importorskip("httpx2", reason="needs httpx2, which the extra dev brings")

from starlette.testclient import TestClient

from maskrcnn.serving.app import create_app
from maskrcnn.serving.settings import ServerSettings


@pytest.fixture
def detector() -> BrightDetector:
    return BrightDetector()


@pytest.fixture
def settings() -> ServerSettings:
    return ServerSettings(timeout=10, grace=5)


@pytest.fixture
def client(detector: BrightDetector, settings: ServerSettings) -> Iterator[TestClient]:
    with TestClient(create_app(detector, settings)) as client:
        yield client
