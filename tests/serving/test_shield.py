from __future__ import annotations

import json
import logging

import pytest
from small_server import BrightDetector, image_bytes
from starlette.testclient import TestClient

from maskrcnn.serving.app import create_app
from maskrcnn.serving.meters import write_log_lines
from maskrcnn.serving.settings import ServerSettings

TOKEN = "a-token-that-is-long"


@pytest.fixture
def guarded(detector: BrightDetector):
    with TestClient(create_app(detector, ServerSettings(token=TOKEN))) as client:
        yield client


def test_without_the_token_nothing_but_health_and_the_page_answers(guarded) -> None:
    for path in ("/v1/model", "/metrics", "/v2", "/v2/models/maskrcnn"):
        answer = guarded.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert guarded.post("/v1/detect", content=image_bytes()).status_code == 401
    for path in ("/health", "/v2/health/live", "/v2/health/ready", "/"):
        assert guarded.get(path).status_code in (200, 503), path


@pytest.mark.parametrize("given", ["Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer ", "Bearer \xff"])
def test_another_token_is_none(guarded, given) -> None:
    assert guarded.get("/v1/model", headers={"Authorization": given.encode("latin1")}).status_code == 401


def test_the_token_opens(guarded) -> None:
    assert guarded.get("/v1/model", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_a_token_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 characters"):
        ServerSettings(token="secret")


def test_every_answer_has_the_security_headers(client) -> None:
    for answer in (client.get("/"), client.get("/nothing"), client.post("/v1/detect", content=b"x")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert len(answer.headers["X-Request-Id"]) == 16


def test_other_web_pages_may_not_ask_unless_they_are_named(client, detector) -> None:
    asked = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in client.options("/v1/detect", headers=asked).headers
    with TestClient(create_app(detector, ServerSettings(origins=("https://example.org",), token=TOKEN))) as named:
        assert named.options("/v1/detect", headers=asked).headers["access-control-allow-origin"] == "https://example.org"
        other = named.options("/v1/detect", headers=asked | {"Origin": "https://example.com"})
        assert "access-control-allow-origin" not in other.headers


def test_what_goes_wrong_inside_is_in_the_log_and_not_in_the_answer(client, detector, caplog) -> None:
    detector.predict_on_batch = lambda batch: 1 / 0
    logging.getLogger("maskrcnn.serving").propagate = True
    with caplog.at_level("ERROR", "maskrcnn.serving"):
        answer = client.post("/v1/detect", content=image_bytes())
    assert answer.status_code == 500
    assert "ZeroDivision" not in answer.text
    assert answer.headers["X-Request-Id"] in answer.json()["detail"]
    (record,) = [record for record in caplog.records if record.getMessage() == "failed"]
    assert record.exc_info[0] is ZeroDivisionError


def test_log_lines_are_json(client, capsys) -> None:
    write_log_lines()
    client.post("/v1/detect", content=image_bytes())
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["method"], line["route"], line["code"]) == ("POST", "/v1/detect", 200)
    assert line["seconds"] > 0


def test_counters(client) -> None:
    for _ in range(3):
        client.post("/v1/detect", content=image_bytes())
    client.post("/v1/detect", content=b"hello")
    text = client.get("/metrics").text
    assert 'maskrcnn_requests_total{code="200",route="/v1/detect"} 3.0' in text
    assert 'maskrcnn_requests_total{code="415",route="/v1/detect"} 1.0' in text
    assert 'maskrcnn_stage_seconds_count{stage="model"}' in text
    assert 'maskrcnn_model_info{classes="2",engine="keras",model="maskrcnn"} 1.0' in text
    assert "maskrcnn_images_total 3.0" in text
