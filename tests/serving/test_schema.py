"""The OpenAPI document: its examples work, and the server keeps to it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from small_server import BrightDetector, image_bytes, live

from maskrcnn.serving.app import create_app
from maskrcnn.serving.settings import ServerSettings


def test_every_example_works_as_it_stands(client) -> None:
    schema = client.get("/openapi.json").json()
    tried = 0
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            for example in [content[key] for key in ("example",) if key in content] + content.get("schema", {}).get(
                "examples", []
            ):
                answer = client.request(method, path.replace("{model}", "maskrcnn"), json=example)
                assert answer.status_code == 200, (path, answer.text)
                tried += 1
    assert tried == 3  # infer, setup and predict


def test_every_command_works_as_it_stands(client) -> None:
    schema = client.get("/openapi.json").json()
    samples = [
        sample["source"]
        for operations in schema["paths"].values()
        for operation in operations.values()
        for sample in operation.get("x-codeSamples", [])
    ]
    assert len(samples) == 1
    for sample in samples:
        words = shlex.split(sample)
        assert words[:2] == ["curl", "--data-binary"]
        assert words[2].startswith("@")
        path = words[-1].removeprefix("http://127.0.0.1:8000")
        name, value = words[words.index("-H") + 1].split(": ")
        assert client.post(path, content=image_bytes(), headers={name: value}).status_code == 200


def test_the_committed_examples_name_files_that_exist() -> None:
    assert (Path(__file__).parents[2] / "src/maskrcnn/weights/shipped/nuclei.png").exists()


@pytest.mark.slow
def test_the_server_keeps_to_its_schema() -> None:
    """Requests by the schema and against it: no failure of the server, no answer that the schema does not know."""
    schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")
    hypothesis = pytest.importorskip("hypothesis", reason="needs hypothesis")
    from schemathesis.specs.openapi.checks import (
        positive_data_acceptance as valid_is_accepted,  # no schema says what an image is
    )

    tried = []
    with live(create_app(BrightDetector(), ServerSettings())) as address:
        schema = schemathesis.openapi.from_url(f"http://{address}/openapi.json")
        for operation in (result.ok() for result in schema.get_all_operations()):

            @hypothesis.settings(
                max_examples=40,
                deadline=None,
                database=None,
                derandomize=True,
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            @hypothesis.given(case=operation.as_strategy())
            def check(case: Any) -> None:
                case.call_and_validate(excluded_checks=[valid_is_accepted])

            check()
            tried.append(f"{operation.method} {operation.path}")
    assert len(tried) == 14, tried
