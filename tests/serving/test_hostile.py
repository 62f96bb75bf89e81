"""Two thousand uploads that are damaged on purpose: none makes the server fail, none makes it grow."""

from __future__ import annotations

from collections import Counter

import numpy as np
import psutil
import pytest
from hostile_uploads import damaged, seeds
from small_server import BrightDetector
from starlette.testclient import TestClient

from maskrcnn.serving.app import create_app
from maskrcnn.serving.settings import ServerSettings

pytestmark = pytest.mark.slow
UPLOADS = 2000
GROWTH = 200e6  # bytes; the decoders' own caches are in it


def test_nothing_fails_and_nothing_grows() -> None:
    rng, codes, files = np.random.default_rng(1), Counter[int](), seeds()
    with TestClient(create_app(BrightDetector(), ServerSettings(timeout=30, max_pixels=4_000_000))) as client:
        for data in files:  # all sound files are read, and the decoders are loaded
            assert client.post("/v1/detect", content=data).status_code == 200
        for number in range(200):
            client.post("/v1/detect", content=damaged(files[number % len(files)], rng))
        before = psutil.Process().memory_info().rss
        for number in range(UPLOADS):
            answer = client.post("/v1/detect", content=damaged(files[number % len(files)], rng))
            codes[answer.status_code] += 1
            assert answer.status_code in (200, 413, 415, 422), answer.text
        assert client.app.state.service.admission.taken == 0
        assert psutil.Process().memory_info().rss - before < GROWTH
    assert sum(codes.values()) == UPLOADS
    assert codes[422] > UPLOADS / 10
    assert codes[200] > UPLOADS / 20
