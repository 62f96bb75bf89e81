"""What a server does not do: too much, too long, or anything that nobody waits for."""

from __future__ import annotations

import asyncio
import io
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from small_server import image_bytes
from starlette.testclient import TestClient

from maskrcnn.serving.admission import Admission
from maskrcnn.serving.app import create_app
from maskrcnn.serving.problems import ProblemError
from maskrcnn.serving.settings import ServerSettings


def problem(answer, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert "\n" not in body["detail"]
    assert "Traceback" not in answer.text
    return body["detail"]


def test_bodies_above_the_limit_are_refused_before_they_are_read(detector) -> None:
    with TestClient(create_app(detector, ServerSettings(max_bytes=1000))) as client:
        assert "up to 0.000953674 MiB" in problem(client.post("/v1/detect", content=bytes(1001)), 413)

        def chunks():
            for _ in range(20):
                yield bytes(100)

        problem(client.post("/v1/detect", content=chunks()), 413)  # of unknown length


def declared(width: int, height: int) -> bytes:
    """A PNG of few bytes that says it has so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def test_pixels_are_counted_before_they_are_decoded(detector) -> None:
    with TestClient(create_app(detector, ServerSettings(max_pixels=10_000))) as client:
        start = time.monotonic()
        assert "more than 178 million pixels" in problem(client.post("/v1/detect", content=declared(20_000, 20_000)), 413)
        assert time.monotonic() - start < 10  # to decode that many takes longer
        assert "200×100 pixels; this server takes 0.01 million" in problem(
            client.post("/v1/detect", content=declared(200, 100)), 413
        )


def test_too_many_files(detector) -> None:
    files = [("file", (f"{k}.png", image_bytes(), "image/png")) for k in range(4)]
    with TestClient(create_app(detector, ServerSettings(max_images=3))) as client:
        problem(client.post("/v1/detect", files=files), 413)
        assert client.post("/v1/detect", files=files[:3]).status_code == 200


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"hello", 415),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", 415),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        (image_bytes()[:60], 422),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), 422),
        (bytes(128) + b"DICM" + bytes(40), 422),
        (b"II*\0" + bytes(40), 422),
    ],
)
def test_what_is_no_image_is_told_in_a_sentence(client, content, status) -> None:
    detail = problem(client.post("/v1/detect", content=content), status)
    assert "/proc/" not in detail
    assert "/tmp" not in detail


def test_a_server_that_is_full_says_so_at_once_and_when_to_come_again(detector) -> None:
    detector.gate.clear()
    with TestClient(create_app(detector, ServerSettings(queue=2))) as client, ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(client.post, "/v1/detect", content=image_bytes()) for _ in range(2)]
        service = client.app.state.service
        deadline = time.monotonic() + 10
        while service.admission.taken < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        start = time.monotonic()
        full = client.post("/v1/detect", content=image_bytes())
        assert "2 images wait" in problem(full, 503)
        assert time.monotonic() - start < 5  # while the others wait for the model
        assert int(full.headers["Retry-After"]) >= 1
        assert client.get("/v2/health/live").status_code == 200
        detector.gate.set()
        assert [one.result(10).status_code for one in waiting] == [200, 200]
        assert client.post("/v1/detect", content=image_bytes()).status_code == 200
        assert service.admission.taken == 0


def test_who_would_wait_beyond_the_time_limit_is_sent_away_at_once() -> None:
    admission = Admission(10, lambda count: 2.0 * count, limit=10)
    places = [admission.enter() for _ in range(3)]
    with pytest.raises(ProblemError, match="too long for the time limit of 10 s; ask again in 6 s") as refused:
        admission.enter()
    assert refused.value.status == 503
    places[0].grow(1)  # only what others hold is in its way
    with places.pop(), places.pop():
        pass
    admission.enter()


def test_more_images_at_once_than_there_are_places_is_the_clients_fault(detector) -> None:
    files = [("file", (f"{k}.png", image_bytes(), "image/png")) for k in range(3)]
    with TestClient(create_app(detector, ServerSettings(queue=2))) as client:
        problem(client.post("/v1/detect", files=files), 413)
        assert client.app.state.service.admission.taken == 0


def test_an_answer_that_takes_too_long_is_given_up(detector) -> None:
    with TestClient(create_app(detector, ServerSettings(timeout=0.3))) as client:
        service = client.app.state.service
        while not service.ready:
            time.sleep(0.01)
        detector.gate.clear()
        assert "longer than this server's limit" in problem(client.post("/v1/detect", content=image_bytes()), 504)
        assert service.admission.taken == 0
        detector.gate.set()


async def ask(app, body: bytes, leave: asyncio.Event) -> list[dict]:
    """A request of plain ASGI by a client that goes away when `leave` is set."""
    sent: list[dict] = []
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict:
        if parts:
            return parts.pop()
        await leave.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http"}
    scope |= {"path": "/v1/detect", "raw_path": b"/v1/detect", "query_string": b"", "headers": [], "root_path": ""}
    await app(scope | {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000)}, receive, send)
    return sent


def test_a_client_that_goes_away_frees_its_place_and_is_never_looked_at(detector) -> None:
    app = create_app(detector, ServerSettings(wait_ms=0))
    service = app.state.service

    async def scenario() -> None:
        async with app.router.lifespan_context(app):
            while not service.ready:
                await asyncio.sleep(0.01)
            detector.gate.clear()
            leave, stay = asyncio.Event(), asyncio.Event()
            first = asyncio.create_task(ask(app, image_bytes(), stay))  # is with the model
            while service.admission.taken < 1 or len(service.queue):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            second = asyncio.create_task(ask(app, image_bytes(box=(1, 2, 3, 4)), leave))  # waits behind it
            while len(service.queue) < 1:
                await asyncio.sleep(0.01)
            leave.set()
            await asyncio.wait_for(second, 5)
            assert service.admission.taken == 1
            assert len(service.queue) == 0
            before = len(detector.batches)
            detector.gate.set()
            sent = await asyncio.wait_for(first, 5)
            assert sent[0]["status"] == 200
            assert len(detector.batches) == before + 1

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_no_file_touches_the_disk(client, monkeypatch) -> None:
    big = np.random.default_rng(0).integers(0, 255, (900, 900, 3)).astype(np.uint8)  # above the megabyte that is spooled
    file = io.BytesIO()
    Image.fromarray(big).save(file, "PNG")
    import tempfile

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file")

    for name in ("TemporaryFile", "NamedTemporaryFile", "mkstemp", "mkdtemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    answer = client.post("/v1/detect", files={"file": ("a.png", file.getvalue(), "image/png")})
    assert answer.status_code == 200, answer.text


def test_no_image_starts_a_program(client, tmp_path, monkeypatch) -> None:
    ran = tmp_path / "ran"
    for name in ("gs", "convert", "ffmpeg", "magick"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\ntouch {ran}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    for body in (eps, b"\x89PNG\r\n\x1a\n" + eps, b"\xff\xd8\xff" + eps):
        answer = client.post("/v1/detect", content=body, headers={"X-File-Name": "x.png"})
        assert answer.status_code in (415, 422)
    assert not ran.exists()


def test_a_name_leads_nowhere(client) -> None:
    for name in ("/etc/passwd", "..\\..\\boot.ini", "a/../../b.png", "\x00\x1b[31m.png"):
        image = client.post("/v1/detect", files={"file": (name, image_bytes(), "image/png")}).json()["images"][0]
        assert image["name"] in ("passwd", "boot.ini", "b.png", "%00[31m.png"), name


def test_places_are_given_back_whatever_happens(detector) -> None:
    bodies = [image_bytes(), b"", b"hello", image_bytes()[:50], declared(200_000, 1)]
    before = threading.active_count()  # other tests' own
    with TestClient(create_app(detector, ServerSettings(queue=4))) as client, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda k: client.post("/v1/detect", content=bodies[k % 5]), range(100)))
        assert len(answers) == 100
        assert {answer.status_code for answer in answers} <= {200, 413, 415, 422, 503}
        assert client.app.state.service.admission.taken == 0
    assert threading.active_count() < before + 25  # of 100 requests none keeps one
